"""One reader per chat and process: the newest facts and the open draft, encoded once for all watchers.

How it works
------------
A cursor is (seq, position): every fact up to `seq` was delivered, and of the draft that is open after it the first
`position` code points. A reader has no queue for a watcher. Each watcher keeps its cursor and, when woken, asks for
what follows it:

1. For each fact after `seq`: if it closes the draft that the watcher was reading, the deltas from `position` up to
   where the draft was closed come first, then the fact. A fact that opens a draft sets the position back to 0.
2. After the newest fact come the deltas of the open draft, from `position` on.
3. A batch holds about BATCH_BYTES; the next one starts at its last cursor. So a fast watcher gets every delta as it
   is written, and a slow one gets fewer and larger deltas, without any backlog.

Watchers at the same cursor get the same batch: it is made once (`_batches`) and dropped when the chat grows. Newer
facts evict older ones (FACTS_MAX, FACTS_BYTES); a watcher that is further behind reads the store
(`Watcher.next_old_batch`). Closed drafts are kept for watchers that still read them (DRAFTS_MAX).

New facts come from this process's command loop, else from the store. Hints, deltas and polls only trigger a read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import structlog

from antiphon.chats.hints import stream_channel, stream_hint
from antiphon.chats.service import Service
from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.core.facts import (
    ActionRequired,
    AttemptLost,
    AttemptReleased,
    AttemptStarted,
    ChatDeleted,
    Entry,
    HistoryTruncated,
    TurnEnded,
)
from antiphon.core.model import IDLE, Status
from antiphon.errors import Unavailable
from antiphon.observe.metrics import METRICS
from antiphon.ports import Append, Bus, Drafts, Store
from antiphon.tracebacks import traceback_of
from antiphon.watch.agent_states import with_states
from antiphon.watch.batch import Batch
from antiphon.watch.recent_facts import FACTS_BYTES, FACTS_MAX, RecentFacts
from antiphon.watch.stream_items import Fact, Item, Wakeable
from antiphon.wire import codec
from antiphon.wire.log import content_seq

BATCH_BYTES = 128 * 1024
"""Approximate size of a batch, in bytes."""
DRAFTS_MAX = 3
"""Maximum number of drafts in memory, the open one included."""
BATCHES_MAX = 256
"""Maximum number of cached batches."""

log = structlog.get_logger(__name__)

RESTS = IDLE | {Status.REQUIRES_ACTION}
RELEASES_TURN = (AttemptReleased, AttemptLost, ActionRequired, TurnEnded)
"""After these facts no instance holds the turn."""


class Reader:
    """Follows one chat while it has watchers. `seq` is its newest fact, `draft_name` the draft that is open after
    it."""

    def __init__(
        self,
        chat_id: str,
        *,
        service: Service,
        store: Store,
        bus: Bus,
        drafts: Drafts,
        on_dropped: Callable[[], None],
    ) -> None:
        self.chat_id = chat_id
        self._on_dropped = on_dropped
        self.watchers: dict[Wakeable, None] = {}
        self.users = 0
        self.starting: asyncio.Task[None] | None = None
        self.seq = 0
        self.draft_name = 0
        self.holder = ""
        self._facts = RecentFacts()
        self.service = service
        self.store = store
        self._live = drafts
        self._drafts: dict[int, Draft] = {}
        self._batches: dict[tuple[int, int, bool], Batch | None] = {}
        self._reading: asyncio.Lock = asyncio.Lock()
        self._pulls = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_wake_planned = False
        self._is_pull_planned = False
        self._is_draft_awaited = False
        self._is_hinted = False
        self._is_deleted = False
        self._loop = asyncio.get_running_loop()
        self._ends: list[Callable[[], None]] = [
            service.appended_to_chat.subscribe(chat_id, self._on_append),
            bus.subscribe(stream_channel(chat_id), self._on_message, sees_own_appends=True),
            drafts.listen(chat_id, self._on_delta),
        ]

    def close(self) -> None:
        for end in self._ends:
            end()
        for task in filter(None, (*self._tasks, self.starting)):
            task.cancel()

    @property
    def status(self) -> Status | None:
        return self._facts.last.entry.status if self._facts.last else None

    # --- reading from a place

    def has(self, seq: int) -> bool:
        """Whether every fact after `seq` is in memory."""
        return seq >= self.seq or self._is_deleted or bool(self._facts and self._facts.first_seq <= max(seq, 1))

    def batch(self, seq: int, position: int, *, by_ref: bool) -> Batch | None:
        """The events after that place, None if there are none yet. Needs `has(seq)`."""
        key = (seq, position, by_ref)
        if key in self._batches:
            return self._batches[key]
        if len(self._batches) >= BATCHES_MAX:
            self._batches.clear()
        items = self.items(seq, position)
        frames = [item.frame(by_ref=by_ref) for item in items]
        batch = self._batches[key] = Batch(frames, items[-1].seq, items[-1].position) if items else None
        return batch

    def is_resting(self, seq: int) -> bool:
        """Whether the chat rests after its newest fact `seq` (until=idle)."""
        last = self._facts.last
        return last is not None and last.seq == seq and not last.entry.more and last.entry.status in RESTS

    def items(self, seq: int, position: int) -> list[Item]:
        """The next items after that place, about BATCH_BYTES of them; none if there are none yet. Needs
        `has(seq)`."""
        items: list[Item] = []
        size = 0
        draft_name = self.draft_name if seq >= self.seq else self._facts.draft_after(seq)
        for fact in self._facts_after(seq):
            if size >= BATCH_BYTES:
                return items
            missing_from: int | None = None
            closes_it = False
            if fact.opens_draft:
                if fact.closes == draft_name:
                    draft = self._drafts.get(draft_name)
                    if draft is not None and position < fact.upto:
                        end = min(fact.upto, position + BATCH_BYTES)
                        deltas = draft.read(position, end)
                        items += [Item(seq=seq, position=delta.to, content=delta) for delta in deltas]
                        position = deltas[-1].to if deltas else position
                        if position < min(fact.upto, draft.position):
                            return items
                    closes_it = True
                    missing_from = position if position < fact.upto else None
                position, draft_name = 0, fact.seq
            seq = fact.seq
            items.append(
                Item(
                    seq=seq,
                    position=position,
                    content=fact,
                    is_draft_complete=closes_it and missing_from is None,
                    missing_from=missing_from,
                )
            )
            size += fact.size
        if seq == self.seq and size < BATCH_BYTES:
            open_draft = self.open_draft()
            if open_draft is not None:
                deltas = open_draft.read(position, position + BATCH_BYTES)
                items += [Item(seq=seq, position=delta.to, content=delta) for delta in deltas]
        return items

    def open_draft(self) -> Draft | None:
        """The draft that is open after the newest fact, as far as this process has it."""
        live = self._live.get(self.chat_id)
        if live is not None and live.name == self.draft_name:
            self._drafts[live.name] = live
        return self._drafts.get(self.draft_name)

    def _facts_after(self, seq: int) -> Iterable[Fact]:
        if seq >= self.seq:
            return []
        if self._is_deleted and self._facts and seq + 1 < self._facts.first_seq:
            return filter(None, [self._facts.last])  # the store has nothing else
        return self._facts.after(seq)

    @property
    def is_catching_up(self) -> bool:
        """Whether new facts are being read from the store. The watchers are woken when this ends."""
        return self._is_pull_planned or self._pulls > 0

    # --- new facts

    async def start(self) -> None:
        """Read the newest fact and the open draft. (Hints are subscribed to before.)"""
        chat = await self.service.chat(self.chat_id)
        assert chat is not None, "only existing chats are watched"
        self.holder = chat.holder
        entries = self.service.entries_after(self.chat_id, chat.seq - 1)
        if entries and not any(map(_lacks_content, entries)):
            self._append(entries)
        else:
            await self._read_from_store(chat.seq - 1)
        latest = self.service.chat_nowait(self.chat_id)
        await self.catch_up(latest.seq if latest else 0)  # hints that came meanwhile were not followed
        if self._is_hinted and self.store.is_shared:
            await self.pull()
        await self.load_flushed()

    async def load_flushed(self) -> None:
        """Read the stored beginning of the open draft, unless a worker of this process writes it. Its holder is
        asked at the same time, but may be frozen or dead; what both deliver is applied once."""
        known = self.open_draft()
        if known is not None and (known.position or not self.store.is_shared):
            return
        draft = known or Draft(self.draft_name)
        for flushed in await self.store.read_flushed(self.chat_id, self.draft_name):
            draft.apply(codec.decode(flushed.body, Delta))
        if draft.position and draft.name == self.draft_name:
            self._drafts.setdefault(draft.name, draft)

    async def reach_back(self, seq: int) -> bool:
        """Load the facts after `seq` into memory, unless they are too many. One read serves all waiting watchers."""
        async with self._reading:
            if self.has(seq):
                return True
            if self.seq - seq > FACTS_MAX:
                return False
            start = self._facts.first_seq if self._facts else self.seq + 1
            entries = await self.read_entries(max(seq - 1, 0), limit=start - max(seq, 1))
            if not entries or entries[-1].seq != start - 1:
                return False
            if self._facts and self._facts.first_seq != start:
                return False  # meanwhile newer facts pushed out the ones that would follow these
            self._facts.prepend([Fact(self.chat_id, entry) for entry in entries])
            return True

    async def read_entries(self, after_seq: int, *, limit: int = FACTS_MAX) -> tuple[Entry, ...]:
        METRICS.log_reads.inc()
        found = await self.store.read_entries(self.chat_id, after_seq, limit=limit, bytes_max=FACTS_BYTES)
        return await with_states(self.store, self.chat_id, found, bytes_max=FACTS_BYTES)

    async def pull(self) -> None:
        """Read new facts from the store. Before `start` has read the newest fact, it is left to `start`."""
        if not self.seq:
            self._is_hinted = True
            return
        async with self._pull_alone():
            await self._read_from_store(self.seq)

    @contextlib.asynccontextmanager
    async def _pull_alone(self) -> AsyncIterator[None]:
        self._pulls += 1
        try:
            async with self._reading:
                self._is_draft_awaited = False
                yield
        finally:
            self._pulls -= 1
            self._wake_soon()  # also if there was nothing: a follower may have waited for it

    async def catch_up(self, seq: int) -> None:
        """Read at least up to `seq`."""
        if self.seq < seq and not (self.pull_nowait() and self.seq >= seq):
            await self.pull()

    def pull_nowait(self) -> bool:
        """Add the facts that this process wrote itself; False if some are missing."""
        entries = self.service.entries_after(self.chat_id, self.seq)
        if entries is None or any(map(_lacks_content, entries)):
            return False
        self._append(entries)
        return True

    async def _read_from_store(self, after_seq: int) -> None:
        while True:
            entries = await self.read_entries(max(after_seq, 0))
            self._append([entry for entry in entries if entry.seq > self.seq])
            if len(entries) < FACTS_MAX and sum(len(entry.content or b"") for entry in entries) < FACTS_BYTES:
                return
            after_seq = entries[-1].seq

    def _append(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        for entry in entries:
            self.open_draft()  # remembers the draft that this fact may close
            if isinstance(entry.fact, ChatDeleted):
                self._is_deleted = True
                if entry.seq != self.seq + 1:
                    self._facts.clear()  # the facts before the deletion are gone
            assert not self._facts or entry.seq == self.seq + 1, f"fact {entry.seq} after {self.seq}"
            fact = Fact(self.chat_id, entry)
            if isinstance(entry.fact, HistoryTruncated):
                self._facts.forget_before_truncation()
            self._facts.append(fact)
            self.seq, self.draft_name = fact.seq, entry.draft
            if isinstance(entry.fact, AttemptStarted):
                self.holder = entry.fact.instance_id
            elif isinstance(entry.fact, RELEASES_TURN):
                self.holder = ""
        self._facts.evict()
        for name in sorted(self._drafts)[:-DRAFTS_MAX]:
            del self._drafts[name]
        self._live.follow(self.chat_id, self.draft_name, self.holder)
        self._changed()

    # --- waking

    def _on_append(self, append: Append) -> None:
        if self.seq:  # else `start` reads it
            self.on_hint(append.chat.seq)

    def _on_message(self, message: bytes | None) -> None:
        if not self.seq:
            self._is_hinted = True
            return
        if message is None:
            self._on_dropped()  # for many chats at once: one poll for all of them
            return
        hint = stream_hint(message)
        self.on_hint(hint.seq)
        if hint.seq is None:
            for kind, frame in hint.notices().items():
                for watcher in self.watchers:
                    watcher.notify(kind, frame)

    def on_hint(self, seq: int | None) -> None:
        """The chat is said to have reached `seq` (None: unknown): read what is new."""
        if seq is None:
            self._pull_soon()
        elif seq > self.seq and not (self.pull_nowait() and self.seq >= seq):
            self.service.evict(self.chat_id, seq)  # another instance wrote it
            self._pull_soon()

    def _pull_soon(self) -> None:
        if not self._is_pull_planned:
            self._is_pull_planned = True
            task = asyncio.create_task(self._pull_planned())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pull_planned(self) -> None:
        """One read for all hints that came before it."""
        async with self._pull_alone():
            self._is_pull_planned = False
            with contextlib.suppress(Unavailable):  # the poll tries again
                await self._read_from_store(self.seq)

    def _on_delta(self) -> None:
        live = self._live.get(self.chat_id)
        if live is not None and live.name > self.draft_name and self.seq and not self._is_draft_awaited:
            self._is_draft_awaited = True  # the facts before that draft come first
            self._pull_soon()
        self.open_draft()
        self._changed()

    def _changed(self) -> None:
        self._batches.clear()
        self._wake_soon()

    def _wake_soon(self) -> None:
        if not self._is_wake_planned and self.watchers:
            self._is_wake_planned = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._is_wake_planned = False
        for watcher in tuple(self.watchers):
            try:
                watcher.wake()
            except Exception:  # the other watchers are not affected
                METRICS.unexpected.labels("watcher_failed").inc()
                log.error("watcher_failed", chat_id=self.chat_id, exception=traceback_of())


def _lacks_content(entry: Entry) -> bool:
    return entry.content is None and bool(content_seq(entry.seq, entry.fact))
