"""Queries of the history that a model call continues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from antiphon.core.parts import Data, FileReference, Part, Role, Text, ToolCall, ToolResult, text_of
from antiphon.ports import Message, ModelRequest
from antiphon.wire.codec import encode


def iter_calls(messages: Sequence[Message]) -> Iterator[ToolCall]:
    """Every tool call of these messages, in order."""
    for message in messages:
        if message.role is Role.ASSISTANT:
            yield from (part for part in message.content if isinstance(part, ToolCall))


def results_with_files(message: Message) -> Iterator[tuple[ToolResult, list[Part]]]:
    """The results of a tool's message, each with the files that it names: `File` parts, and texts that stand for
    files which are not loaded."""
    result: ToolResult | None = None
    files: list[Part] = []
    for part in message.content:
        if isinstance(part, ToolResult):
            if result is not None:
                yield result, files
            result, files = part, []
        else:
            files.append(part)
    if result is not None:
        yield result, files


def with_data_as_text(request: ModelRequest) -> ModelRequest:
    """The request with the JSON of each `Data` part and the names of an answer's files as texts: no provider has such
    parts."""
    messages = data_as_text(request.messages)
    return request if messages is request.messages else replace(request, messages=tuple(messages))


def data_as_text(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages with these parts as texts; the same ones if they have none."""
    if not any(_is_worded(message, part) for message in messages for part in message.content):
        return messages
    return [
        replace(
            message, content=tuple(_as_text(part) if _is_worded(message, part) else part for part in message.content)
        )
        for message in messages
    ]


def _is_worded(message: Message, part: Part) -> bool:
    """Whether a part is sent to a provider as a text. The files of an answer are named: none takes them back."""
    return isinstance(part, Data) or (isinstance(part, FileReference) and message.role is Role.ASSISTANT)


def _as_text(part: Part) -> Part:
    if isinstance(part, FileReference):
        return Text(f"[the file {part.file_name or part.file_id}]")
    return Text(encode(part.data).decode(), part.provider_metadata) if isinstance(part, Data) else part


def since_last_user(messages: Sequence[Message]) -> Sequence[Message]:
    """The last user message and everything after it; empty if there is no user message."""
    for i in range(len(messages) - 1, -1, -1):
        if messages[i].role is Role.USER:
            return messages[i:]
    return ()


def turn_messages(request: ModelRequest) -> Sequence[Message]:
    """The messages of the turn. Its id is that of its first message, and ids grow, so they are found from the end."""
    start = len(request.messages)
    while start and request.messages[start - 1].id >= request.turn_id:
        start -= 1
    return request.messages[start:]


def turn_call_count(request: ModelRequest) -> int:
    """The number of tool calls in the turn."""
    return sum(1 for _ in iter_calls(turn_messages(request)))


def word_count(request: ModelRequest) -> int:
    """An approximate size of the turn's input, for a model without a tokenizer."""
    words = sum(len(text_of(message.content).split()) for message in turn_messages(request))
    return len(request.system.split()) + words
