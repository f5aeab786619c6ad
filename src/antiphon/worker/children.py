"""What an agent says to start a child chat, and what it gets back."""

from __future__ import annotations

import msgspec

from antiphon.core.parts import Part


class ChildChat(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a child chat is created with. `content` is its first message. An empty `model` is the one of the turn that
    starts it; an empty `title` is made from the content."""

    content: str | tuple[Part, ...]
    title: str = ""
    model: str = ""
    system: str = ""
    labels: dict[str, str] = {}


class ChildAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a child chat has come to rest: its id, how its last turn ended (answered, interrupted or failed; `deleted`
    if the chat was), the text of its last message, and why the turn failed."""

    chat_id: str
    outcome: str
    text: str = ""
    error: str = ""
