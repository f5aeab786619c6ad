"""Range and conditional requests for bytes that never change (RFC 9110, sections 13 and 14). Pure."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE)


class NotSatisfiable(Exception):
    """The range has no byte of the file."""


def read_range(header: str, size: int) -> tuple[int, int] | None:
    """The single range that a request asks for.

    Args:
        header: The Range header; empty: there is none.
        size: The size of the whole, in bytes.

    Returns:
        The first position and the one after the last. None: the whole, also for several ranges and for a header that
        is not valid, as a server may do.

    Raises:
        NotSatisfiable: The range begins at or beyond the end, or is empty.
    """
    match = _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last bytes
        length = int(match[2])
        if not length or not size:
            raise NotSatisfiable
        return max(size - length, 0), size
    start = int(match[1])
    if match[2] and int(match[2]) < start:
        return None
    if start >= size:
        raise NotSatisfiable
    return start, min(int(match[2]) + 1, size) if match[2] else size


def is_not_modified(if_none_match: str, etag: str) -> bool:
    """Whether the client has what `etag` (with its quotes) stands for."""
    if if_none_match.strip() == "*":
        return True
    return etag in (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))


def may_continue(if_range: str, etag: str) -> bool:
    """Whether a range may be sent: there is no If-Range, or it has this very `etag`. One with a date never fits,
    because a file has no date of modification."""
    return not if_range or if_range.strip() == etag
