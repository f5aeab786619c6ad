"""What comes over the bus, read with care: any replica, also an older or a foreign one, may have sent it.

Only what a receiver relies on is read: which chat, what kind, up to which seq. A message that cannot be read is
counted, and means what None means: look.
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

EVENTS_WAITING_MAX = 1_000
NAME_MAX = 100

H = TypeVar("H", bound=Value)


def stream_channel(chat_id: str) -> str:
    """The channel of one chat: what was appended to it."""
    return f"chat:stream:{chat_id}"


def owner_channel(owner_id: str) -> str:
    """The channel of one owner: which of the owner's chats changed."""
    return f"chat:owner:{owner_id}"


class StreamHint(Value):
    """Of a ChatStreamNotifyMessage: the chat has come to `seq`; a foreign peer does not say. Its other fields count
    only then: they are transient, and no store has them."""

    seq: Int64 | None = None
    retry: Any = None
    error_payload: Any = None
    error: Any = None

    def notices(self) -> dict[str, Frame]:
        """What a foreign peer reports inline, by kind (`wire.notices`)."""
        if self.seq is not None:
            return {}
        return notices_of(retry=self.retry, error_payload=self.error_payload, error=self.error)


class _Named(Value):
    id: str = ""


class ChatHint(Value):
    """Of a ChatEvent: what changed in which chat, which has come to `seq`."""

    kind: str = ""
    chat: _Named = _Named()
    seq: Int64 | None = None

    @property
    def chat_id(self) -> str:
        return _name(self.chat.id).lower()


def claimed_chat(message: bytes | None) -> Chat | None:
    """The chat that a ChatEvent claims to be of; None where it cannot be read."""
    try:
        return decode(message or b"", ChatEvent).chat
    except PeerError:
        return None


def stream_hint(message: bytes | None) -> StreamHint:
    """A hint of a chat's channel; without a seq: look."""
    return _read(message, StreamHint)


def chat_hint(message: bytes | None) -> ChatHint:
    """A hint of an owner's channel; without a chat: look at all."""
    return _read(message, ChatHint)


def text_hint(message: bytes) -> str:
    """A hint that is only a name; empty if it cannot be one."""
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
    """Some messages of a channel were dropped on their way: look at everything."""

    code = "messages_dropped"

    def __init__(self) -> None:
        super().__init__("messages were dropped")


def subscribe_events(bus: Bus, channel: str, handler: Handler) -> Callable[[], None]:
    """Have one of the contract's handlers (`notify.handle_…`) called with each message of the channel, one after the
    other, and with `MessagesDropped` where some were dropped, be it that it is too slow. Returns the call that ends
    it."""
    subscription = _EventSubscription(handler)
    end = bus.subscribe(channel, subscription.put)

    def end_all() -> None:
        end()
        subscription.task.cancel()

    return end_all


class _EventSubscription:
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._waiting: deque[bytes | None] = deque()
        self._has_come = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    def put(self, message: bytes | None) -> None:
        if len(self._waiting) >= EVENTS_WAITING_MAX:
            self._waiting.clear()
            message = None
        self._waiting.append(message)
        self._has_come.set()

    async def _run(self) -> None:
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                if message is None:
                    await self._handler(b"", MessagesDropped())
                else:
                    await self._handler(message, None)
            self._has_come.clear()
            await self._has_come.wait()
