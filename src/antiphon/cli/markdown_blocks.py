"""Finds where a growing Markdown text can be cut: the blocks before that position are final."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def finished_length(text: str, start: int = 0) -> int:
    """The length of the finished blocks of `text`; `start` is an earlier result (or 0).

    A block is finished when a blank line outside of fenced code follows it, and the next line has begun and is not
    indented (an indented line may belong to a list item).
    """
    return max(iter_block_ends(text, start), default=start)


def iter_block_ends(text: str, start: int = 0) -> Iterator[int]:
    """The positions behind each finished block, ascending."""
    fence, was_blank, place = "", False, start
    while place < len(text):
        end = text.find("\n", place)
        line = text[place:] if end < 0 else text[place:end]
        if was_blank and not fence and line[:1].strip():
            yield place
        if end < 0:
            break
        fence = _fence_after(line, fence)
        was_blank = not line.strip()
        place = end + 1


def _fence_after(line: str, fence: str) -> str:
    """The fence that is open after this line; "": none."""
    match = _FENCE.match(line)
    if match is None:
        return fence
    if not fence:
        return match[1]
    closes = match[1][0] == fence[0] and len(match[1]) >= len(fence) and not line[match.end() :].strip()
    return "" if closes else fence
