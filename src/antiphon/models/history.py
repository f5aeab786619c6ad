"""What a model call must know of the history it continues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antiphon.core.parts import Role, ToolCall, text_of
from antiphon.ports import Message, ModelRequest


def iter_calls(messages: Sequence[Message]) -> Iterator[ToolCall]:
    """Every tool call of these messages, in order."""
    for message in messages:
        if message.role is Role.ASSISTANT:
            yield from (part for part in message.content if isinstance(part, ToolCall))


def since_last_user(messages: Sequence[Message]) -> Sequence[Message]:
    """The last user message and all that followed it; empty when nobody has spoken."""
    for i in range(len(messages) - 1, -1, -1):
        if messages[i].role is Role.USER:
            return messages[i:]
    return ()


def turn_messages(request: ModelRequest) -> Sequence[Message]:
    """The messages of the turn. Its id is its first message's, and ids only grow: found from the end."""
    start = len(request.messages)
    while start and request.messages[start - 1].id >= request.turn_id:
        start -= 1
    return request.messages[start:]


def turn_call_count(request: ModelRequest) -> int:
    """How many tool calls the turn has made."""
    return sum(1 for _ in iter_calls(turn_messages(request)))


def word_count(request: ModelRequest) -> int:
    """A rough measure of what the turn asks, for a model without a tokenizer."""
    words = sum(len(text_of(message.content).split()) for message in turn_messages(request))
    return len(request.system.split()) + words
