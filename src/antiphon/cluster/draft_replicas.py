"""The subscriber's side of the relay: replicas of drafts that other instances write. See `relay.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.chats.watched import WatchedChats
from antiphon.cluster.relay_timing import RelayTiming
from antiphon.core.draft import Draft
from antiphon.observe.metrics import METRICS
from antiphon.ports import Link
from antiphon.wire.relay import Deltas, Unwatch, Wanted, Watch, encode_message


class DraftReplica:
    """The part of a chat's draft that has arrived from its holder."""

    __slots__ = ("draft", "gap_reported_at", "holder", "previous", "subscribed_at")

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.previous: Draft | None = None
        """The draft before it, whose last deltas may still arrive."""
        self.holder = ""
        """The instance that is subscribed to; empty while there is none."""
        self.subscribed_at = 0.0
        self.gap_reported_at = 0.0

    def open(self, draft: int) -> None:
        """Continue with a newer draft."""
        self.previous, self.draft = self.draft, Draft(draft)

    @property
    def positions(self) -> tuple[int, int, int]:
        """Changes with every applied delta."""
        return self.draft.name, self.draft.position, self.previous.position if self.previous else 0


class DraftReplicas:
    """Subscribes to drafts at their holders and applies the deltas that arrive."""

    def __init__(
        self, live: LiveDrafts, link: Link, *, instance_id: str, watched: WatchedChats, timing: RelayTiming
    ) -> None:
        self._live = live
        self._link = link
        self._instance_id = instance_id
        self._watched = watched
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[str, int] = {}
        self._replicas: dict[str, DraftReplica] = {}
        self._unsubscribe_watched = watched.changed.subscribe(self._on_watched)

    def __len__(self) -> int:
        return len(self._replicas)

    def close(self) -> None:
        self._unsubscribe_watched()

    # --- for the listeners

    def get(self, chat_id: str) -> Draft | None:
        """The newest draft of a chat, written here or followed."""
        live, replica = self._live.get(chat_id), self._replicas.get(chat_id)
        if replica is None or (live is not None and live.name >= replica.draft.name):
            return live
        return replica.draft

    def listen(self, chat_id: str, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call `on_change` when a draft of the chat changes; returns a function that ends it."""
        stop_listening = self._live.listen(chat_id, on_change)
        self._listeners[chat_id] = self._listeners.get(chat_id, 0) + 1

        def stop() -> None:
            stop_listening()
            self._listeners[chat_id] -= 1
            if not self._listeners[chat_id]:
                del self._listeners[chat_id]
                self._remove(chat_id)

        return stop

    def follow(self, chat_id: str, draft: int, holder: str) -> None:
        """Subscribe to the draft at its holder, unless this instance writes it or nothing listens."""
        replica = self._replicas.get(chat_id)
        if replica is not None and draft < replica.draft.name:
            return  # this listener is behind another one, or behind the deltas: it calls again
        if chat_id not in self._listeners or not holder or holder == self._instance_id:
            if replica is not None and replica.holder != holder:
                self._unsubscribe(chat_id, replica)
            return
        if replica is None:
            replica = self._replicas[chat_id] = DraftReplica(Draft(draft))
            self._link.join(chat_id)
        elif draft > replica.draft.name:
            replica.open(draft)
        if holder != replica.holder:
            self._unsubscribe(chat_id, replica)
            replica.holder = holder
            self._subscribe(chat_id, replica)

    def _on_watched(self, chat_id: str) -> None:
        """The first watcher subscribed, or the last one was closed: notify the holder at once."""
        replica = self._replicas.get(chat_id)
        if replica is not None and replica.holder:
            self._subscribe(chat_id, replica)

    def _remove(self, chat_id: str) -> None:
        replica = self._replicas.pop(chat_id, None)
        if replica is not None:
            self._unsubscribe(chat_id, replica)
            self._link.quit(chat_id)

    # --- subscriptions

    def subscriptions(self) -> Iterator[tuple[str, Wanted]]:
        """All subscriptions with their holders, to renew them."""
        for chat_id, replica in self._replicas.items():
            if replica.holder:
                yield replica.holder, self._wanted(chat_id, replica)

    def _wanted(self, chat_id: str, replica: DraftReplica, *, is_gap: bool = False) -> Wanted:
        return Wanted(
            chat_id=chat_id,
            draft=replica.draft.name,
            position=replica.draft.position,
            is_gap=is_gap,
            is_seen=chat_id in self._watched,
        )

    def _subscribe(self, chat_id: str, replica: DraftReplica, *, is_gap: bool = False) -> None:
        """Subscribe from the position of the replica; retry soon while the link refuses the message."""
        replica.subscribed_at = self._loop.time()
        message = Watch(wanted=(self._wanted(chat_id, replica, is_gap=is_gap),))
        if not self._link.send_nowait(replica.holder, encode_message(message)):
            delay_s = self._timing.subscribe_retry_s
            self._loop.call_later(delay_s, self._retry_subscribe, chat_id, replica, replica.subscribed_at)

    def _retry_subscribe(self, chat_id: str, replica: DraftReplica, subscribed_at: float) -> None:
        is_current = self._replicas.get(chat_id) is replica and replica.subscribed_at == subscribed_at
        if is_current and replica.holder:
            self._subscribe(chat_id, replica)

    def _unsubscribe(self, chat_id: str, replica: DraftReplica) -> None:
        if replica.holder:
            self._link.send_nowait(replica.holder, encode_message(Unwatch(chat_ids=(chat_id,))))
            replica.holder = ""

    # --- deltas

    def apply(self, message: Deltas) -> None:
        """Apply received deltas. A delta of a newer draft opens it, before its facts are read; those of older drafts
        are late and only complete the previous one."""
        replica = self._replicas.get(message.chat_id)
        if replica is None:
            return
        before = replica.positions
        for delta in message.deltas:
            if delta.draft < replica.draft.name:
                if replica.previous is not None and replica.previous.name == delta.draft:
                    replica.previous.apply(delta)
                continue
            if delta.draft > replica.draft.name:
                replica.open(delta.draft)
            if not replica.draft.apply(delta):
                self._report_gap(message.chat_id, replica)
                break
        if replica.positions != before:
            self._live.notify_listeners(message.chat_id)

    def _report_gap(self, chat_id: str, replica: DraftReplica) -> None:
        """Request retransmission of lost deltas, once for all messages behind the same gap."""
        METRICS.relay_gaps.inc()
        now = self._loop.time()
        if replica.holder and now - replica.gap_reported_at >= self._timing.retransmit_s:
            replica.gap_reported_at = now
            self._subscribe(chat_id, replica, is_gap=True)
