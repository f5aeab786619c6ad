"""Watching: a watcher is a cursor that pulls.

It holds nothing but (seq, position); woken and writable, it takes what comes next from its chat's reader. So
there is no backlog per watcher: one that keeps up gets every delta, a slow one fewer and larger ones.
Order: listen to hints, read the facts after the cursor, read the draft from the position, `caught_up`, follow.
A poll every 2 s makes everyone look even when every hint is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from antiphon.chats.feed import Feed
from antiphon.chats.reader import FACTS_MAX, Batch, Fact, Reader
from antiphon.chats.service import Service
from antiphon.core.facts import Entry
from antiphon.errors import AntiphonError, CursorInvalid, NotFound, TooMany
from antiphon.observe import METRICS
from antiphon.ports import Bus, Drafts
from antiphon.wire.stream import PING, Frame, bye_frame, caught_up_frame, resync_frame

POLL_S = 2.0
PING_S = 15.0
PING_BUCKETS = 15
SLOW_S = 30.0
WATCHERS_MAX = 10_000
RESYNC_MESSAGES = 50
REVOKED_CHANNEL = "antiphon:revoked"

log = structlog.get_logger(__name__)


class Waiting:
    """Something that is woken: one future at a time, for one task that waits; or a call, `on_wake`."""

    __slots__ = ("_future", "_is_woken", "on_wake")

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None
        self._is_woken = False
        self.on_wake: Callable[[], None] | None = None

    def wake(self) -> None:
        if self.on_wake is not None:
            self.on_wake()
            return
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)
        else:
            self._is_woken = True

    async def wait(self) -> None:
        """Return when woken since the last call."""
        if not self._is_woken:
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None
        self._is_woken = False


class Watcher(Waiting):
    """One reader's place in one chat. `take` what comes next, `wait` when there is nothing.

    `sending_since` is set while its peer is not taking what it was given (0: it is).
    """

    __slots__ = (
        "_by_ref",
        "_bye",
        "_first",
        "_is_caught_up",
        "_is_over",
        "_ping_due",
        "_until_idle",
        "owner_id",
        "position",
        "reader",
        "sending_since",
        "seq",
        "stop_sending",
        "token_id",
    )

    def __init__(
        self, reader: Reader, seq: int, position: int, *, token_id: str, owner_id: str, until_idle: bool, by_ref: bool
    ) -> None:
        super().__init__()
        self.reader = reader
        self.seq = seq
        self.position = position
        self.token_id = token_id
        self.owner_id = owner_id
        self.sending_since = 0.0
        self.stop_sending: Callable[[], object] | None = None
        self._until_idle = until_idle
        self._by_ref = by_ref
        self._first: Frame | None = None
        self._bye: Frame | None = None
        self._is_caught_up = False
        self._is_over = False
        self._ping_due = False

    def begin_with(self, resync: Frame) -> None:
        assert resync.seq is not None
        self._first = resync
        self.seq, self.position = resync.seq, resync.position

    def end(self, reason: str, retry_ms: int | None = None) -> None:
        """Say good-bye after what was taken so far."""
        if self._bye is None:
            self._bye = bye_frame(reason, retry_ms)
            self.wake()

    def ping(self) -> None:
        self._ping_due = True
        self.wake()

    @property
    def is_over(self) -> bool:
        """Whether the good-bye has been taken: nothing comes after it."""
        return self._is_over

    @property
    def is_behind(self) -> bool:
        """Whether its reader no longer has the facts after its place."""
        return self.seq < self.reader.seq and not self.reader.has(self.seq)

    def take_nowait(self) -> Batch | None:
        """What comes next, in one piece; None: wait. Not while `is_behind`."""
        if self._first is not None:
            frame, self._first = self._first, None
            return Batch([frame], self.seq, self.position)
        if self._bye is not None:
            return self._take_bye()
        batch = self.reader.batch(self.seq, self.position, by_ref=self._by_ref)
        if batch is not None:
            self.seq, self.position = batch.seq, batch.position
            self._ping_due = False
            if batch.frames[-1].type == "chat_deleted":
                self._bye = bye_frame("deleted")  # said next; nobody is woken from inside a take
            return batch
        if not self._is_caught_up:
            self._is_caught_up = True
            return Batch([caught_up_frame(self.seq, self.position)], self.seq, self.position)
        if self._until_idle and self.reader.is_resting(self.seq):
            self._bye = bye_frame("idle")
            return self._take_bye()
        if self._ping_due:
            self._ping_due = False
            return Batch([PING], self.seq, self.position)
        return None

    def _take_bye(self) -> Batch:
        assert self._bye is not None
        self._is_over = True
        return Batch([self._bye], self.seq, self.position)

    async def take(self) -> Batch:
        """What comes next, waiting for it; from the store where the reader has moved on."""
        while True:
            if self._first is None and self._bye is None and self.is_behind:
                batch = await self.take_old()
            else:
                batch = self.take_nowait()
            if batch is not None:
                return batch
            await self.wait()

    async def take_old(self) -> Batch | None:
        """A page of the log from the store, for a watcher that is further behind than the reader reaches. (None:
        it is no longer.)"""
        if self._first is not None or self._bye is not None:
            return self.take_nowait()
        reader = self.reader
        if await reader.reach_back(self.seq):
            return None
        if self.seq and reader.seq - self.seq > FACTS_MAX:
            METRICS.resyncs.labels("behind").inc()
            self.begin_with(await make_resync(reader, reason="behind"))
            return self.take_nowait()
        entries = await reader.read_entries(self.seq)
        if not entries:
            return None
        return self._batch_of(entries)

    def _batch_of(self, entries: tuple[Entry, ...]) -> Batch:
        frames = []
        for entry in entries:
            fact = Fact(self.reader.chat_id, entry)
            self.position = 0 if fact.opens else self.position
            self.seq = fact.seq
            frames.append(Frame(fact.seq, self.position, fact.frame.type, fact.frame.data))
        return Batch(frames, self.seq, self.position)


async def make_resync(reader: Reader, *, reason: str) -> Frame:
    """The whole state as of the chat's newest fact: the last messages, the queue, the open draft."""
    service = reader.service
    chat = await service.chat(reader.chat_id)
    if chat is None or chat.is_deleted:
        raise NotFound
    messages, has_more = await service.store.read_messages(reader.chat_id, limit=RESYNC_MESSAGES)
    waiting = (*chat.steering, *chat.queue)
    contents = await service.store.read_contents(reader.chat_id, [item.content_seq for item in waiting])
    await reader.catch_up(chat.seq)
    draft = reader.open_draft() if reader.draft_name == chat.draft else None
    return resync_frame(
        reader.chat_id,
        chat,
        reason=reason,
        messages=[entry for entry in messages if entry.seq <= chat.seq],
        has_more=has_more,
        queued=[(item, contents.get(item.content_seq)) for item in waiting],
        draft=draft,
    )


