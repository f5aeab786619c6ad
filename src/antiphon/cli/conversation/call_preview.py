"""The arguments of a tool call in full, for the person who decides about it: what is shortened cannot be approved."""

from __future__ import annotations

import difflib
import json
from typing import Any

from antiphon.cli.clean import clean_line, visible_text
from antiphon.cli.tool_run import ARGUMENT_MAX
from antiphon.cli.transcript import Kind, Piece

SHOWN_MAX = 20_000
"""Maximum length of a shown argument, in characters. That more is left is said."""
CHANGES = (("old_string", "new_string"), ("old_text", "new_text"), ("old_str", "new_str"), ("old", "new"))
"""Names of arguments that are a text and what replaces it; they are shown as a diff."""


def preview(call: dict[str, Any]) -> list[Piece]:
    """What is printed above the question; nothing if the question itself shows every argument in full."""
    args = call.get("args")
    if not is_shortened(call) or not isinstance(args, dict):
        return []
    pieces: list[Piece] = []
    rest = dict(args)
    for before, after in CHANGES:
        if _is_text(args.get(before)) and _is_text(args.get(after)):
            pieces += _shortened(Kind.DIFF, _diff(args[before], args[after]))
            del rest[before], rest[after]
            break
    shown = []
    for name, value in rest.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        shown += [Piece(Kind.NOTE, f"{clean_line(visible_text(name))}:"), *_shortened(Kind.VERBATIM, text)]
    return [Piece(Kind.NOTE, f"{clean_line(visible_text(str(call['tool_name'])))}, in full:"), *shown, *pieces]


def is_shortened(call: dict[str, Any]) -> bool:
    """Whether the question about a call has no room for all of its arguments."""
    args = call.get("args")
    return call["needs"] == "approval" and isinstance(args, dict) and any(map(_is_long, args.values()))


def _is_long(value: Any) -> bool:
    return len(json.dumps(value, ensure_ascii=False)) > ARGUMENT_MAX or (isinstance(value, str) and "\n" in value)


def _is_text(value: Any) -> bool:
    """Whether it is a text that is short enough to be compared."""
    return isinstance(value, str) and len(value) <= SHOWN_MAX


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=3)
    return "\n".join(list(lines)[2:])  # without the names of files, which it has not


def _shortened(kind: Kind, text: str) -> list[Piece]:
    left = len(text) - SHOWN_MAX
    more = [Piece(Kind.ERROR, f"({left:,} more characters are not shown)")] if left > 0 else []
    return [Piece(kind, visible_text(text[:SHOWN_MAX])), *more]
