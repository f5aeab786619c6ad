"""Open calls as requests to the editor, and its answers: permissions, forms, and choices.

An approval is a permission request. A question of an agent is a form, if the editor has forms; else, if its schema
has few values, a permission request with one option for each; else the next prompt answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.core.values import Value
from antiphon.wire.acp.calls import described
from antiphon.wire.acp.shapes import FormAnswer, Permission
from antiphon.wire.codec import encode
from antiphon.wire.typed_answers import question_of, typed_answer

Json = dict[str, Any]

CHOICES_MAX = 12
"""Maximum number of values that are offered as options of a permission request."""
FIELD = "answer"
"""The field of a form for a question whose answer is one value."""

_KEPT = (
    "title",
    "description",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "default",
    "enum",
)
_APPROVAL = (
    {"optionId": "allow", "name": "Allow once", "kind": "allow_once"},
    {"optionId": "always", "name": "Allow always in this chat", "kind": "allow_always"},
    {"optionId": "reject", "name": "Reject", "kind": "reject_once"},
)


class Decision(Value):
    """An answer to an approval."""

    approved: bool
    always: bool = False


def permission(session_id: str, call: Mapping[str, Any]) -> Json:
    """The parameters of `session/request_permission` for an approval."""
    return _request(session_id, call, call["tool_name"], _APPROVAL)


def decision_of(answer: Permission) -> Decision | None:
    """None: the editor did not decide."""
    if answer.outcome.outcome != "selected" or answer.outcome.option_id not in ("allow", "always", "reject"):
        return None
    chosen = answer.outcome.option_id
    return Decision(approved=chosen != "reject", always=chosen == "always")


# --- choices


def choices_of(call: Mapping[str, Any]) -> list[Any]:
    """The values that the answer to a question can have; empty: there are too many to offer them."""
    schema = _schema_of(call)
    if schema.get("type") == "boolean" and "enum" not in schema:
        return [True, False]
    values = schema.get("enum")
    return list(values) if isinstance(values, list) and len(values) <= CHOICES_MAX else []


def choice(session_id: str, call: Mapping[str, Any]) -> Json:
    """The parameters of `session/request_permission` for a question with few answers."""
    options = [
        {
            "optionId": f"choice-{number}",
            "name": {True: "Yes", False: "No"}[value] if isinstance(value, bool) else _words(value),
            "kind": "reject_once" if value is False else "allow_once",
        }
        for number, value in enumerate(choices_of(call))
    ]
    return _request(session_id, call, question_of(dict(call)), tuple(options))


def choice_of(call: Mapping[str, Any], answer: Permission) -> list[Any]:
    """The chosen value, in a list; empty: the editor chose none."""
    options = {f"choice-{number}": value for number, value in enumerate(choices_of(call))}
    chosen = answer.outcome.option_id
    return [options[chosen]] if answer.outcome.outcome == "selected" and chosen in options else []


def _request(session_id: str, call: Mapping[str, Any], title: str, options: tuple[Json, ...]) -> Json:
    shown = described(call["tool_call_id"], call["tool_name"], call.get("args"))
    if title != call["tool_name"]:
        shown["title"] = title
    return {"sessionId": session_id, "toolCall": {**shown, "status": "pending"}, "options": list(options)}


# --- forms


def form(session_id: str, call: Mapping[str, Any]) -> Json:
    """The parameters of `elicitation/create` for a question."""
    return {
        "mode": "form",
        "sessionId": session_id,
        "toolCallId": call["tool_call_id"],
        "message": question_of(dict(call)) or "The agent asks.",
        "requestedSchema": _fields_of(_schema_of(call)) or _one_field(_schema_of(call)),
    }


def form_answer(call: Mapping[str, Any], answer: FormAnswer) -> list[Any]:
    """The answer, in a list; empty: the editor gave none. Raises `Invalid` for a text that the schema cannot mean."""
    if answer.action != "accept" or answer.content is None:
        return []
    schema = _schema_of(call)
    if _fields_of(schema):
        return [answer.content]
    if FIELD not in answer.content:
        return []
    value = answer.content[FIELD]
    values = schema.get("enum")
    if isinstance(values, list):
        return [next((one for one in values if _words(one) == value), value)]
    return [value if _property(schema) else typed_answer(str(value), dict(call))]


def _schema_of(call: Mapping[str, Any]) -> Json:
    args = call.get("args")
    schema = args.get("schema") if isinstance(args, Mapping) else None
    return schema if isinstance(schema, dict) else {}


def _fields_of(schema: Json) -> Json | None:
    """The form for an object of simple fields; None: it is none."""
    given = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(given, dict) or not given:
        return None
    fields = {name: _property(one) for name, one in given.items() if isinstance(one, dict)}
    if len(fields) < len(given) or not all(fields.values()):
        return None
    required = schema.get("required")
    return {"type": "object", "properties": fields} | ({"required": required} if isinstance(required, list) else {})


def _one_field(schema: Json) -> Json:
    values = schema.get("enum")
    if isinstance(values, list) and values:
        field: Json = {"type": "string", "enum": [_words(value) for value in values]}
    else:
        field = _property(schema) or {"type": "string", "description": f"JSON: {_words(schema)}"[:1_000]}
    return {"type": "object", "properties": {FIELD: field}, "required": [FIELD]}


def _property(schema: Json) -> Json | None:
    """A field of a form; None: forms have no such field."""
    kind = schema.get("type", "string" if not schema or "enum" in schema else None)
    kept = {name: schema[name] for name in _KEPT if name in schema}
    if kind == "array":
        items = schema.get("items")
        values = items.get("enum") if isinstance(items, dict) else None
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            return None
        return kept | {"type": "array", "items": {"type": "string", "enum": values}}
    if kind not in ("string", "number", "integer", "boolean"):
        return None
    if "enum" in kept and (kind != "string" or not all(isinstance(one, str) for one in kept["enum"])):
        return None
    return kept | {"type": kind}


def _words(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode()
