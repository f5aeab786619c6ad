"""The fields of a question whose answer is an object, from its JSON Schema. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from antiphon.cli.clean import clean_line
from antiphon.cli.conversation.asking import Answer, Problem
from antiphon.errors import Invalid
from antiphon.wire.typed_answers import json_of

FIELDS_MAX = 20
"""Maximum number of fields; a question with more is answered with JSON."""
CHOICES_MAX = 100


class FieldKind(StrEnum):
    """How a field is filled in."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE_NUMBER = "whole number"
    YES_NO = "yes or no"
    CHOICE = "choice"
    JSON = "JSON"


class Field(NamedTuple):
    """A field. `label` is its title; `initial` what it begins with, as text (`yes` or nothing for yes or no)."""

    name: str
    label: str
    kind: FieldKind
    is_required: bool
    choices: tuple[Any, ...] = ()
    initial: str = ""


def fields_of(call: Mapping[str, Any]) -> list[Field]:
    """The fields of a question; none if it is not answered by a form."""
    args = call.get("args")
    schema = args.get("schema") if isinstance(args, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if call.get("needs") != "answer" or not isinstance(schema, dict) or schema.get("type") != "object":
        return []
    if not isinstance(properties, dict) or not 0 < len(properties) <= FIELDS_MAX:
        return []
    given = schema.get("required")
    required = given if isinstance(given, list) else []
    return [
        _field(str(name), item if isinstance(item, dict) else {}, is_required=name in required)
        for name, item in properties.items()
    ]


def answer_of(fields: Sequence[Field], texts: Mapping[str, str]) -> Answer | Problem:
    """The answer for the texts of the fields; fields that are empty and not required are left out."""
    answer: dict[str, Any] = {}
    for field in fields:
        text = texts.get(field.name, "")
        if field.kind is FieldKind.YES_NO:
            answer[field.name] = text == "yes"
        elif text.strip():
            try:
                answer[field.name] = _value(field, text)
            except ValueError:
                return Problem(f"{field.label} must be {_article(field.kind)}.")
        elif field.is_required:
            return Problem(f"{field.label} is needed.")
    return Answer(answer)


def _field(name: str, schema: dict[str, Any], *, is_required: bool) -> Field:
    label = clean_line(str(schema.get("title") or schema.get("description") or name))
    default = schema.get("default")
    choices = schema.get("enum")
    if isinstance(choices, list) and 0 < len(choices) <= CHOICES_MAX:
        return Field(name, label, FieldKind.CHOICE, is_required, tuple(choices), _shown(default))
    kinds = {
        "boolean": FieldKind.YES_NO,
        "integer": FieldKind.WHOLE_NUMBER,
        "number": FieldKind.NUMBER,
        "string": FieldKind.TEXT,
    }
    kind = kinds.get(str(schema.get("type")), FieldKind.JSON)
    if kind is FieldKind.YES_NO:
        return Field(name, label, kind, is_required, initial="yes" if default is True else "")
    return Field(name, label, kind, is_required, initial=_shown(default))


def _value(field: Field, text: str) -> Any:
    """Raises `ValueError`."""
    match field.kind:
        case FieldKind.WHOLE_NUMBER:
            return int(text)
        case FieldKind.NUMBER:
            number = float(text)
            if number - number != 0:
                raise ValueError(text)  # not finite
            return int(number) if text.strip().lstrip("+-").isdigit() else number
        case FieldKind.CHOICE:
            return next(choice for choice in field.choices if _shown(choice) == text)
        case FieldKind.JSON:
            try:
                return json_of(field.name, text)
            except Invalid as error:
                raise ValueError(text) from error
    return text


def _article(kind: FieldKind) -> str:
    return str(kind) if kind in (FieldKind.JSON, FieldKind.YES_NO) else f"a {kind}"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
