"""One reader a chat and process: the newest facts and the open draft, encoded once for all watchers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from antiphon.chats.hints import stream_hint
from antiphon.chats.service import Service, stream_channel
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
    MessageAppended,
    TurnEnded,
)
from antiphon.core.model import IDLE, Status
from antiphon.errors import Unavailable
from antiphon.observe.metrics import METRICS
from antiphon.ports import Bus, Drafts
from antiphon.wire import codec
from antiphon.wire.log import content_seq
from antiphon.wire.stream import Frame, delta_frame, fact_frame

if TYPE_CHECKING:
    from antiphon.watch.watcher import Watcher

FACTS_MAX = 1_000
FACTS_BYTES = 1024 * 1024
BATCH_BYTES = 128 * 1024
"""About so much is given to a watcher at once; its socket holds no more of ours."""
DRAFTS_KEPT = 3
BATCHES_KEPT = 256

RESTS = IDLE | {Status.REQUIRES_ACTION}
LETS_GO = (AttemptReleased, AttemptLost, ActionRequired, TurnEnded)
"""After these facts nobody holds the turn."""


class Fact:
    """A fact as watchers get it: `frame` has position 0; `bare` is the one without content (commit=ref)."""

    __slots__ = ("bare", "closes", "draft", "frame", "is_message", "more", "opens", "seq", "size", "status", "upto")

    def __init__(self, chat_id: str, entry: Entry) -> None:
        fact = entry.fact
        self.frame = fact_frame(chat_id, entry, position=0)
        self.seq = entry.seq
        self.status = entry.status
        self.draft = entry.draft
        self.more = entry.more
        self.opens = entry.draft == entry.seq
        self.size = len(self.frame.data)
        self.is_message = isinstance(fact, MessageAppended)
        self.closes, self.upto, self.bare = 0, 0, self.frame
        if isinstance(fact, MessageAppended) and fact.closes:
            self.closes, self.upto = fact.closes.draft, fact.closes.upto
            self.bare = fact_frame(chat_id, entry, position=0, with_content=False)


class Batch:
    """What comes next from one place, and the place after it."""

    __slots__ = ("_chunked", "data", "frames", "position", "seq")

    def __init__(self, frames: list[Frame], seq: int, position: int) -> None:
        self.frames = frames
        self.data = b"".join(frame.sse for frame in frames)
        self.seq = seq
        self.position = position
        self._chunked: bytes | None = None

    @property
    def chunked(self) -> bytes:
        """The data as one chunk of HTTP's chunked coding; made once for all who write it."""
        if self._chunked is None:
            self._chunked = b"%x\r\n%b\r\n" % (len(self.data), self.data)
        return self._chunked


