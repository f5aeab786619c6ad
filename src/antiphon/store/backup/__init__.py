"""Backups of a data directory: one file that has its database and the bytes of its uploaded files."""
