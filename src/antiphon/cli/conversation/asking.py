"""What an agent asks a person, and what a typed line means as the answer. Pure: no terminal and no server."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from antiphon.cli.clean import clean_line, clean_text
from antiphon.cli.conversation.call_preview import is_shortened
from antiphon.cli.conversation.typed_number import typed_number
from antiphon.cli.tool_run import call_words
from antiphon.errors import Invalid
from antiphon.wire.typed_answers import NO, YES, json_of, question_of, typed_answer

ALWAYS = {"a", "always"}
EDIT = {"e", "edit"}
CHOICES_MAX = 20
"""Maximum number of listed choices of a question."""
APPROVAL_KEYS = "y yes · n no, and why (n REASON) · e edit the arguments · a always in this chat"


class Allow(NamedTuple):
    """Allow the call, with other arguments if they are not None."""

    args: dict[str, Any] | None = None
    always: bool = False


class Deny(NamedTuple):
    """Deny the call; the model gets the reason."""

    reason: str = ""


class EditArguments(NamedTuple):
    """Put the arguments on the input line first."""

    text: str


class Answer(NamedTuple):
    """The answer to a question."""

    value: Any


class Problem(NamedTuple):
    """The line is meant as an answer and cannot be one."""

    message: str


Reply = Allow | Deny | EditArguments | Answer | Problem


def is_asked(call: dict[str, Any]) -> bool:
    """Whether a person can answer the call here (not: the result of another program)."""
    return call["needs"] == "approval" or (call["needs"] == "answer" and bool(question_of(call)))


def question_lines(call: dict[str, Any], others: int) -> list[str]:
    """What is shown above the input line. `others`: how many further calls are waiting."""
    more = f"   ({others} more waiting)" if others else ""
    if call["needs"] == "approval":
        words = call_words(call, named=True)
        if is_shortened(call):
            words = f"{clean_line(str(call['tool_name']))}, with the arguments above"
        return [f"Allow {words}?{more}", APPROVAL_KEYS]
    lines = clean_text(question_of(call)).strip().split("\n")
    lines[-1] += more
    choices = choices_of(call)
    if choices:
        shown = [
            f"{number} {clean_line(_shown(value))}" for number, value in enumerate(choices[:CHOICES_MAX], start=1)
        ]
        return [*lines, "   ".join(shown), "Type a number, or the choice itself."]
    return [*lines, _hint(call)]


def decide(call: dict[str, Any], line: str) -> Reply | None:
    """What a line means for the call; None: it is a message."""
    word, _, rest = line.strip().partition(" ")
    word = word.lower()
    if not word:
        return None
    if call["needs"] == "approval":
        return _decide_approval(call, word, rest.strip())
    if not is_asked(call):
        return None
    return _answer(call, line)


def edited_arguments(text: str) -> Allow | Problem:
    """The decision for arguments that were edited on the input line."""
    try:
        args = json_of("arguments", text)
    except Invalid:
        return Problem("The arguments are not JSON. Correct them, or press Esc to leave them as they were.")
    if not isinstance(args, dict):
        return Problem('The arguments must be a JSON object, such as {"amount": 5}.')
    return Allow(args=args)


def choices_of(call: dict[str, Any]) -> list[Any]:
    """The values that the schema of a question allows; empty: any."""
    schema = _schema(call)
    choices = schema.get("enum")
    if choices is None and schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return []
    return list(choices) if isinstance(choices, list) else []


def _decide_approval(call: dict[str, Any], word: str, rest: str) -> Reply | None:
    if word in NO or word.rstrip(",:") in NO:
        return Deny(reason=rest)
    if rest:
        return None
    if word in YES:
        return Allow()
    if word in ALWAYS:
        return Allow(always=True)
    if word in EDIT:
        return EditArguments(json.dumps(call.get("args", {}), ensure_ascii=False, indent=2))
    return None


def _answer(call: dict[str, Any], line: str) -> Answer | Problem:
    choices, typed = choices_of(call), line.strip()
    if choices:
        return _choose(choices, typed)
    try:
        value = typed_answer(line, call)
    except Invalid as error:
        numbers = {"integer": "a whole number", "number": "a number"}
        return Problem(f"The answer must be {numbers.get(str(_schema(call).get('type')), error.reason)}.")
    schema = _schema(call)
    if schema.get("type") in ("integer", "number"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (schema["type"] == "integer" and not isinstance(value, int)):
            return Problem(f"The answer must be {'a whole number' if schema['type'] == 'integer' else 'a number'}.")
    expected = {"boolean": bool, "array": list, "object": dict}.get(str(schema.get("type")))
    if expected is not None and not isinstance(value, expected):
        return Problem(f"The answer must be JSON of the type {schema['type']}.")
    return Answer(value)


def _choose(choices: list[Any], typed: str) -> Answer | Problem:
    for value in choices:
        if typed == _shown(value):
            return Answer(value)
    if number := typed_number(typed, len(choices)):
        return Answer(choices[number - 1])
    matching = [value for value in choices if _shown(value).lower().startswith(typed.lower())]
    if len(matching) == 1:
        return Answer(matching[0])
    return Problem(f"Choose one of {', '.join(clean_line(_shown(value)) for value in choices[:CHOICES_MAX])}.")


def _hint(call: dict[str, Any]) -> str:
    match _schema(call).get("type"):
        case "boolean":
            return "y yes · n no"
        case "integer":
            return "Type a whole number."
        case "number":
            return "Type a number."
        case "array" | "object" as kind:
            return f"Type JSON of the type {kind}."
    return "Type the answer."


def _schema(call: dict[str, Any]) -> dict[str, Any]:
    args = call.get("args")
    schema = args.get("schema") if isinstance(args, dict) else None
    return schema if isinstance(schema, dict) else {}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
