"""The messages of a chat completion's request, as items of Responses, which `items` translates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from antiphon.core.draft import args_value
from antiphon.errors import Invalid
from antiphon.wire.openai.items import Input, ItemReader, text_parts

Json = Mapping[str, Any]

_YES = ("yes", "true", "approve", "approved", "allow", "ok")


def read_messages(messages: Sequence[Json], first: int = 0) -> Input:
    """The messages from `first` on. Raises `Invalid` with the index of one that cannot be translated."""
    reader = ItemReader()
    for number, message in enumerate(messages[first:], first):
        field = f"messages[{number}]"
        for item in _items(message, field):
            reader.add(item, field)
    return reader.read()


def first_new(messages: Sequence[Json]) -> int:
    """The index of the first message after the last one of an assistant."""
    last = max((n for n, message in enumerate(messages) if message.get("role") == "assistant"), default=-1)
    return last + 1


def _items(message: Json, field: str) -> Iterator[dict[str, Any]]:
    role, content = message.get("role"), message.get("content")
    if role == "user" and isinstance(content, list):
        yield {"role": "user", "content": [_user_part(part) for part in content]}
    elif role in ("user", "system", "developer"):
        yield {"role": role, "content": content}
    elif role == "assistant":
        yield from _answer(message, field)
    elif role == "tool":
        yield _result(message, field)
    else:
        raise Invalid(field, "role is system, developer, user, assistant or tool")


def _user_part(part: Any) -> Any:
    """A file of chat completions is in its own object; other parts are the same or known to `wire.user_content`."""
    if isinstance(part, Mapping) and part.get("type") == "file" and isinstance(part.get("file"), Mapping):
        return {"type": "input_file", **part["file"]}
    return part


def _answer(message: Json, field: str) -> Iterator[dict[str, Any]]:
    reasoning, content = message.get("reasoning_content"), message.get("content")
    if isinstance(reasoning, str) and reasoning:
        yield {"type": "reasoning", "summary": [{"text": reasoning}]}
    if content:
        yield {"role": "assistant", "content": content}
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Invalid(field, "tool_calls is a list")
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise Invalid(field, "a tool call has an id and a function")
        shown = {"name": function.get("name"), "arguments": function.get("arguments")}
        yield {"type": "function_call", "call_id": call.get("id"), **shown}


def _result(message: Json, field: str) -> dict[str, Any]:
    call_id, content = message.get("tool_call_id"), message.get("content")
    if not isinstance(content, str | list):
        raise Invalid(field, "content is a string or a list of texts")
    text = "\n".join(text_parts(content, field))
    if isinstance(call_id, str) and call_id.startswith("mcpr_"):
        return {"type": "mcp_approval_response", "approval_request_id": call_id, **_approval(text)}
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def _approval(text: str) -> dict[str, Any]:
    """An answer of the function `antiphon_approve`: `{"approve": true}`, or a word."""
    value = args_value(text)
    if isinstance(value, Mapping):
        reason = value.get("reason")
        return {"approve": value.get("approve") is True, "reason": reason if isinstance(reason, str) else ""}
    return {"approve": value is True or str(value).strip().strip('"').lower() in _YES}
