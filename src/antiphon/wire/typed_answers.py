"""Answers of a person to open calls: the values that are typed as text."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.errors import Invalid

YES = {"y", "yes"}
NO = {"n", "no"}


def question_of(call: dict[str, Any]) -> str:
    """The question of an open call that needs an answer; empty for another."""
    args = call.get("args")
    asked = call.get("question") or (args.get("question") if isinstance(args, dict) else None)
    return asked if call["needs"] == "answer" and isinstance(asked, str) else ""


def typed_answer(text: str, call: dict[str, Any]) -> Any:
    """What a person has typed, by the schema of the question: `y` and `n` for a boolean, JSON for a number, a list or
    an object, else the text itself. Raises `Invalid` for a text that the schema cannot mean."""
    args = call.get("args")
    schema = args.get("schema") if isinstance(args, dict) else None
    kind = schema.get("type") if isinstance(schema, dict) else None
    word = text.strip()
    if kind == "boolean" and word.lower() in YES | NO:
        return word.lower() in YES
    if kind not in ("boolean", "number", "integer", "array", "object"):
        return word
    try:
        return json_of("answer", word)
    except Invalid as error:
        hint = "`y` or `n`" if kind == "boolean" else f"JSON of the type {kind}"
        raise Invalid("answer", hint) from error


def json_of(name: str, text: str) -> Any:
    """A JSON value. Raises `Invalid` for other text."""
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(name, "JSON") from error
