"""Following a stream across connections, without I/O: where it stands, what its bytes mean, when to come back.

A shell opens the connection that `call()` describes, gives every event to `take`, and asks `wait_s` how long to
wait when the connection is over.
"""

from __future__ import annotations

from random import Random
from typing import Any, Generic, TypeVar, cast

import msgspec

from antiphon.client import calls
from antiphon.client.backoff import backoff_s, wish_of
from antiphon.core.events import Bye, Event
from antiphon.core.values import Value
from antiphon.errors import PeerError, TooMany, Unavailable
from antiphon.wire.cursor import parse_cursor
from antiphon.wire.sse import SseEvent
from antiphon.wire.stream import decode_event

FINAL = frozenset({"idle", "deleted", "revoked"})
"""The good-byes after which there is nothing to come back for."""

E = TypeVar("E")


class FeedEvent(Value):
    """Something in the owner's feed. `type` is

    `resync`: fetch the list of chats again, changes may have been missed (the first event, and after each
    reconnect); `chat`: `data` is {kind: status_change·title_change·created·deleted·diff_status_change, chat};
    `bye`: `data` is {reason}, nothing follows. Types of newer servers come as they are.
    """

    type: str
    data: dict[str, Any]


class Follow(Generic[E]):
    """One stream that is followed, whatever becomes of its connections.

    `cursor` is where to resume (None: from now), `is_over` says that nothing more comes, `is_cut` that this
    connection is done.
    """

    def __init__(self, call: calls.Call[None], *, cursor: str | None, random: Random) -> None:
        self.cursor = cursor
        self.is_over = False
        self.is_cut = False
        self._call = call
        self._random = random
        self._tries = 0
        self._wish_ms: int | None = None

    def call(self) -> calls.Call[None]:
        """The request that opens the next connection."""
        self.is_cut = False
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self.cursor is not None:
            headers["last-event-id"] = self.cursor
        return msgspec.structs.replace(self._call, headers=headers)

    def take(self, raw: SseEvent) -> E | None:
        """What an event means for the reader; None: nothing. Raises `PeerError`."""
        if raw.event == "ping":
            return None
        event = self._decode(raw)
        if raw.event == "bye":
            return self._take_bye(raw, event)
        if raw.id is not None:
            self.cursor = raw.id
        self._tries = 0
        self._wish_ms = None
        return event

    def _take_bye(self, raw: SseEvent, event: E) -> E | None:
        bye = cast(Bye, decode_event(raw.data))
        self.is_cut = True
        self._wish_ms = bye.retry_ms
        self.is_over = bye.reason in FINAL
        return event if self.is_over else None

    def wait_s(self, error: Unavailable | TooMany | None) -> float:
        """How long to wait before the next connection, seconds; `error` is what ended this one (None: its end)."""
        self._tries += 1
        wish_ms, self._wish_ms = self._wish_ms if error is None else wish_of(error), None
        return backoff_s(self._tries, random=self._random, wish_ms=wish_ms)

    def _decode(self, raw: SseEvent) -> E:
        raise NotImplementedError


class FollowChat(Follow[Event]):
    """The stream of one chat."""

    def __init__(self, chat_id: str, *, after: str | None, until_idle: bool, by_ref: bool, random: Random) -> None:
        """Raises `CursorInvalid` for what cannot be a cursor."""
        if after is not None:
            parse_cursor(after)
        call = calls.watch(chat_id, until_idle=until_idle, by_ref=by_ref)
        super().__init__(call, cursor=after, random=random)
        self.chat_id = chat_id
        self.until_idle = until_idle

    def note(self, event: Event) -> None:
        """Say of an event that came by another way that it was taken."""
        if event.cursor:
            self.cursor = event.cursor
        if isinstance(event, Bye):
            self.is_over = event.reason in FINAL
        self._tries = 0

    def _decode(self, raw: SseEvent) -> Event:
        return decode_event(raw.data, cursor=raw.id or "")


class FollowFeed(Follow[FeedEvent]):
    """The feed of an owner. It has no cursors: each connection begins with a `resync`."""

    def __init__(self, *, random: Random) -> None:
        super().__init__(calls.feed(), cursor=None, random=random)

    def _decode(self, raw: SseEvent) -> FeedEvent:
        try:
            data: dict[str, Any] = msgspec.json.decode(raw.data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError) as error:
            raise PeerError(f"not an event of a feed: {error}") from error
        return FeedEvent(type=raw.event, data={name: value for name, value in data.items() if name != "type"})
