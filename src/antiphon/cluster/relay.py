"""Drafts of other instances: asked of their holder while somebody here watches, and given to those who ask.

A watcher's instance keeps a mirror of each followed draft; the holder keeps one progress (draft, position) for each
instance that asks. So neither has a backlog: a slow link gets fewer, larger deltas. What a link loses shows as a gap
(the next delta begins later) or when the watching side repeats, once a second, how far it has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import structlog

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.chats.watched import WatchedChats
from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.errors import PeerError
from antiphon.observe.metrics import METRICS
from antiphon.ports import Link
from antiphon.wire.relay import Deltas, Ping, Pong, Unwatch, Wanted, Watch, decode_message, encode_message

REPEAT_S = 1.0
INTEREST_S = 5.0
"""Who does not repeat what it wants for so long is forgotten."""
REWIND_S = 0.25
"""A peer that has less than what was sent so long ago has lost it."""
PACE_S = 0.002
"""What a draft gains in so short a time after a message goes in the next one."""
FULL_S = 0.02
"""When a link takes nothing, it is tried again so much later."""
ASK_AGAIN_S = 0.05
PING_AGAIN_S = 0.25
"""A ping that was not answered for so long is sent again: it, or its answer, may have been lost."""
PIECE = 16 * 1024
"""Code points of one message at most."""
MESSAGE_BYTES = 512 * 1024
"""About so many bytes are in one: below what NATS and the link take."""
WANTED_MAX = 500
"""So many chats are asked for in one message."""
PROGRESS_MAX = 100_000
"""So many progresses are kept for others in all."""

log = structlog.get_logger(__name__)


class Mirror:
    """A draft that another instance writes, as far as it has come here."""

    __slots__ = ("asked_at", "draft", "holder", "mended_at", "previous")

    def __init__(self, draft: Draft, holder: str) -> None:
        self.draft = draft
        self.previous: Draft | None = None
        """The draft before it, which may still miss its last deltas."""
        self.holder = holder
        self.asked_at = 0.0
        self.mended_at = 0.0

    def begin(self, draft: int) -> None:
        """A newer draft was opened."""
        self.previous, self.draft = self.draft, Draft(draft)

    @property
    def places(self) -> tuple[int, int, int]:
        """Changes whenever a delta was added."""
        return self.draft.name, self.draft.position, self.previous.position if self.previous else 0


class Progress:
    """How far one instance (or, on a bus, all) has been sent a chat's draft."""

    __slots__ = ("draft", "position", "seen_until", "sent_at", "until")

    def __init__(self) -> None:
        self.draft: Draft | None = None
        self.position = 0
        self.sent_at = 0.0
        self.until = 0.0
        self.seen_until = 0.0


