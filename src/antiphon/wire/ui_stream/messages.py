"""The messages of a request: what a user says, answers to tool calls, and a history that is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from antiphon.core.draft import replace_surrogates
from antiphon.core.parts import Data, Part, Reasoning, Role, Source, Text, ToolCall, ToolResult
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.wire.file_addresses import file_of_url
from antiphon.wire.json_fields import Json, name_in, string_in
from antiphon.wire.past_messages import PastMessage
from antiphon.wire.tool_answers import ToolAnswer
from antiphon.wire.ui_stream.ids import client_message_id

NO_RESULT = "The call has no result."
DENIED = "The call was denied."


class History(Value, gc=True):
    """A translated history. `ignored` are the ids of messages that a chat cannot begin with."""

    system: str
    messages: tuple[PastMessage, ...]
    ignored: tuple[str, ...]


def id_of(message: Json, field: str) -> str:
    """The id of a message. Raises `Invalid`."""
    return name_in(message, "id", field)


def user_content(message: Json, field: str) -> tuple[Part, ...]:
    """The content of a user's message. Raises `Invalid` for parts that a person's message cannot have."""
    if message.get("role") != "user":
        raise Invalid(f"{field}.role", "the last message is a user's, or the assistant's with answers to tool calls")
    found: list[Part] = []
    for part, place in _parts(message, field):
        kind = part.get("type")
        if kind == "text":
            found.append(Text(string_in(part, "text", place)))
        elif kind == "file":
            found.append(_file(part, place))
        else:
            raise Invalid(f"{place}.type", f"a user's message has text and file parts, not {str(kind)[:80]!r}")
    return tuple(found)


def tool_answers(message: Json, field: str) -> dict[str, ToolAnswer]:
    """What a message of the assistant says of tool calls, by their ids: results, errors, approvals, denials."""
    found = {}
    for part, place in _parts(message, field):
        if _is_tool(part) and (answer := _answer(part, place)) is not None:
            found[answer.tool_call_id] = answer
    return found


def _answer(part: Json, place: str) -> ToolAnswer | None:
    call_id, state = name_in(part, "toolCallId", place), part.get("state")
    if state == "output-available":
        return ToolAnswer(tool_call_id=call_id, value=part.get("output"))
    if state == "output-error":
        error = part.get("errorText")
        return ToolAnswer(tool_call_id=call_id, value=error if isinstance(error, str) else "", is_error=True)
    if state != "approval-responded":
        return None
    approval = part.get("approval")
    if not isinstance(approval, Mapping) or not isinstance(approval.get("approved"), bool):
        raise Invalid(f"{place}.approval", "an object with `approved`, true or false")
    reason = approval.get("reason")
    return ToolAnswer(
        tool_call_id=call_id,
        is_approved=approval["approved"],
        reason=reason if isinstance(reason, str) else "",
    )


# --- a history


def read_history(messages: Sequence[Json], field: str = "messages") -> History:
    """The messages of a chat that does not exist yet. Raises `Invalid` with the place of what has no translation."""
    system: list[str] = []
    past: list[PastMessage] = []
    ignored: list[str] = []
    for number, message in enumerate(messages):
        place, role = f"{field}[{number}]", message.get("role")
        if role == "system":
            system += [string_in(part, "text", where) for part, where in _parts(message, place)]
        elif role == "user":
            name = client_message_id(id_of(message, place))
            past.append(PastMessage(role=Role.USER, content=user_content(message, place), client_message_id=name))
        elif role != "assistant":
            raise Invalid(f"{place}.role", "role is user, assistant or system")
        elif past:
            past += _assistant(message, place)
        else:
            ignored.append(id_of(message, place))
    return History(system="\n\n".join(system), messages=tuple(past), ignored=tuple(ignored))


def _assistant(message: Json, field: str) -> Iterator[PastMessage]:
    """A message of the assistant as model calls, each followed by the results of its tool calls."""
    content: list[Part] = []
    results: list[ToolResult] = []
    for part, place in _parts(message, field):
        if results and not _is_tool(part):
            yield from _model_call(content, results)
            content, results = [], []
        if _is_tool(part):
            call, result = _call(part, place)
            content.append(call)
            results.append(result)
        elif (made := _assistant_part(part, place)) is not None:
            content.append(made)
    yield from _model_call(content, results)


def _model_call(content: Sequence[Part], results: Sequence[ToolResult]) -> Iterator[PastMessage]:
    if content:
        yield PastMessage(role=Role.ASSISTANT, content=tuple(content))
    for result in results:
        yield PastMessage(role=Role.TOOL, content=(result,))


def _call(part: Json, place: str) -> tuple[ToolCall, ToolResult]:
    kind = str(part["type"])
    name = kind.removeprefix("tool-") if kind != "dynamic-tool" else name_in(part, "toolName", place)
    call = ToolCall(name_in(part, "toolCallId", place), replace_surrogates(name), part.get("input"))
    answer = _answer(part, place)
    if answer is None or answer.is_approved is not None:
        text = DENIED if part.get("state") == "output-denied" else NO_RESULT
        return call, ToolResult(call.tool_call_id, call.tool_name, text, is_error=True)
    return call, ToolResult(call.tool_call_id, call.tool_name, answer.value, answer.is_error)


def _assistant_part(part: Json, place: str) -> Part | None:
    """None for a part without content: the beginning of a step, an empty text."""
    kind = part.get("type")
    if kind in ("text", "reasoning"):
        text = string_in(part, "text", place)
        return (Text(text) if kind == "text" else Reasoning(text)) if text else None
    if kind == "file":
        return _file(part, place)
    if kind == "source-url":
        title = part.get("title")
        return Source(
            url=string_in(part, "url", place),
            title=title if isinstance(title, str) else "",
            source_id=string_in(part, "sourceId", place),
        )
    if kind == "source-document":
        return Source(source_id=string_in(part, "sourceId", place), title=string_in(part, "title", place))
    if isinstance(kind, str) and kind.startswith("data-"):
        return Data(data=part.get("data"), name=replace_surrogates(kind.removeprefix("data-")))
    if kind == "step-start":
        return None
    raise Invalid(f"{place}.type", f"no part of an assistant's message: {str(kind)[:80]!r}")


# --- parts


def _parts(message: Json, field: str) -> Iterator[tuple[Json, str]]:
    parts = message.get("parts")
    if not isinstance(parts, list):
        raise Invalid(f"{field}.parts", "a list of parts")
    for number, part in enumerate(parts):
        place = f"{field}.parts[{number}]"
        if not isinstance(part, Mapping):
            raise Invalid(place, "an object with `type`")
        yield part, place


def _is_tool(part: Json) -> bool:
    kind = part.get("type")
    return isinstance(kind, str) and (kind == "dynamic-tool" or kind.startswith("tool-"))


def _file(part: Json, place: str) -> Part:
    """A file with a `data:` address, or one that is stored in this server."""
    url, name = string_in(part, "url", place), part.get("filename")
    return file_of_url(url, replace_surrogates(name) if isinstance(name, str) else "", f"{place}.url")
