"""The items of a Responses request: messages, function calls and their results, approvals.

What is translated: messages, `function_call` and its output, `mcp_call`, `reasoning` (its summary), and
`mcp_approval_response`. An item of any other type is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from antiphon.core.draft import args_value, replace_surrogates
from antiphon.core.parts import Part, Reasoning, Role, Text, ToolCall, ToolResult
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.wire.past_messages import PastMessage
from antiphon.wire.user_content import user_parts

KNOWN = "message, function_call, function_call_output, reasoning, mcp_call and mcp_approval_response"
CALL_ID_MAX = 16 * 1024
"""Maximum length of the id of a tool call, in characters."""

Json = Mapping[str, Any]


class ToolOutput(Value, gc=True):
    """A client's result of a tool call, or its answer to a question."""

    call_id: str
    output: Any


class ApprovalAnswer(Value):
    """An answer to a request for approval; `request_id` is the id of its item."""

    request_id: str
    is_approved: bool
    reason: str = ""


class Input(Value, gc=True):
    """The translated items. `messages` has all that is history or new, in order, also the outputs as messages."""

    system: str = ""
    messages: tuple[PastMessage, ...] = ()
    outputs: tuple[ToolOutput, ...] = ()
    approvals: tuple[ApprovalAnswer, ...] = ()

    @property
    def said(self) -> tuple[Part, ...]:
        """The parts of all user messages: the new message, where the items are not a history."""
        return tuple(part for message in self.messages if message.role is Role.USER for part in message.content)

    @property
    def has_history(self) -> bool:
        """Whether there are answers of an assistant."""
        return any(message.role is Role.ASSISTANT for message in self.messages)


def read_input(given: str | Sequence[Json], field: str = "input") -> Input:
    """The items of a request. Raises `Invalid` with the index of an item that cannot be translated."""
    if isinstance(given, str):
        return Input(messages=(PastMessage(role=Role.USER, content=user_parts(given)),))
    reader = ItemReader()
    for number, item in enumerate(given):
        reader.add(item, f"{field}[{number}]")
    return reader.read()


class ItemReader:
    """Collects items one by one: consecutive items of an assistant are one message."""

    def __init__(self) -> None:
        self._system: list[str] = []
        self._messages: list[PastMessage] = []
        self._assistant: list[Part] = []
        """The parts of the assistant's message that is being collected from several items."""
        self._names: dict[str, str] = {}
        self._outputs: list[ToolOutput] = []
        self._approvals: list[ApprovalAnswer] = []

    def read(self) -> Input:
        self._end_assistant()
        return Input(
            system="\n\n".join(self._system),
            messages=tuple(self._messages),
            outputs=tuple(self._outputs),
            approvals=tuple(self._approvals),
        )

    def add(self, item: Json, field: str) -> None:
        kind = item.get("type") or ("message" if "role" in item else "")
        if kind == "message":
            self._message(item, field)
        elif kind == "function_call":
            self._call(_text(item, "call_id", field), item, field)
        elif kind == "function_call_output":
            self._output(item, field)
        elif kind == "reasoning":
            self._assistant += [Reasoning(text) for text in _summaries(item, field)]
        elif kind == "mcp_call":
            self._server_call(item, field)
        elif kind == "mcp_approval_response":
            approve, reason = item.get("approve"), item.get("reason") or ""
            if not isinstance(approve, bool) or not isinstance(reason, str):
                raise Invalid(field, "approve is true or false, and reason a string")
            request_id = _text(item, "approval_request_id", field)
            self._approvals.append(ApprovalAnswer(request_id=request_id, is_approved=approve, reason=reason))
        elif kind == "mcp_approval_request":
            return  # of the output of an earlier response, before its answer
        else:
            raise Invalid(field, f"items may be {KNOWN}, not {str(kind)[:80]!r}")

    def _message(self, item: Json, field: str) -> None:
        role, content = item.get("role"), item.get("content")
        if not isinstance(content, str | list):
            raise Invalid(field, "content is a string or a list of parts")
        if role == "user":
            self._end_assistant()
            self._messages.append(PastMessage(role=Role.USER, content=_user_parts(content, field)))
        elif role == "assistant":
            self._approvals.clear()  # those before an answer are history
            self._assistant += [Text(text) for text in text_parts(content, field) if text]
        elif role in ("system", "developer"):
            self._system += text_parts(content, field)
        else:
            raise Invalid(field, "role is user, assistant, system or developer")

    def _call(self, call_id: str, item: Json, field: str) -> None:
        name, arguments = _text(item, "name", field), item.get("arguments")
        if not isinstance(arguments, str):
            raise Invalid(field, "arguments is the JSON of an object, as a string")
        self._approvals.clear()
        self._names[call_id] = name
        self._assistant.append(ToolCall(call_id, name, args_value(replace_surrogates(arguments))))

    def _output(self, item: Json, field: str) -> None:
        call_id, output = _text(item, "call_id", field), item.get("output")
        if not isinstance(output, str | list):
            raise Invalid(field, "output is a string or a list of parts")
        value = replace_surrogates(output) if isinstance(output, str) else output
        self._outputs.append(ToolOutput(call_id=call_id, output=value))
        self._result(call_id, value)

    def _result(self, call_id: str, value: Any, *, is_error: bool = False) -> None:
        self._end_assistant()
        result = ToolResult(call_id, self._names.get(call_id, ""), value, is_error)
        self._messages.append(PastMessage(role=Role.TOOL, content=(result,)))

    def _server_call(self, item: Json, field: str) -> None:
        """A tool that the server ran in an earlier response: the call and its result are history."""
        call_id = _text(item, "id", field)
        self._call(call_id, item, field)
        error = item.get("error")
        self._result(call_id, error if error is not None else item.get("output") or "", is_error=error is not None)

    def _end_assistant(self) -> None:
        if self._assistant:
            self._messages.append(PastMessage(role=Role.ASSISTANT, content=tuple(self._assistant)))
            self._assistant = []


def _user_parts(content: str | list[Any], field: str) -> tuple[Part, ...]:
    try:
        return user_parts(content)
    except Invalid as error:
        place = error.field.removeprefix("content")
        raise Invalid(f"{field}.content{place}", error.reason) from error


def text_parts(content: str | Sequence[Any], field: str) -> list[str]:
    """The texts of a message that has nothing else. Raises `Invalid` for a part that is no text."""
    return [replace_surrogates(text) for text in _iter_texts(content, field)]


def _iter_texts(content: str | Sequence[Any], field: str) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, Mapping) else None
        if kind not in ("text", "input_text", "output_text", "refusal") or not isinstance(text, str):
            raise Invalid(f"{field}.content[{number}]", "this message can only have text")
        yield text


def _summaries(item: Json, field: str) -> list[str]:
    summary = item.get("summary") or []
    if not isinstance(summary, list):
        raise Invalid(field, "summary is a list")
    found = [part.get("text") for part in summary if isinstance(part, Mapping)]
    return [replace_surrogates(text) for text in found if isinstance(text, str) and text]


def _text(item: Json, key: str, field: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= CALL_ID_MAX:
        raise Invalid(f"{field}.{key}", f"a string of 1 to {CALL_ID_MAX} characters")
    return replace_surrogates(value)
