"""Splits Markdown at its fenced code, so that code is printed as it is: at the left margin, not wrapped, without a
frame. The text after code that stood in a list item is moved left with it."""

from __future__ import annotations

import re
from typing import NamedTuple

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)\Z")
_QUOTE = re.compile(r" {0,3}>")
INDENT_MAX = 12
"""Maximum indentation of a fence, in spaces: in deeper lists code is left to the Markdown renderer."""


class Block(NamedTuple):
    """A piece of a Markdown text. `language` is that of code ("" if it names none); None: the piece is Markdown."""

    text: str
    language: str | None


def split_code(text: str) -> list[Block]:
    """The blocks of a text, in order. A fence that is not closed reaches to the end."""
    blocks: list[Block] = []
    lines: list[str] = []
    opened: re.Match[str] | None = None
    indent = 0  # of the text after code in a list item
    for line in text.split("\n"):
        if opened is None:
            found = None if _QUOTE.match(line) else _FENCE.match(line)
            if found is not None and len(found["indent"]) <= INDENT_MAX:
                _add(blocks, lines, None)
                opened, lines = found, []
                continue
            if line.strip() and _indent_of(line) < indent:  # the list item ends, and so does its last paragraph
                indent = _indent_of(line)
                lines.append("")
            lines.append(line[indent:] if line.strip() else line)
        elif _closes(line, opened):
            indent = len(opened["indent"])
            _add(blocks, lines, _language(opened["info"]))
            opened, lines = None, []
        else:
            lines.append(_outdent(line, len(opened["indent"])))
    _add(blocks, lines, None if opened is None else _language(opened["info"]))
    return blocks


def _add(blocks: list[Block], lines: list[str], language: str | None) -> None:
    text = "\n".join(lines)
    if language is not None or text.strip():
        blocks.append(Block(text if language is not None else text.strip("\n"), language))


def _language(info: str) -> str:
    return info.split()[0] if info.split() else ""


def _closes(line: str, opened: re.Match[str]) -> bool:
    fence, bare = opened["fence"], line.strip()
    return len(bare) >= len(fence) and bare == fence[0] * len(bare)


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _outdent(line: str, indent: int) -> str:
    return line[min(_indent_of(line), indent) :]
