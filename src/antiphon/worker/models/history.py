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


def turn_call_count(request: ModelRequest) -> int:
    """How many tool calls the turn has made. A turn's id is its first message's, and ids only grow."""
    return sum(1 for _ in iter_calls([message for message in request.messages if message.id >= request.turn_id]))


def word_count(request: ModelRequest) -> int:
    """A rough measure of the request's size, for a model without a tokenizer."""
    return len(request.system.split()) + sum(len(text_of(message.content).split()) for message in request.messages)