def _encode_some(chat_id: str, deltas: list[Delta]) -> tuple[bytes, int]:
    """As many of the deltas as fit into a message, and where it ends."""
    message = encode_message(Deltas(chat_id=chat_id, deltas=tuple(deltas)))
    while len(message) > MESSAGE_BYTES and len(deltas) > 1:
        deltas = deltas[: len(deltas) // 2]
        message = encode_message(Deltas(chat_id=chat_id, deltas=tuple(deltas)))
    return message, deltas[-1].to


class RelayedDrafts:
    """Keeps the promises of `ports.Drafts`, for drafts of any instance. `run` it as a task."""

    def __init__(
        self, live: LiveDrafts, link: Link, *, instance_id: str, watched: WatchedChats | None = None
    ) -> None:
        self._live = live
        self._link = link
        self._instance_id = instance_id
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[str, int] = {}
        self._watched = WatchedChats() if watched is None else watched
        self._mirrors: dict[str, Mirror] = {}
        self._progress: dict[str, dict[str, Progress]] = {}
        self._progress_count = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._ping_numbers = count(1)
        self._unsubscribe = (
            link.received.subscribe(self._on_message),
            live.grown.subscribe(self._on_growth),
            self._watched.changed.subscribe(self._on_watched),
        )

    @property
    def followed_count(self) -> int:
        """How many drafts of other instances are followed here."""
        return len(self._mirrors)

    # --- for the watchers here

    def get(self, chat_id: str) -> Draft | None:
        live, mirror = self._live.get(chat_id), self._mirrors.get(chat_id)
        if mirror is None or (live is not None and live.name >= mirror.draft.name):
            return live
        return mirror.draft

    def listen(self, chat_id: str, on_change: Callable[[], None]) -> Callable[[], None]:
        stop_listening = self._live.listen(chat_id, on_change)
        self._listeners[chat_id] = self._listeners.get(chat_id, 0) + 1

        def stop() -> None:
            stop_listening()
            self._listeners[chat_id] -= 1
            if not self._listeners[chat_id]:
                del self._listeners[chat_id]
                self._drop(chat_id)

        return stop

    def _on_watched(self, chat_id: str) -> None:
        """Its first watcher came, or its last one left: the holder is told at once."""
        mirror = self._mirrors.get(chat_id)
        if mirror is not None and mirror.holder:
            self._ask(chat_id, mirror)

    def follow(self, chat_id: str, draft: int, holder: str) -> None:
        mirror = self._mirrors.get(chat_id)
        if mirror is not None and draft < mirror.draft.name:
            return  # this listener is behind another one, or behind the drafts themselves: it comes again
        if chat_id not in self._listeners or not holder or holder == self._instance_id:
            if mirror is not None and mirror.holder and mirror.holder != holder:
                self._let_go(chat_id, mirror)
            return
        if mirror is None:
            mirror = self._mirrors[chat_id] = Mirror(Draft(draft), "")
            self._link.join(chat_id)
        elif draft > mirror.draft.name:
            mirror.begin(draft)
        if holder != mirror.holder:
            self._let_go(chat_id, mirror)
            mirror.holder = holder
            self._ask(chat_id, mirror)

    def _drop(self, chat_id: str) -> None:
        mirror = self._mirrors.pop(chat_id, None)
        if mirror is not None:
            self._let_go(chat_id, mirror)
            self._link.quit(chat_id)

    def _let_go(self, chat_id: str, mirror: Mirror) -> None:
        if mirror.holder:
            self._send(mirror.holder, Unwatch(chat_ids=(chat_id,)))
            mirror.holder = ""

    def _wanted(self, chat_id: str, mirror: Mirror, *, is_gap: bool = False) -> Wanted:
        return Wanted(
            chat_id=chat_id,
            draft=mirror.draft.name,
            position=mirror.draft.position,
            is_gap=is_gap,
            is_seen=chat_id in self._watched,
        )

    def _ask(self, chat_id: str, mirror: Mirror, *, is_gap: bool = False) -> None:
        """Ask the holder for what comes after what is here; soon again where the link takes nothing yet."""
        mirror.asked_at = self._loop.time()
        if not self._send(mirror.holder, Watch(wanted=(self._wanted(chat_id, mirror, is_gap=is_gap),))):
            self._loop.call_later(ASK_AGAIN_S, self._ask_again, chat_id, mirror, mirror.asked_at)

    def _ask_again(self, chat_id: str, mirror: Mirror, asked_at: float) -> None:
        if self._mirrors.get(chat_id) is mirror and mirror.holder and mirror.asked_at == asked_at:
            self._ask(chat_id, mirror)

    def _mend(self, chat_id: str, mirror: Mirror) -> None:
        """Something was lost. What is under way behind it shows the same gap: it is not asked for each time."""
        METRICS.relay_gaps.inc()
        now = self._loop.time()
        if mirror.holder and now - mirror.mended_at >= REWIND_S:
            mirror.mended_at = now
            self._ask(chat_id, mirror, is_gap=True)

    def _take(self, message: Deltas) -> None:
        """Deltas came: those of a newer draft begin it (its facts are read next), those of an older one are stale."""
        mirror = self._mirrors.get(message.chat_id)
        if mirror is None:
            return
        before = mirror.places
        for delta in message.deltas:
            if delta.draft < mirror.draft.name:
                if mirror.previous is not None and mirror.previous.name == delta.draft:
                    mirror.previous.apply(delta)
                continue
            if delta.draft > mirror.draft.name:
                mirror.begin(delta.draft)
            if not mirror.draft.apply(delta):
                self._mend(message.chat_id, mirror)
                break
        if mirror.places != before:
            self._live.notify_listeners(message.chat_id)

    # --- for the other instances

    def is_wanted(self, chat_id: str) -> bool:
        """Whether anybody watches the chat at another instance, which follows its draft here."""
        now = self._loop.time()
        return any(progress.seen_until >= now for progress in self._progress.get(chat_id, {}).values())

    def _on_growth(self, chat_id: str) -> None:
        progresses = self._progress.get(chat_id)
        if progresses is None or chat_id in self._timers:
            return
        sent_at = max(progress.sent_at for progress in progresses.values())
        self._timers[chat_id] = self._loop.call_at(max(sent_at + PACE_S, self._loop.time()), self._pump, chat_id)

    def _on_watch(self, peer: str, message: Watch) -> None:
        now = self._loop.time()
        for wanted in message.wanted:
            key = "" if self._link.is_broadcast else peer
            progress = self._progress.get(wanted.chat_id, {}).get(key)
            if progress is None:
                if self._progress_count >= PROGRESS_MAX:
                    METRICS.unexpected.labels("send_offset_overflow").inc()
                    continue
                progress = self._progress.setdefault(wanted.chat_id, {})[key] = Progress()
                self._progress_count += 1
                self._begin(progress, wanted)
            elif wanted.is_gap or now - progress.sent_at > REWIND_S:
                self._rewind(progress, wanted)
            progress.until = now + INTEREST_S
            if wanted.is_seen or not self._link.is_broadcast:  # else there may be others who watch
                progress.seen_until = progress.until if wanted.is_seen else 0.0
            self._pump(wanted.chat_id)

    def _begin(self, progress: Progress, wanted: Wanted) -> None:
        progress.draft = self._live.get(wanted.chat_id)
        if progress.draft is not None and progress.draft.name == wanted.draft:
            progress.position = min(wanted.position, progress.draft.position)

    def _rewind(self, progress: Progress, wanted: Wanted) -> None:
        """What was sent has had its time to arrive: go back to what the peer has."""
        if progress.draft is None or wanted.draft > progress.draft.name:
            return
        position = wanted.position if wanted.draft == progress.draft.name else 0
        progress.position = min(progress.position, position)

    def _on_unwatch(self, peer: str, message: Unwatch) -> None:
        for chat_id in message.chat_ids:
            if not self._link.is_broadcast:  # else others may still want it
                self._forget(chat_id, peer)

    def _forget(self, chat_id: str, key: str) -> None:
        progresses = self._progress.get(chat_id, {})
        if progresses.pop(key, None) is not None:
            self._progress_count -= 1
        if not progresses:
            self._progress.pop(chat_id, None)

    def _pump(self, chat_id: str) -> None:
        """Send to each what comes next: the rest of its draft, then the draft that is open now."""
        timer = self._timers.pop(chat_id, None)
        if timer is not None:
            timer.cancel()
        live = self._live.get(chat_id)
        encoded: dict[tuple[int, int], tuple[bytes, int]] = {}
        is_full = False
        for key, progress in self._progress.get(chat_id, {}).items():
            is_full |= not self._pump_one(chat_id, key, progress, live, encoded)
        if is_full:
            METRICS.relay_full.inc()
            self._timers[chat_id] = self._loop.call_later(FULL_S, self._pump, chat_id)

    def _pump_one(
        self,
        chat_id: str,
        key: str,
        progress: Progress,
        live: Draft | None,
        encoded: dict[tuple[int, int], tuple[bytes, int]],
    ) -> bool:
        while True:
            draft = progress.draft
            if draft is None or progress.position >= draft.position:
                if live is None or live is draft:
                    return True
                progress.draft, progress.position = live, 0
                continue
            at = (draft.name, progress.position)
            if at not in encoded:
                encoded[at] = _encode_some(chat_id, draft.read(progress.position, progress.position + PIECE))
            message, to = encoded[at]
            if not self._link.send_of_chat_nowait(chat_id, key, message):
                return False
            progress.position, progress.sent_at = to, self._loop.time()

    # --- both

    def _send(self, instance_id: str, message: Watch | Unwatch | Ping | Pong) -> bool:
        return self._link.send_nowait(instance_id, encode_message(message))

    def _on_message(self, peer: str, data: bytes) -> None:
        try:
            message = decode_message(data)
        except PeerError:
            METRICS.unexpected.labels("malformed_relay_message").inc()
            return
        match message:
            case Deltas():
                self._take(message)
            case Watch():
                self._on_watch(peer, message)
            case Unwatch():
                self._on_unwatch(peer, message)
            case Ping():
                self._send(peer, Pong(number=message.number))
            case Pong():
                waiting = self._pings.get(message.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)

    async def ping(self, instance_id: str, timeout_s: float) -> bool:
        """Whether the instance answers in time."""
        number = next(self._ping_numbers)
        answered = self._pings[number] = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout_s):
                while not answered.done():  # asked or answered in vain: it may be connected to in a moment
                    is_sent = self._send(instance_id, Ping(number=number))
                    await asyncio.wait({answered}, timeout=PING_AGAIN_S if is_sent else FULL_S)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            del self._pings[number]

    async def run(self) -> None:
        """Repeat what is wanted and forget who no longer does, until cancelled."""
        while True:
            await asyncio.sleep(REPEAT_S)
            wanted: dict[str, list[Wanted]] = {}
            for chat_id, mirror in self._mirrors.items():
                if mirror.holder:
                    wanted.setdefault(mirror.holder, []).append(self._wanted(chat_id, mirror))
            for holder, chats in wanted.items():
                for i in range(0, len(chats), WANTED_MAX):
                    self._send(holder, Watch(wanted=tuple(chats[i : i + WANTED_MAX])))
            now = self._loop.time()
            over = [
                (c, key) for c, progresses in self._progress.items() for key, p in progresses.items() if p.until < now
            ]
            for chat_id, key in over:
                self._forget(chat_id, key)

    def close(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
