"""A number of a list that a person has typed."""

from __future__ import annotations

DIGITS_MAX = 9
"""Maximum number of digits; no list is that long, and Python refuses to read very long numbers."""


def typed_number(text: str, most: int) -> int:
    """The number from 1 to `most` that a text is; 0 for any other text."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else 0
    return number if number <= most else 0
