"""The relay of drafts: a watcher on one instance follows a draft that another instance writes.

How it works
------------
1. The instance that writes a draft is its *holder*. An instance on which something listens to the chat subscribes to
   the draft at the holder (`Watch`), from the position up to which it has the text, and keeps a *replica of the
   draft* to which it applies the deltas that arrive (`draft_replicas.py`).
2. The holder keeps one *send offset* (draft, position) for each subscription and no queue: a message is read from the
   draft itself, from the offset to the draft's end. So there is no backlog: a slow link gets fewer, larger deltas.
   The rest of a draft is sent before the next draft (`draft_sender.py`). On a broadcast link, which is a bus, one
   offset serves all subscribed instances.
3. Deltas that are written within `pace_s` share a message. Under back-pressure the link refuses a message, and the
   holder retries after `back_pressure_s`.
4. Messages may be lost. A lost delta shows as a gap, since the next one begins at a later position: the subscriber
   reports the gap with its own position, and the holder rewinds the send offset. A loss at the end shows no gap. It
   is found when the subscriber renews its subscription, once in `renew_s`: the renewal has its position, and the
   holder also rewinds to a position behind an offset that was sent more than `retransmit_s` ago.
5. A subscription that is not renewed within `subscription_s` expires, so an instance that died leaves nothing behind.
6. A replica switches to a newer draft when a delta of it arrives, or when a listener has read the fact that opens it.
   It keeps the previous draft, whose last deltas may still arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.chats.watched import WatchedChats
from antiphon.cluster.draft_replicas import DraftReplicas
from antiphon.cluster.draft_sender import DraftSender
from antiphon.cluster.relay_timing import RelayLimits, RelayTiming
from antiphon.core.draft import Draft
from antiphon.core.parts import Unknown
from antiphon.errors import PeerError
from antiphon.observe.metrics import METRICS
from antiphon.ports import Link
from antiphon.wire.relay import Deltas, Ping, Pong, Unwatch, Wanted, Watch, decode_message, encode_message


class RelayedDrafts:
    """Implements `ports.Drafts` for the drafts of all instances. `run` it as a task."""

    def __init__(
        self,
        live: LiveDrafts,
        link: Link,
        *,
        instance_id: str,
        watched: WatchedChats | None = None,
        timing: RelayTiming = RelayTiming(),  # noqa: B008 - a value
        limits: RelayLimits = RelayLimits(),  # noqa: B008 - a value
    ) -> None:
        """
        Args:
            live: The drafts that this instance writes.
            link: Carries the messages to the other instances.
            instance_id: This instance.
            watched: The chats that have a watcher in this process; their holders are notified of it.
            timing: How long the relay waits.
            limits: How much it sends at once.
        """
        self._link = link
        self._timing = timing
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._replicas = DraftReplicas(
            live, link, instance_id=instance_id, watched=WatchedChats() if watched is None else watched, timing=timing
        )
        self._sender = DraftSender(live, link, timing=timing, limits=limits)
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._ping_numbers = count(1)
        self._unsubscribe_received = link.received.subscribe(self._on_message)

    def close(self) -> None:
        """Stop receiving and sending."""
        self._unsubscribe_received()
        self._replicas.close()
        self._sender.close()

    @property
    def followed_count(self) -> int:
        """The number of chats whose drafts of other instances are followed here."""
        return len(self._replicas)

    @property
    def subscribed_chats(self) -> tuple[str, ...]:
        """The chats whose drafts are sent to other instances."""
        return self._sender.subscribed_chats

    def get(self, chat_id: str) -> Draft | None:
        return self._replicas.get(chat_id)

    def listen(self, chat_id: str, on_change: Callable[[], None]) -> Callable[[], None]:
        return self._replicas.listen(chat_id, on_change)

    def follow(self, chat_id: str, draft: int, holder: str) -> None:
        self._replicas.follow(chat_id, draft, holder)

    def has_remote_watcher(self, chat_id: str) -> bool:
        """Whether the chat has a watcher on another instance, which follows its draft here."""
        return self._sender.is_watched(chat_id)

    async def ping(self, instance_id: str, timeout_s: float) -> bool:
        """Whether the instance responds within `timeout_s` seconds."""
        number = next(self._ping_numbers)
        answered = self._pings[number] = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout_s):
                while not answered.done():  # a ping or its answer may be lost, or a connection made in a moment
                    is_sent = self._send(instance_id, Ping(number=number))
                    retry_s = self._timing.ping_retry_s if is_sent else self._timing.back_pressure_s
                    await asyncio.wait({answered}, timeout=retry_s)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            del self._pings[number]

    async def run(self) -> None:
        """Renew the subscriptions of this instance and expire those of the others, until cancelled."""
        while True:
            await asyncio.sleep(self._timing.renew_s)
            self._renew()
            self._sender.expire()

    def _renew(self) -> None:
        by_holder: dict[str, list[Wanted]] = {}
        for holder, wanted in self._replicas.subscriptions():
            by_holder.setdefault(holder, []).append(wanted)
        size = self._limits.message_chats_max
        for holder, chats in by_holder.items():
            for start in range(0, len(chats), size):
                self._send(holder, Watch(wanted=tuple(chats[start : start + size])))

    def _send(self, instance_id: str, message: Watch | Ping | Pong) -> bool:
        return self._link.send_nowait(instance_id, encode_message(message))

    def _on_message(self, peer: str, data: bytes) -> None:
        try:
            message = decode_message(data)
        except PeerError:
            METRICS.unexpected.labels("malformed_relay_message").inc()
            return
        match message:
            case Deltas():
                self._replicas.apply(message)
            case Watch():
                self._sender.subscribe(peer, message)
            case Unwatch():
                self._sender.unsubscribe(peer, message)
            case Ping():
                self._send(peer, Pong(number=message.number))
            case Pong():
                answered = self._pings.get(message.number)
                if answered is not None and not answered.done():
                    answered.set_result(None)
            case Unknown():
                pass  # from a newer version
