"""Antiphon: a session server for AI chats and agents."""

__version__ = "0.1.0"