class Reader:
    """Follows one chat as long as it has watchers. `seq` is the newest fact it has, `draft_name` the open draft."""

    def __init__(
        self, chat_id: str, *, service: Service, bus: Bus, drafts: Drafts, on_dropped: Callable[[], None]
    ) -> None:
        self.chat_id = chat_id
        self._on_dropped = on_dropped
        self.watchers: dict[Watcher, None] = {}
        self.users = 0
        self.starting: asyncio.Task[None] | None = None
        self.seq = 0
        self.draft_name = 0
        self.holder = ""
        self.facts: deque[Fact] = deque()
        self._facts_bytes = 0
        self.service = service
        self._live = drafts
        self._drafts: dict[int, Draft] = {}
        self._batches: dict[tuple[int, int, bool], Batch | None] = {}
        self._pulling: asyncio.Lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_wake_planned = False
        self._is_pull_planned = False
        self._is_led = False
        self._is_hinted = False
        self._is_deleted = False
        self._loop = asyncio.get_running_loop()
        self._ends: list[Callable[[], None]] = [
            bus.subscribe(stream_channel(chat_id), self._on_hint),
            drafts.listen(chat_id, self._on_delta),
        ]

    def close(self) -> None:
        for end in self._ends:
            end()
        for task in (*self._tasks, self.starting):
            if task is not None:
                task.cancel()

    @property
    def status(self) -> Status | None:
        return self.facts[-1].status if self.facts else None

    # --- what comes next

    def has(self, seq: int) -> bool:
        """Whether the facts after `seq` are all here (and the draft that is open after it is known)."""
        return seq >= self.seq or self._is_deleted or bool(self.facts and self.facts[0].seq <= seq)

    def batch(self, seq: int, position: int, *, by_ref: bool) -> Batch | None:
        """What follows that place, None if nothing does yet. Needs `has(seq)`."""
        key = (seq, position, by_ref)
        if key in self._batches:
            return self._batches[key]
        if len(self._batches) >= BATCHES_KEPT:
            self._batches.clear()
        batch = self._batches[key] = self._make_batch(seq, position, by_ref)
        return batch

    def is_resting(self, seq: int) -> bool:
        """Whether the chat rests after its newest fact `seq` (until=idle)."""
        last = self.facts[-1] if self.facts else None
        return last is not None and last.seq == seq and not last.more and last.status in RESTS

    def _make_batch(self, seq: int, position: int, by_ref: bool) -> Batch | None:
        frames: list[Frame] = []
        size = 0
        draft_name = self.draft_name if seq >= self.seq else self._draft_after(seq)
        for fact in self._facts_after(seq):
            if size >= BATCH_BYTES:
                break
            source = fact.frame
            if fact.opens:
                if fact.closes == draft_name:
                    held = self._drafts.get(draft_name)
                    if held is not None and position < fact.upto:
                        end = min(fact.upto, position + BATCH_BYTES)
                        frames += [delta_frame(seq, delta) for delta in held.read(position, end)]
                        position = frames[-1].position if frames and frames[-1].type == "delta" else position
                        if position < min(fact.upto, held.position):
                            break
                    if by_ref and position >= fact.upto:
                        source = fact.bare
                position, draft_name = 0, fact.seq
            seq = fact.seq
            frames.append(Frame(seq, position, source.type, source.data))
            size += len(source.data)
        if seq == self.seq and size < BATCH_BYTES:
            frames += self._delta_frames(seq, position)
            position = max(position, frames[-1].position) if frames else position
        return Batch(frames, seq, position) if frames else None

    def _delta_frames(self, seq: int, position: int) -> list[Frame]:
        draft = self.open_draft()
        if draft is None:
            return []
        return [delta_frame(seq, delta) for delta in draft.read(position, position + BATCH_BYTES)]

    def open_draft(self) -> Draft | None:
        """The draft that is open after `seq`, as far as this process has it."""
        live = self._live.get(self.chat_id)
        if live is not None and live.name == self.draft_name:
            self._drafts[live.name] = live
        return self._drafts.get(self.draft_name)

    def _facts_after(self, seq: int) -> Iterable[Fact]:
        if seq >= self.seq or not self.facts:
            return []
        skip = seq + 1 - self.facts[0].seq
        if skip < 0 and self._is_deleted:
            return [self.facts[-1]]  # nothing else is left
        return [self.facts[i] for i in range(max(skip, 0), len(self.facts))]

    def _draft_after(self, seq: int) -> int:
        if seq == 0 or seq < self.facts[0].seq:
            return 0
        return self.facts[seq - self.facts[0].seq].draft

    # --- keeping up

    async def start(self) -> None:
        """Read where the chat is. (Hints are already listened to.)"""
        chat = await self.service.chat(self.chat_id)
        assert chat is not None, "only existing chats are watched"
        self.holder = chat.holder
        await self._read_from_store(chat.seq - 1)
        latest = self.service.chat_nowait(self.chat_id)
        if latest is not None:
            await self.catch_up(latest.seq)  # hints that came meanwhile were not followed
        if self._is_hinted and self.service.store.is_shared:
            await self.pull()
        await self.load_flushed()

    async def load_flushed(self) -> None:
        """The beginning of the open draft, where no worker of this process writes it. (Its holder, asked at the same
        time, may stand still or be dead: what it says as well is cut.)"""
        known = self.open_draft()
        if known is not None and (known.position or not self.service.store.is_shared):
            return
        draft = known or Draft(self.draft_name)
        for flushed in await self.service.store.read_flushed(self.chat_id, self.draft_name):
            draft.apply(codec.decode(flushed.body, Delta))
        if draft.position and draft.name == self.draft_name:
            self._drafts.setdefault(draft.name, draft)

    async def reach_back(self, seq: int) -> bool:
        """Have the facts after `seq` here, unless they are too many. One read serves all who wait for it."""
        async with self._pulling:
            if self.has(seq):
                return True
            if self.seq - seq > FACTS_MAX:
                return False
            start = self.facts[0].seq if self.facts else self.seq + 1
            entries = await self.read_entries(max(seq - 1, 0), limit=start - max(seq, 1))
            if not entries or entries[-1].seq != start - 1:
                return False
            if self.facts and self.facts[0].seq != start:
                return False  # meanwhile newer facts have pushed out the ones that these would stand before
            self.facts.extendleft(Fact(self.chat_id, entry) for entry in reversed(entries))
            self._facts_bytes = sum(fact.size for fact in self.facts)
            return True

    async def read_entries(self, after_seq: int, *, limit: int = FACTS_MAX) -> tuple[Entry, ...]:
        METRICS.log_reads.inc()
        store = self.service.store
        return await store.read_entries(self.chat_id, after_seq, limit=limit, bytes_max=FACTS_BYTES)

    async def pull(self) -> None:
        """Look whether there is more than this reader has."""
        async with self._pulling:
            self._is_led = False
            await self._read_from_store(self.seq)

    async def catch_up(self, seq: int) -> None:
        """Have at least the facts up to `seq`."""
        if self.seq < seq and not (self.pull_nowait() and self.seq >= seq):
            await self.pull()

    def pull_nowait(self) -> bool:
        """The same from what this process wrote itself; False where that is not enough."""
        entries = self.service.entries_after(self.chat_id, self.seq)
        if entries is None or any(_lacks_content(entry) for entry in entries):
            return False
        self._take(entries)
        return True

    async def _read_from_store(self, after_seq: int) -> None:
        while True:
            entries = await self.read_entries(max(after_seq, 0))
            self._take([entry for entry in entries if entry.seq > self.seq])
            if len(entries) < FACTS_MAX and sum(len(entry.content or b"") for entry in entries) < FACTS_BYTES:
                return
            after_seq = entries[-1].seq

    def _take(self, entries: list[Entry]) -> None:
        if not entries:
            return
        for entry in entries:
            self.open_draft()  # keeps hold of the draft that this fact may close
            if isinstance(entry.fact, ChatDeleted):
                self._is_deleted = True
                if entry.seq != self.seq + 1:
                    self._forget_facts()  # the last that this reader has not seen are gone for good
            assert not self.facts or entry.seq == self.seq + 1, f"fact {entry.seq} after {self.seq}"
            fact = Fact(self.chat_id, entry)
            if isinstance(entry.fact, HistoryTruncated):
                self._forget_before()
            self.facts.append(fact)
            self._facts_bytes += fact.size
            self.seq, self.draft_name = fact.seq, fact.draft
            if isinstance(entry.fact, AttemptStarted):
                self.holder = entry.fact.instance_id
            elif isinstance(entry.fact, LETS_GO):
                self.holder = ""
        while len(self.facts) > 1 and (len(self.facts) > FACTS_MAX or self._facts_bytes > FACTS_BYTES):
            self._facts_bytes -= self.facts.popleft().size
        for name in sorted(self._drafts)[:-DRAFTS_KEPT]:
            del self._drafts[name]
        self._live.follow(self.chat_id, self.draft_name, self.holder)
        self._changed()

    def _forget_facts(self) -> None:
        self.facts.clear()
        self._facts_bytes = 0

    def _forget_before(self) -> None:
        """What a truncation hides is told without its content: from the store, which knows what is hidden."""
        last = self.facts[-1] if self.facts else None
        self.facts.clear()
        if last is not None and not last.is_message:
            self.facts.append(last)  # where those who keep up stand
        self._facts_bytes = sum(fact.size for fact in self.facts)

    # --- waking

    def _on_hint(self, message: bytes | None) -> None:
        if not self.seq:
            self._is_hinted = True
            return
        if message is None:
            self._on_dropped()  # of many chats at once: one question for all
            return
        hint = stream_hint(message)
        seq = hint.seq
        if seq is None:
            self._pull_soon()
            for kind, frame in hint.notices().items():
                for watcher in self.watchers:
                    watcher.notify(kind, frame)
        elif seq > self.seq and not (self.pull_nowait() and self.seq >= seq):
            self.service.forget(self.chat_id, seq)  # another instance wrote
            self._pull_soon()

    def _pull_soon(self) -> None:
        if not self._is_pull_planned:
            self._is_pull_planned = True
            task = asyncio.create_task(self._pull_planned())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pull_planned(self) -> None:
        """One read for all that was hinted at before it begins."""
        async with self._pulling:
            self._is_pull_planned = False
            with contextlib.suppress(Unavailable):  # the poll looks again
                await self._read_from_store(self.seq)

    def _on_delta(self) -> None:
        live = self._live.get(self.chat_id)
        if live is not None and live.name > self.draft_name and self.seq and not self._is_led:
            self._is_led = True  # first the facts that lead to that draft
            self._pull_soon()
        self.open_draft()
        self._changed()

    def _changed(self) -> None:
        self._batches.clear()
        if not self._is_wake_planned and self.watchers:
            self._is_wake_planned = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._is_wake_planned = False
        for watcher in tuple(self.watchers):
            watcher.wake()


def _lacks_content(entry: Entry) -> bool:
    return entry.content is None and bool(content_seq(entry.seq, entry.fact))
