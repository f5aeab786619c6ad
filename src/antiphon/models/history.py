"""Queries of the history that a model call continues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from antiphon.core.parts import Data, Part, Role, Text, ToolCall, text_of
from antiphon.ports import Message, ModelRequest
from antiphon.wire.codec import encode


def iter_calls(messages: Sequence[Message]) -> Iterator[ToolCall]:
    """Every tool call of these messages, in order."""
    for message in messages:
        if message.role is Role.ASSISTANT:
            yield from (part for part in message.content if isinstance(part, ToolCall))


def with_data_as_text(request: ModelRequest) -> ModelRequest:
    """The request with the JSON of each `Data` part as text: no provider has such a part."""
    messages = data_as_text(request.messages)
    return request if messages is request.messages else replace(request, messages=tuple(messages))


def data_as_text(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages with the JSON of each `Data` part as text; the same ones if they have no such part."""
    if not any(isinstance(part, Data) for message in messages for part in message.content):
        return messages
    return [replace(message, content=tuple(map(_as_text, message.content))) for message in messages]


def _as_text(part: Part) -> Part:
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
