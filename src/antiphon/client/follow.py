"""A stream across connections, without I/O: its cursor, its events and the delay before a reconnect.

A connection sends the request of `request()` and passes every event to `handle`. When the connection ends, it waits
`wait_s(…)` seconds and reconnects.
"""

from __future__ import annotations

from random import Random
from typing import Any, Generic, TypeVar, cast

import msgspec

from antiphon.client import api_requests
from antiphon.client.timing import retry_after_ms_of, retry_delay_s
from antiphon.core.events import Bye, Event
from antiphon.core.values import Value
from antiphon.errors import PeerError, TooMany, Unavailable
from antiphon.wire.cursor import parse_cursor
from antiphon.wire.sse import SseEvent
from antiphon.wire.stream import decode_event

FINAL = frozenset({"idle", "deleted", "revoked"})
"""The reasons of `bye` after which the client does not reconnect."""

E = TypeVar("E")


class FeedEvent(Value):
    """An event of the owner's feed. The values of `type`:

    - `resync`: changes may have been missed, fetch the list of chats again. It is the first event, also after each
      reconnect;
    - `chat`: `data` is {kind: status_change·title_change·created·deleted·diff_status_change, chat};
    - `bye`: `data` is {reason}; the last event.

    Types of newer servers are passed on unchanged.
    """

    type: str
    data: dict[str, Any]


class Follow(Generic[E]):
    """One stream over any number of connections.

    `cursor` is where to resume (None: from now). `is_closed`: the stream has ended. `is_connection_done`: the server
    has closed this connection.
    """

    def __init__(self, request: api_requests.ApiRequest[None], *, cursor: str | None, random: Random) -> None:
        self.cursor = cursor
        self.is_closed = False
        self.is_connection_done = False
        self._request = request
        self._random = random
        self._tries = 0
        self._retry_after_ms: int | None = None

    def request(self) -> api_requests.ApiRequest[None]:
        """The request that opens the next connection."""
        self.is_connection_done = False
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self.cursor is not None:
            headers["last-event-id"] = self.cursor
        return msgspec.structs.replace(self._request, headers=headers)

    def handle(self, raw: SseEvent) -> E | None:
        """The event for the reader; None: there is none (a ping, or a `bye` before a reconnect). Raises
        `PeerError`."""
        if raw.event == "ping":
            return None
        event = self._decode(raw)
        if raw.event == "bye":
            return self._handle_bye(raw, event)
        if raw.id is not None:
            self.cursor = raw.id
        self._tries = 0
        self._retry_after_ms = None
        return event

    def _handle_bye(self, raw: SseEvent, event: E) -> E | None:
        bye = cast(Bye, decode_event(raw.data))
        self.is_connection_done = True
        self._retry_after_ms = bye.retry_ms
        self.is_closed = bye.reason in FINAL
        return event if self.is_closed else None

    def wait_s(self, error: Unavailable | TooMany | None) -> float:
        """How long to wait before the next connection, in seconds. `error` ended this one (None: it was closed)."""
        self._tries += 1
        retry_after_ms = self._retry_after_ms if error is None else retry_after_ms_of(error)
        self._retry_after_ms = None
        return retry_delay_s(self._tries, random=self._random, retry_after_ms=retry_after_ms)

    def _decode(self, raw: SseEvent) -> E:
        raise NotImplementedError


class FollowChat(Follow[Event]):
    """The stream of one chat."""

    def __init__(self, chat_id: str, *, after: str | None, until_idle: bool, by_ref: bool, random: Random) -> None:
        """Raises `CursorInvalid` if `after` is not a cursor."""
        if after is not None:
            parse_cursor(after)
        request = api_requests.watch(chat_id, until_idle=until_idle, by_ref=by_ref)
        super().__init__(request, cursor=after, random=random)
        self.chat_id = chat_id
        self.until_idle = until_idle

    def record(self, event: Event) -> None:
        """Record an event that arrived over another connection (ZeroMQ): the stream resumes after it."""
        if event.cursor:
            self.cursor = event.cursor
        if isinstance(event, Bye):
            self.is_closed = event.reason in FINAL
        self._tries = 0

    def _decode(self, raw: SseEvent) -> Event:
        return decode_event(raw.data, cursor=raw.id or "")


class FollowFeed(Follow[FeedEvent]):
    """The feed of an owner. It has no cursors: each connection begins with a `resync`."""

    def __init__(self, *, random: Random) -> None:
        super().__init__(api_requests.feed(), cursor=None, random=random)

    def _decode(self, raw: SseEvent) -> FeedEvent:
        try:
            data: dict[str, Any] = msgspec.json.decode(raw.data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError) as error:
            raise PeerError(f"not an event of a feed: {error}") from error
        return FeedEvent(type=raw.event, data={name: value for name, value in data.items() if name != "type"})
