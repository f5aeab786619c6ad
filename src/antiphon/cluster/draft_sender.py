"""The holder's side of the relay: sends drafts that are written here to the subscribed instances. See `relay.py`."""

from __future__ import annotations

import asyncio

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.cluster.relay_timing import RelayLimits, RelayTiming
from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.observe.metrics import METRICS
from antiphon.ports import Link
from antiphon.wire.relay import Deltas, Unwatch, Wanted, Watch, encode_message


class SendOffset:
    """The position up to which a chat's draft was sent to one instance (on a broadcast link: to all of them)."""

    __slots__ = ("draft", "expires_at", "position", "sent_at", "watched_until")

    def __init__(self) -> None:
        self.draft: Draft | None = None
        self.position = 0
        self.sent_at = 0.0
        self.expires_at = 0.0
        """When the subscription expires unless it is renewed."""
        self.watched_until = 0.0
        """How long the chat counts as watched at that instance."""


class DraftSender:
    """Keeps a send offset for each subscription, and sends what was written after it."""

    def __init__(self, live: LiveDrafts, link: Link, *, timing: RelayTiming, limits: RelayLimits) -> None:
        self._live = live
        self._link = link
        self._timing = timing
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._offsets: dict[str, dict[str, SendOffset]] = {}
        """By chat and instance; the instance is empty on a broadcast link."""
        self._offset_count = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unsubscribe_grown = live.grown.subscribe(self._on_growth)

    @property
    def subscribed_chats(self) -> tuple[str, ...]:
        """The chats whose drafts other instances follow."""
        return tuple(self._offsets)

    def close(self) -> None:
        self._unsubscribe_grown()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def is_watched(self, chat_id: str) -> bool:
        """Whether the chat has a watcher on a subscribed instance."""
        now = self._loop.time()
        return any(offset.watched_until >= now for offset in self._offsets.get(chat_id, {}).values())

    # --- subscriptions

    def subscribe(self, peer: str, message: Watch) -> None:
        """Start, renew or rewind the subscriptions of an instance."""
        for wanted in message.wanted:
            self._subscribe_one("" if self._link.is_broadcast else peer, wanted)

    def _subscribe_one(self, key: str, wanted: Wanted) -> None:
        now = self._loop.time()
        offset = self._offsets.get(wanted.chat_id, {}).get(key)
        if offset is None:
            if self._offset_count >= self._limits.send_offsets_max:
                METRICS.unexpected.labels("send_offset_overflow").inc()
                return
            offset = self._offsets.setdefault(wanted.chat_id, {})[key] = SendOffset()
            self._offset_count += 1
            self._start(offset, wanted)
        elif wanted.is_gap or now - offset.sent_at > self._timing.retransmit_s:
            self._rewind(offset, wanted)
        offset.expires_at = now + self._timing.subscription_s
        if wanted.is_seen or not self._link.is_broadcast:  # on a broadcast link another instance may have a watcher
            offset.watched_until = offset.expires_at if wanted.is_seen else 0.0
        self._send(wanted.chat_id)

    def _start(self, offset: SendOffset, wanted: Wanted) -> None:
        offset.draft = self._live.get(wanted.chat_id)
        if offset.draft is not None and offset.draft.name == wanted.draft:
            offset.position = min(wanted.position, offset.draft.position)

    def _rewind(self, offset: SendOffset, wanted: Wanted) -> None:
        """Go back to the subscriber's position: what was sent after it is lost."""
        if offset.draft is None or wanted.draft > offset.draft.name:
            return
        position = wanted.position if wanted.draft == offset.draft.name else 0
        offset.position = min(offset.position, position)

    def unsubscribe(self, peer: str, message: Unwatch) -> None:
        """End subscriptions. On a broadcast link they expire instead: other instances may still need them."""
        if not self._link.is_broadcast:
            for chat_id in message.chat_ids:
                self._remove(chat_id, peer)

    def expire(self) -> None:
        """End the subscriptions that were not renewed."""
        now = self._loop.time()
        expired = [
            (chat_id, key)
            for chat_id, offsets in self._offsets.items()
            for key, offset in offsets.items()
            if offset.expires_at < now
        ]
        for chat_id, key in expired:
            self._remove(chat_id, key)

    def _remove(self, chat_id: str, key: str) -> None:
        offsets = self._offsets.get(chat_id, {})
        if offsets.pop(key, None) is not None:
            self._offset_count -= 1
        if not offsets:
            self._offsets.pop(chat_id, None)

    # --- sending

    def _on_growth(self, chat_id: str) -> None:
        offsets = self._offsets.get(chat_id)
        if offsets is None or chat_id in self._timers:
            return
        sent_at = max(offset.sent_at for offset in offsets.values())
        at = max(sent_at + self._timing.pace_s, self._loop.time())
        self._timers[chat_id] = self._loop.call_at(at, self._send, chat_id)

    def _send(self, chat_id: str) -> None:
        """Send to each subscriber the rest of its draft, then the draft that is open now."""
        timer = self._timers.pop(chat_id, None)
        if timer is not None:
            timer.cancel()
        live = self._live.get(chat_id)
        encoded: dict[tuple[int, int], tuple[bytes, int]] = {}
        is_refused = False
        for key, offset in self._offsets.get(chat_id, {}).items():
            is_refused |= not self._send_one(chat_id, key, offset, live, encoded)
        if is_refused:
            METRICS.relay_full.inc()
            self._timers[chat_id] = self._loop.call_later(self._timing.back_pressure_s, self._send, chat_id)

    def _send_one(
        self,
        chat_id: str,
        key: str,
        offset: SendOffset,
        live: Draft | None,
        encoded: dict[tuple[int, int], tuple[bytes, int]],
    ) -> bool:
        """Send to one subscriber; False if the link refused a message. Subscribers share `encoded` messages."""
        while True:
            draft = offset.draft
            if draft is None or offset.position >= draft.position:
                if live is None or live is draft:
                    return True
                offset.draft, offset.position = live, 0
                continue
            start = (draft.name, offset.position)
            if start not in encoded:
                end = offset.position + self._limits.message_code_points_max
                encoded[start] = self._encode(chat_id, draft.read(offset.position, end))
            message, position = encoded[start]
            if not self._link.send_of_chat_nowait(chat_id, key, message):
                return False
            offset.position, offset.sent_at = position, self._loop.time()

    def _encode(self, chat_id: str, deltas: list[Delta]) -> tuple[bytes, int]:
        """A message with the first deltas that fit, and the position at its end."""
        message = encode_message(Deltas(chat_id=chat_id, deltas=tuple(deltas)))
        while len(message) > self._limits.message_bytes_max and len(deltas) > 1:
            deltas = deltas[: len(deltas) // 2]
            message = encode_message(Deltas(chat_id=chat_id, deltas=tuple(deltas)))
        return message, deltas[-1].to
