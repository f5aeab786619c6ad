"""The messages and answers of a request: what a user says, results of the client's tools, resumed interrupts, and a
history that is imported. Everything is refused with its place, used, or reported as ignored."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from antiphon.core.draft import replace_surrogates
from antiphon.core.model import Needs
from antiphon.core.parts import File, FileReference, Part, Reasoning, Role, Text, ToolCall, ToolResult
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.wire.agui.ids import client_message_id
from antiphon.wire.file_addresses import file_of_url
from antiphon.wire.json_fields import Json, name_in, string_in
from antiphon.wire.past_messages import PastMessage
from antiphon.wire.tool_answers import ToolAnswer
from antiphon.wire.user_content import checked_file

FIELD = "messages"
ROLES = ("user", "assistant", "tool", "system", "developer", "reasoning", "activity")
OF_CLIENTS = ("system", "developer")
"""The roles of messages with instructions: they are no part of the chat's history."""
NO_RESULT = "The call has no result."
NOT_ANSWERED = "The question was not answered."
CANCELLED = "The approval was cancelled."
_MEDIA = ("image", "audio", "video", "document")


class History(Value, gc=True):
    """A translated history. `ignored` are the ids of messages that a chat cannot begin with."""

    messages: tuple[PastMessage, ...]
    ignored: tuple[str, ...]


def check_messages(messages: Sequence[Json]) -> None:
    """Raises `Invalid` for a message without an id, and for a role that AG-UI does not have."""
    for number, message in enumerate(messages):
        name_in(message, "id", f"{FIELD}[{number}]")
        if message.get("role") not in ROLES:
            raise Invalid(f"{FIELD}[{number}].role", f"one of {', '.join(ROLES)}")


def system_text(messages: Sequence[Json]) -> str | None:
    """The instructions in the messages; None if there are none."""
    texts = [
        string_in(message, "content", f"{FIELD}[{number}]")
        for number, message in enumerate(messages)
        if message.get("role") in OF_CLIENTS
    ]
    return "\n\n".join(texts) if texts else None


def user_content(message: Json, place: str) -> tuple[Part, ...]:
    """The content of a user's message. Raises `Invalid` for parts that it cannot have."""
    content = message.get("content")
    if isinstance(content, str):
        return (Text(replace_surrogates(content)),)
    return tuple(_content_part(part, where) for part, where in _parts(content, f"{place}.content"))


def tool_results(messages: Sequence[Json], wanted: Container[str] | None = None) -> dict[str, ToolAnswer]:
    """The results of tools that the messages have, by the ids of their calls: those of `wanted`, or all. Others are
    of the past, and are not read."""
    found = {}
    for number, message in enumerate(messages):
        if message.get("role") == "tool":
            place = f"{FIELD}[{number}]"
            call_id = name_in(message, "toolCallId", place)
            if wanted is None or call_id in wanted:
                found[call_id] = _result(message, call_id, place)
    return found


def _result(message: Json, call_id: str, place: str) -> ToolAnswer:
    content = message.get("content")
    if isinstance(content, str):
        value: Any = replace_surrogates(content)
    else:
        value = [_result_part(part, where) for part, where in _parts(content, f"{place}.content")]
    error = message.get("error")
    if isinstance(error, str) and error:
        return ToolAnswer(tool_call_id=call_id, value=value or replace_surrogates(error), is_error=True)
    return ToolAnswer(tool_call_id=call_id, value=value)


def _result_part(part: Json, place: str) -> dict[str, Any]:
    """A part of a result as JSON: the chat names files by their ids."""
    found = _content_part(part, place)
    if isinstance(found, Text):
        return {"type": "text", "text": found.text}
    if isinstance(found, FileReference):
        return {"type": "file-reference", "file_id": found.file_id, "file_name": found.file_name}
    raise Invalid(f"{place}.source", "a result names files that are stored here: POST /api/v1/files first")


class ResumeEntry(Value, gc=True):
    """The answer to an interrupt, whose id is that of its tool call."""

    interrupt_id: str = msgspec.field(name="interruptId")
    status: Literal["resolved", "cancelled"]
    payload: Any = None


def resume_answer(entry: ResumeEntry, needs: Needs, place: str) -> ToolAnswer:
    """`needs` says which kind the interrupt is. Raises `Invalid` for a payload of another kind."""
    call_id, is_cancelled, payload = entry.interrupt_id, entry.status == "cancelled", entry.payload
    if needs is not Needs.APPROVAL:
        if is_cancelled:
            return ToolAnswer(tool_call_id=call_id, value=NOT_ANSWERED, is_error=True)
        if payload is None:
            raise Invalid(f"{place}.payload", "the answer is missing")
        return ToolAnswer(tool_call_id=call_id, value=payload)
    if is_cancelled:
        return ToolAnswer(tool_call_id=call_id, is_approved=False, reason=CANCELLED)
    if isinstance(payload, bool):
        payload = {"approved": payload}
    if not isinstance(payload, Mapping) or not isinstance(payload.get("approved"), bool):
        raise Invalid(f"{place}.payload", "an object with `approved`, true or false")
    args, reason = payload.get("editedArgs"), payload.get("reason")
    if args is not None and not isinstance(args, dict):
        raise Invalid(f"{place}.payload.editedArgs", "an object: all arguments of the call")
    return ToolAnswer(
        tool_call_id=call_id,
        is_approved=payload["approved"],
        args=args,
        reason=replace_surrogates(reason) if isinstance(reason, str) else "",
    )


