"""Hints received over the bus, decoded defensively: any replica, also an older or a foreign one, may have sent them.

A receiver decodes only what it relies on: the chat, the kind and the seq. A message that cannot be decoded is counted
and handled like None, which stands for dropped messages: the receiver reads the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from antiphon.core.values import Value
from antiphon.errors import AntiphonError, PeerError
from antiphon.observe.metrics import METRICS
from antiphon.ports import Bus
from antiphon.wire.codec import Int64, decode
from antiphon.wire.notices import notices_of
from antiphon.wire.notify import Chat, ChatEvent, Handler
from antiphon.wire.stream import Frame

WANTED_CHANNEL = "antiphon:wanted"
"""Carries the id of a chat whose turn any worker may claim."""
REVOKED_CHANNEL = "antiphon:revoked"
"""Carries the id of a token or session that was revoked."""

EVENTS_QUEUED_MAX = 1_000
"""Maximum number of messages queued for one handler. Beyond it they are dropped, and the handler is notified."""
NAME_MAX = 100
"""Maximum length of an id in a hint, in characters."""

H = TypeVar("H", bound=Value)


def stream_channel(chat_id: str) -> str:
    """The channel of one chat: what was appended to it."""
    return f"chat:stream:{chat_id}"


def owner_channel(owner_id: str) -> str:
    """The channel of one owner: which of the owner's chats changed."""
    return f"chat:owner:{owner_id}"


class StreamHint(Value):
    """From a ChatStreamNotifyMessage: the chat has reached `seq`. A foreign peer sends no seq; only then the other
    fields are used. They are transient, no store has them."""

    seq: Int64 | None = None
    retry: Any = None
    error_payload: Any = None
    error: Any = None

    def notices(self) -> dict[str, Frame]:
        """The notices that a foreign peer sends inline, by kind (`wire.notices`)."""
        if self.seq is not None:
            return {}
        return notices_of(retry=self.retry, error_payload=self.error_payload, error=self.error)


class _Named(Value):
    id: str = ""


class ChatHint(Value):
    """From a ChatEvent: what changed in a chat, which has reached `seq`."""

    kind: str = ""
    chat: _Named = _Named()
    seq: Int64 | None = None

    @property
    def chat_id(self) -> str:
        return _name(self.chat.id).lower()


def claimed_chat(message: bytes | None) -> Chat | None:
    """The chat in a ChatEvent, as its sender claims it; None if it cannot be decoded."""
    try:
        return decode(message or b"", ChatEvent).chat
    except PeerError:
        return None


def stream_hint(message: bytes | None) -> StreamHint:
    """Decode a hint of a chat's channel. Without a seq, the receiver reads the store."""
    return _read(message, StreamHint)


def chat_hint(message: bytes | None) -> ChatHint:
    """Decode a hint of an owner's channel. Without a chat, the receiver reads all chats of the owner."""
    return _read(message, ChatHint)


def text_hint(message: bytes) -> str:
    """Decode a hint that consists of an id; empty if it cannot be one."""
    return _name(message[: NAME_MAX + 1].decode("utf-8", "replace"))


def _name(text: str) -> str:
    return text if len(text) <= NAME_MAX and text.isprintable() else ""


def _read(message: bytes | None, kind: type[H]) -> H:
    if message is None:
        return kind()
    try:
        return decode(message, kind)
    except PeerError:
        METRICS.unexpected.labels("malformed_hint").inc()
        return kind()


# --- the contract's handlers on a bus ---------------------------------------------------------------


class MessagesDropped(AntiphonError):
    """Messages of a channel were dropped: a receiver reads everything that it follows."""

    code = "messages_dropped"

    def __init__(self) -> None:
        super().__init__("messages were dropped")


def subscribe_events(bus: Bus, channel: str, handler: Handler) -> Callable[[], None]:
    """Call one of the contract's handlers (`notify.handle_…`) with each message of a channel, one after the other.

    Args:
        bus: The bus that carries the channel.
        channel: The name of the channel.
        handler: Called with the message, or with `MessagesDropped` where some were dropped, also because the handler
            is too slow.

    Returns:
        A function that ends the subscription.
    """
    subscription = _EventSubscription(handler)
    unsubscribe = bus.subscribe(channel, subscription.put)

    def unsubscribe_handler() -> None:
        unsubscribe()
        subscription.task.cancel()

    return unsubscribe_handler


class _EventSubscription:
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._queued: deque[bytes | None] = deque()
        self._has_messages = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    def put(self, message: bytes | None) -> None:
        if len(self._queued) >= EVENTS_QUEUED_MAX:
            self._queued.clear()
            message = None
        self._queued.append(message)
        self._has_messages.set()

    async def _run(self) -> None:
        while True:
            while self._queued:
                message = self._queued.popleft()
                if message is None:
                    await self._handler(b"", MessagesDropped())
                else:
                    await self._handler(message, None)
            self._has_messages.clear()
            await self._has_messages.wait()
