"""Shortens a history that is too long for a model: whole turns are left out, oldest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.core.parts import Role
from antiphon.ports import Message
from antiphon.wire.codec import encode_content

TRIMS_MAX = 4
"""Maximum number of times that a history is halved for one model call."""


def halved(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The newest turns, of about half the size; at least the last turn. A turn is whole, so that no result is
    without its call."""
    sizes = [len(encode_content(message.content)) for message in messages]
    budget, kept = sum(sizes) // 2, len(messages)
    users = (number for number, message in enumerate(messages) if message.role is Role.USER)
    starts = [number for number in users if _begins(messages, number)]
    for start in reversed(starts):
        if kept < len(messages) and sum(sizes[start:]) > budget:
            break
        kept = start
    return tuple(messages[kept:]) if kept < len(messages) else tuple(messages)


def _begins(messages: Sequence[Message], number: int) -> bool:
    """Whether a user message begins a turn: a steering message follows a result, or another user message."""
    return not number or messages[number - 1].role is Role.ASSISTANT


def left_out_words(count: int) -> str:
    """What the person and the model are shown in place of the messages."""
    what = "The first message of this chat was" if count == 1 else f"The first {count} messages of this chat were"
    return f"({what} left out: the chat is too long for the model.)"
