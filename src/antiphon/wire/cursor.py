"""The cursor of a watcher: `seq` or `seq.position`, the `id:` of a server-sent event."""

from __future__ import annotations

import re

from antiphon.errors import CursorInvalid

_CURSOR = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,15}))?", re.ASCII)


def parse_cursor(text: str) -> tuple[int, int]:
    """The seq and the position of a cursor. Raises `CursorInvalid` for any other text."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise CursorInvalid(text)
    return int(match[1]), int(match[2] or 0)


def format_cursor(seq: int, position: int) -> str:
    return f"{seq}.{position}"
