"""Agents of other frameworks as agents of Antiphon. Each module needs its framework's package."""