# --- a history


def read_history(messages: Sequence[Json]) -> History:
    """The messages of a chat that does not exist yet. Instructions are left out: see `system_text`. Raises `Invalid`
    with the place of what has no translation."""
    results = tool_results(messages)
    past: list[PastMessage] = []
    ignored: list[str] = []
    called: set[str] = set()
    thoughts: list[Part] = []
    for number, message in enumerate(messages):
        place, role = f"{FIELD}[{number}]", message.get("role")
        if role == "user":
            name = client_message_id(name_in(message, "id", place))
            past += _said(thoughts)
            past.append(PastMessage(role=Role.USER, content=user_content(message, place), client_message_id=name))
        elif role in ("assistant", "reasoning") and past:
            content = list(_assistant_parts(message, place))
            if role == "reasoning":
                thoughts += content
                continue
            past += _model_call([*thoughts, *content], results)
            called |= {part.tool_call_id for part in content if isinstance(part, ToolCall)}
            thoughts.clear()
        elif role not in OF_CLIENTS and (role != "tool" or message["toolCallId"] not in called):
            ignored.append(str(message["id"]))
    past += _said(thoughts)
    return History(messages=tuple(past), ignored=tuple(ignored))


def _said(thoughts: list[Part]) -> Iterator[PastMessage]:
    """Reasoning that no message of the assistant follows."""
    if thoughts:
        yield PastMessage(role=Role.ASSISTANT, content=tuple(thoughts))
        thoughts.clear()


def _assistant_parts(message: Json, place: str) -> Iterator[Part]:
    content = message.get("content")
    if content is not None:
        text = string_in(message, "content", place)
        if text:
            yield Reasoning(text) if message.get("role") == "reasoning" else Text(text)
    calls = message.get("toolCalls") or []
    for number, call in enumerate(calls if isinstance(calls, list) else [None]):
        where = f"{place}.toolCalls[{number}]"
        if not isinstance(call, Mapping) or not isinstance(function := call.get("function"), Mapping):
            raise Invalid(where, "an object with `id` and `function`")
        arguments = string_in(function, "arguments", f"{where}.function")
        name = name_in(function, "name", f"{where}.function")
        yield ToolCall(name_in(call, "id", where), name, _args(arguments))


def _args(text: str) -> Any:
    """The arguments of a call; a text that is no JSON is kept as it is."""
    try:
        return msgspec.json.decode(text) if text else {}
    except (ValueError, RecursionError):
        return text


def _model_call(content: Sequence[Part], results: Mapping[str, ToolAnswer]) -> Iterator[PastMessage]:
    if content:
        yield PastMessage(role=Role.ASSISTANT, content=tuple(content))
    for part in content:
        if isinstance(part, ToolCall):
            call_id = part.tool_call_id
            answer = results.get(call_id) or ToolAnswer(tool_call_id=call_id, value=NO_RESULT, is_error=True)
            result = ToolResult(call_id, part.tool_name, answer.value, answer.is_error)
            yield PastMessage(role=Role.TOOL, content=(result,))


# --- parts


def _parts(content: Any, place: str) -> Iterator[tuple[Json, str]]:
    if not isinstance(content, list):
        raise Invalid(place, "a string, or a list of parts")
    for number, part in enumerate(content):
        if not isinstance(part, Mapping):
            raise Invalid(f"{place}[{number}]", "an object with `type`")
        yield part, f"{place}[{number}]"


def _content_part(part: Json, place: str) -> Part:
    kind = part.get("type")
    if kind == "text":
        return Text(string_in(part, "text", place))
    metadata = part.get("metadata")
    name = metadata.get("filename") if isinstance(metadata, Mapping) else None
    name = replace_surrogates(name) if isinstance(name, str) else ""
    if kind in _MEDIA:
        source = part.get("source")
        if not isinstance(source, Mapping):
            raise Invalid(f"{place}.source", "an object with `type` and `value`")
        return _source(source, name, f"{place}.source")
    raise Invalid(f"{place}.type", f"text, {', '.join(_MEDIA)}; not {str(kind)[:80]!r}")


def _source(source: Json, name: str, place: str) -> Part:
    kind, value = source.get("type"), string_in(source, "value", place)
    if kind == "data":
        return checked_file(File(media_type=string_in(source, "mimeType", place), data=value, name=name), place)
    if kind == "file":
        return FileReference(file_name=name, file_id=name_in(source, "value", place))
    if kind == "url":
        return file_of_url(value, name, f"{place}.value")
    raise Invalid(f"{place}.type", "data, url or file")
