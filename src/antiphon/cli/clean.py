"""Sanitizes untrusted text for a terminal: answers and titles come from models and may contain escape sequences."""

from __future__ import annotations

import re

# CSI …; OSC, DCS, SOS, PM and APC up to their end (or the end of the line, so that an unterminated one does not
# swallow the rest); other two-character escapes; every control character but newline and tab; the marks that change
# the direction of text.
_UNSAFE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)

_SHOWN = "\n\t\u200c\u200d"
"""Characters that are not printable and shown nevertheless; the last two join letters and emoji."""


def clean_text(text: str) -> str:
    """`text` without escape sequences and control characters. Newlines and tabs stay; CRLF becomes a newline."""
    return _UNSAFE.sub("", text.replace("\r\n", "\n"))


def visible_text(text: str) -> str:
    """`text` with an escape such as `\\x1b` in place of every character that a terminal does not show as itself:
    control characters, marks that change the direction of text, and invisible ones. For what a person approves,
    because `clean_text` leaves out whole sequences. Newlines and tabs stay."""
    return "".join(char if char.isprintable() or char in _SHOWN else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def clean_line(text: str) -> str:
    """The same on one line: runs of white space become a space."""
    return " ".join(clean_text(text.replace("\r", "\n")).split())


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = clean_line(text)
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"