class Watch:
    """All watchers of this process: their readers, the poll, the pings and the ends."""

    def __init__(self, *, service: Service, bus: Bus, drafts: Drafts, watchers_max: int = WATCHERS_MAX) -> None:
        self._service = service
        self._bus = bus
        self._drafts = drafts
        self._watchers_max = watchers_max
        self.owner_watchers_max: int | None = None
        self.revoked: set[str] = set()
        """The tokens revoked by this process; the poll ends their streams should the hint be lost."""
        self._readers: dict[str, Reader] = {}
        self._watchers: set[Watcher | Feed] = set()
        self._is_stopping = False
        self._mark = -1
        self.poll_error: str | None = None
        self._unsubscribe = bus.subscribe(REVOKED_CHANNEL, self._on_revoked)

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def reader_count(self) -> int:
        return len(self._readers)

    # --- opening

    @asynccontextmanager
    async def open_watcher(
        self,
        chat_id: str,
        cursor: tuple[int, int] | None,
        *,
        token_id: str = "",
        owner_id: str = "",
        until_idle: bool = False,
        by_ref: bool = False,
    ) -> AsyncIterator[Watcher]:
        """A watcher at `cursor` (None: from now, beginning with a resync). Raises `NotFound`, `CursorInvalid` for
        a seq the chat has not reached, `TooMany`."""
        chat = await self._service.chat(chat_id)
        if chat is None or chat.is_deleted:
            raise NotFound
        if cursor is not None and cursor[0] > chat.seq:
            raise CursorInvalid(f"{cursor[0]}.{cursor[1]}")
        self._check_limits(owner_id)
        reader = await self._acquire(chat_id)
        seq, position = cursor or (0, 0)
        watcher = Watcher(
            reader, seq, position, token_id=token_id, owner_id=owner_id, until_idle=until_idle, by_ref=by_ref
        )
        reader.watchers.add(watcher)
        self._add(watcher)
        try:
            await reader.catch_up(chat.seq)
            if cursor is None:
                METRICS.resyncs.labels("start").inc()
                watcher.begin_with(await make_resync(reader, reason="start"))
            yield watcher
        finally:
            self._remove(watcher)
            reader.watchers.discard(watcher)
            self._release(reader)

    @asynccontextmanager
    async def open_feed(self, owner_id: str, *, token_id: str = "") -> AsyncIterator[Feed]:
        """The changes of an owner's chats, from now on; it begins with a bare resync."""
        self._check_limits(owner_id)
        feed = Feed(owner_id, service=self._service, bus=self._bus, token_id=token_id)
        self._add(feed)
        try:
            yield feed
        finally:
            self._remove(feed)
            feed.close()

    def _check_limits(self, owner_id: str) -> None:
        if len(self._watchers) >= self._watchers_max:
            raise TooMany("watchers", self._watchers_max, retry_after_ms=5000)
        limit = self.owner_watchers_max
        if limit is not None and sum(w.owner_id == owner_id for w in self._watchers) >= limit:
            raise TooMany("watchers of one owner", limit, retry_after_ms=5000)

    def _add(self, watcher: Watcher | Feed) -> None:
        self._watchers.add(watcher)
        METRICS.watchers.inc()
        if self._is_stopping:
            watcher.end("shutdown", 1000)

    def _remove(self, watcher: Watcher | Feed) -> None:
        self._watchers.discard(watcher)
        METRICS.watchers.dec()

    async def _acquire(self, chat_id: str) -> Reader:
        """The chat's reader, started; those who come meanwhile wait for the one start."""
        reader = self._readers.get(chat_id)
        if reader is None:
            reader = Reader(chat_id, service=self._service, bus=self._bus, drafts=self._drafts)
            self._readers[chat_id] = reader
            reader.starting = asyncio.create_task(reader.start())
        assert reader.starting is not None
        reader.users += 1
        try:
            await asyncio.shield(reader.starting)
        except BaseException:
            self._release(reader)
            raise
        return reader

    def _release(self, reader: Reader) -> None:
        reader.users -= 1
        if not reader.users:
            if self._readers.get(reader.chat_id) is reader:
                del self._readers[reader.chat_id]
            reader.close()

    # --- the poll, the pings, the slow

    async def start(self) -> None:
        """Note where the poll begins: before anyone watches, so that nothing falls between."""
        _, self._mark = await self._service.store.changed(-1)

    async def run(self) -> None:
        """Everything that happens by time, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll_forever())
            tasks.create_task(self._ping_forever())

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._poll()
                self.poll_error = None
            except AntiphonError as error:
                self.poll_error = str(error)
                log.warning("poll_failed", error=str(error))

    async def _poll(self) -> None:
        """One query for the chats that changed: hints may have been lost."""
        changed, self._mark = await self._service.store.changed(self._mark)
        for chat_id, seq in changed:
            self._service.forget(chat_id, seq)
            reader = self._readers.get(chat_id)
            if reader is not None and reader.seq < seq:
                await reader.pull()
        feeds = [watcher for watcher in self._watchers if isinstance(watcher, Feed)]
        if changed and feeds:
            for feed in feeds:
                await feed.look_at(changed)
        for watcher in list(self._watchers):
            if watcher.token_id in self.revoked:
                watcher.end("revoked")

    def _on_revoked(self, message: bytes | None) -> None:
        if message is None:
            return
        token_id = message.decode()
        for watcher in list(self._watchers):
            if watcher.token_id == token_id:
                watcher.end("revoked")

    async def _ping_forever(self) -> None:
        """One timer for all: each second a fifteenth of the watchers, and a look for those that take nothing."""
        tick = 0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_S / PING_BUCKETS)
            tick += 1
            slow_since = loop.time() - SLOW_S
            for watcher in list(self._watchers):
                if watcher.sending_since and watcher.sending_since < slow_since:
                    METRICS.slow_watchers.inc()
                    watcher.end("slow", 1000)
                    if watcher.stop_sending is not None:
                        watcher.stop_sending()
                elif (id(watcher) >> 4) % PING_BUCKETS == tick % PING_BUCKETS:
                    watcher.ping()

    # --- the end

    def end_all(self, reason: str, retry_ms: int | None = None) -> None:
        """Say good-bye to everyone, and to whoever comes from now on."""
        self._is_stopping = True
        for watcher in list(self._watchers):
            watcher.end(reason, retry_ms)

    def close(self) -> None:
        self._unsubscribe()
        for reader in self._readers.values():
            reader.close()
