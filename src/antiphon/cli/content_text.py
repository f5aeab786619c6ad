"""The parts of a message as plain text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from antiphon.cli.clean import clean_line, clean_text, shorten
from antiphon.cli.size_text import size_text

SUMMARY_MAX = 200
"""Maximum length of a shortened value, in characters."""

OUTCOMES = {
    "length": "cut off at the limit of tokens",
    "refusal": "refused by the model",
    "content_filter": "stopped by the provider's content filter",
    "empty": "the model's answer is empty",
}


def content_text(content: Sequence[dict[str, Any]]) -> str:
    """All parts, joined by newlines. A part that is not text is described on its own line."""
    return "\n".join(part_text(part) for part in content)


def answer_text(content: Sequence[dict[str, Any]]) -> str:
    """The text parts unchanged, and the JSON of data parts, joined by newlines."""
    texts = (part.get("text", "") if part.get("type") == "text" else _data_text(part) for part in content)
    return "\n".join(filter(None, texts))


def outcome_text(message: dict[str, Any]) -> str:
    """Why the model's answer ended early; "": it did not."""
    outcome = message.get("outcome", "")
    return OUTCOMES.get(outcome, clean_line(str(outcome)))


def part_text(part: dict[str, Any]) -> str:
    kind = part.get("type")
    if kind == "text":
        return clean_text(str(part.get("text", "")))
    if kind == "reasoning":
        return f"[thought: {shorten(str(part.get('text', '')), SUMMARY_MAX)}]"
    if kind == "tool-call":
        return f"[calls {call_text(part)}]"
    if kind == "tool-result":
        word = "failed" if part.get("is_error") else "gave"
        return f"[{clean_line(str(part.get('tool_name')))} {word} {summary(part.get('result'))}]"
    if kind == "data":
        return clean_text(_data_text(part))
    if part.get("file_id"):
        return clean_line(f"[file {part.get('file_name') or part.get('name', '')}, {size_text(part.get('size', 0))}]")
    names = ("file_name", "title", "url", "media_type", "file_id")
    named = next((str(part[name]) for name in names if part.get(name)), "")
    return clean_line(f"[{kind} {named}".rstrip()) + "]"


def _data_text(part: dict[str, Any]) -> str:
    """The JSON of a data part; "" for any other."""
    return json.dumps(part.get("data"), ensure_ascii=False, indent=2) if part.get("type") == "data" else ""


def call_text(part: dict[str, Any]) -> str:
    """`name(arguments)`, shortened."""
    return f"{clean_line(str(part.get('tool_name')))}({summary(part.get('args', {}))})"


def summary(value: Any) -> str:
    """A JSON value on one line, shortened."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(text, SUMMARY_MAX)
