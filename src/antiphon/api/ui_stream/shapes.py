"""The bodies of the AI SDK's routes. Fields that are unknown are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from antiphon.api.chat_settings import ToolShape
from antiphon.core.values import Value

ChatName = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
Messages = Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=10_000)]


class ChatBody(Value, gc=True):
    """The body that `DefaultChatTransport` makes. From `model` on, the fields are Antiphon's own, for its option
    `body`."""

    id: ChatName
    messages: Messages
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: str | None = msgspec.field(default=None, name="messageId")
    model: str | None = None
    system: str | None = None
    tools: list[ToolShape] | None = None
    labels: dict[str, str] | None = None
    when_busy: Literal["queue", "interrupt", "reject"] | None = msgspec.field(default=None, name="whenBusy")


class MessagesQuery(Value):
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 200


class UiMessages(Value, gc=True):
    """The newest messages of a chat, oldest first, in the shape of the AI SDK's `UIMessage`."""

    id: str
    messages: list[dict[str, Any]]
    has_more: bool = msgspec.field(name="hasMore")


class StopBody(Value):
    clear_queue: bool = msgspec.field(default=False, name="clearQueue")


class Stopped(Value):
    """Whether a turn is being interrupted."""

    interrupted: bool
