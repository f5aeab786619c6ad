"""Watching: opening watchers and feeds, and what happens to them by time.

Order: listen to hints, read the facts after the cursor, read the draft from the position, `caught_up`, follow.
A poll every 2 s finds what changed even if every hint is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count

import structlog

from antiphon.chats.hints import text_hint
from antiphon.chats.inbox import OVERLAP_US, to_inbox_notification
from antiphon.chats.revoked import RevokedIds
from antiphon.chats.service import Service
from antiphon.chats.watched import WatchedChats
from antiphon.errors import AntiphonError, CursorInvalid, NotFound, TooMany
from antiphon.observe.metrics import METRICS
from antiphon.options import WatchTiming
from antiphon.ports import Bus, Drafts, Mark, Store
from antiphon.signal import Signal
from antiphon.tracebacks import traceback_of
from antiphon.watch.feed import Feed
from antiphon.watch.held_text import HeldText
from antiphon.watch.plain_stream import PlainStream, S, Supervised
from antiphon.watch.reader import Reader
from antiphon.watch.watcher import Watcher, make_resync

PING_BUCKETS = 15
"""Number of groups in which the streams are pinged, one after another."""
WATCHERS_MAX = 10_000
HELD_TEXT_MAX = 128 * 1024 * 1024
"""Maximum size of the text that translations for other protocols hold, in code points."""
NEW_NOTIFICATIONS_MAX = 1_000
"""Maximum number of notifications that a query returns, as the store promises."""
CHANGED_MAX = 10_000
"""Maximum number of changed chats in one query of a poll."""
OWNERS_MAX = 100_000
"""Maximum number of changed chats whose owner is cached."""
REVOKED_CHANNEL = "antiphon:revoked"

Changed = Sequence[tuple[str, int]]  # chats, and the seq that each has reached

log = structlog.get_logger(__name__)


class Watch:
    """All watchers of this process: their readers, the poll, the pings and the ends."""

    def __init__(
        self,
        *,
        service: Service,
        store: Store,
        bus: Bus,
        drafts: Drafts,
        revoked: RevokedIds | None = None,
        watched: WatchedChats | None = None,
        watchers_max: int = WATCHERS_MAX,
        changed_max: int = CHANGED_MAX,
        timing: WatchTiming = WatchTiming(),  # noqa: B008 - a value
    ) -> None:
        self._service = service
        self._store = store
        self._bus = bus
        self._drafts = drafts
        self._watchers_max = watchers_max
        self._changed_max = changed_max
        self._timing = timing
        self._owner_watchers_max: int | None = None
        self._revoked = RevokedIds() if revoked is None else revoked
        """The poll ends the streams of these tokens, should the hint be lost."""
        self._watched = WatchedChats() if watched is None else watched
        self._readers: dict[str, Reader] = {}
        self._watchers: dict[Watcher | Supervised, int] = {}
        """Each with its number, in the order they came."""
        self._numbers = count()
        self._is_stopping = False
        self._mark: Mark | None = None
        self._notified_until = 0
        """The time (of the store) up to which the poll has read notifications."""
        self._unseen: dict[str, int] = {}
        self.polled: Signal[Changed] = Signal("polled")
        """Emitted with the chats that a poll found changed."""
        self._owners: dict[str, str] = {}
        self._poll_due = asyncio.Event()
        self._token_check_due = asyncio.Event()
        self._opening: Counter[str] = Counter()
        self._held = HeldText(HELD_TEXT_MAX)
        self.poll_error: str | None = None
        self._unsubscribe = bus.subscribe(REVOKED_CHANNEL, self._on_revoked)

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def reader_count(self) -> int:
        return len(self._readers)

    @property
    def has_owner_limit(self) -> bool:
        """Whether `limit_each_owner` was called."""
        return self._owner_watchers_max is not None

    def limit_each_owner(self, watchers_max: int) -> None:
        """From now on no owner has more watchers than this."""
        self._owner_watchers_max = watchers_max

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
        reads_all: bool = False,
    ) -> AsyncIterator[Watcher]:
        """A watcher at `cursor` (None: from now, beginning with a resync). From 0, or where it `reads_all`, it gets
        every fact. Raises `NotFound`, `CursorInvalid` for a seq the chat has not reached, `TooMany`."""
        chat = await self._service.chat(chat_id)
        if chat is None or chat.is_deleted:
            raise NotFound
        if cursor is not None and cursor[0] > chat.seq:
            raise CursorInvalid(f"{cursor[0]}.{cursor[1]}")
        self._watched.add(chat_id)
        try:
            with self._place(owner_id):
                reader = await self.acquire_reader(chat_id)
            seq, position = cursor or (0, 0)
            watcher = Watcher(reader, seq, position, token_id=token_id, owner_id=owner_id, held=self._held)
            watcher.until_idle, watcher.by_ref = until_idle, by_ref
            watcher.reads_all = reads_all or cursor == (0, 0)
            reader.watchers[watcher] = None
            self._add(watcher)
            try:
                await reader.catch_up(chat.seq)
                if cursor is None:
                    METRICS.resyncs.labels("start").inc()
                    watcher.begin_with(await make_resync(reader, reason="start"))
                yield watcher
            finally:
                self._remove(watcher)
                watcher.release_text()
                reader.watchers.pop(watcher, None)
                self.release_reader(reader)
        finally:
            self._watched.remove(chat_id)

    @asynccontextmanager
    async def open_feed(self, owner_id: str, *, token_id: str = "") -> AsyncIterator[PlainStream]:
        """The changes of an owner's chats, from now on; it begins with a bare resync."""
        self._check_limits(owner_id)
        feed = Feed(
            owner_id,
            service=self._service,
            store=self._store,
            bus=self._bus,
            token_id=token_id,
            subscribe_s=self._timing.subscribe_s,
        )
        async with self.supervise(feed):
            yield feed

    @asynccontextmanager
    async def supervise(self, stream: S) -> AsyncIterator[S]:
        """Treat a stream as the watchers: it is pinged, counted, and ended when its time has come."""
        try:
            self._check_limits(stream.owner_id)
            self._add(stream)
            try:
                yield stream
            finally:
                self._remove(stream)
        finally:
            stream.close()

    @contextmanager
    def _place(self, owner_id: str) -> Iterator[None]:
        """Hold a place while a watcher is being opened. Raises `TooMany` where there is none."""
        self._check_limits(owner_id)
        self._opening[owner_id] += 1
        try:
            yield
        finally:
            self._opening[owner_id] -= 1
            if not self._opening[owner_id]:
                del self._opening[owner_id]

    def _check_limits(self, owner_id: str) -> None:
        if len(self._watchers) + self._opening.total() >= self._watchers_max:
            raise TooMany("watchers", self._watchers_max, retry_after_ms=5000)
        limit = self._owner_watchers_max
        if limit is None:
            return
        if self._opening[owner_id] + sum(w.owner_id == owner_id for w in self._watchers) >= limit:
            raise TooMany("watchers of one owner", limit, retry_after_ms=5000)

    def _add(self, watcher: Watcher | Supervised) -> None:
        self._watchers[watcher] = next(self._numbers)
        METRICS.watchers.inc()
        if self._is_stopping:
            watcher.end("shutdown", 1000)

    def _remove(self, watcher: Watcher | Supervised) -> None:
        self._watchers.pop(watcher, None)
        METRICS.watchers.dec()

    async def acquire_reader(self, chat_id: str) -> Reader:
        """The chat's reader, started; those who come meanwhile wait for the one start."""
        reader = self._readers.get(chat_id)
        if reader is None:
            reader = Reader(
                chat_id,
                service=self._service,
                store=self._store,
                bus=self._bus,
                drafts=self._drafts,
                on_dropped=self.poll_soon,
            )
            self._readers[chat_id] = reader
            reader.starting = asyncio.create_task(reader.start())
        assert reader.starting is not None
        reader.users += 1
        try:
            await asyncio.shield(reader.starting)
        except BaseException:
            self.release_reader(reader)
            raise
        return reader

    def release_reader(self, reader: Reader) -> None:
        reader.users -= 1
        if not reader.users:
            if self._readers.get(reader.chat_id) is reader:
                del self._readers[reader.chat_id]
            reader.close()

    # --- the poll, the pings, the slow

    async def start(self) -> None:
        """Note where the poll begins, before the first watcher opens."""
        _, self._mark = await self._store.changed(None, limit=self._changed_max)
        self._notified_until = self._store.clock.now_us()

    async def run(self) -> None:
        """Everything that happens by time, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll_forever())
            tasks.create_task(self._check_tokens_forever())
            tasks.create_task(self._ping_forever())

    def poll_soon(self) -> None:
        """Hints were dropped: poll now."""
        self._poll_due.set()

    async def _poll_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.poll_s):
                    await self._poll_due.wait()
            self._poll_due.clear()
            try:
                await self._poll()
                self.poll_error = None
            except AntiphonError as error:
                self.poll_error = str(error)
                log.warning("poll_failed", error=str(error))

    async def _poll(self) -> None:
        """One query for the chats that changed: hints may have been lost."""
        await self._end_revoked()
        await self._poll_notifications()
        changed, self._mark = await self._store.changed(self._mark, limit=self._changed_max)
        self._unseen.update(changed)
        if len(changed) == self._changed_max:
            self.poll_soon()  # there may be more
        self.polled.emit(changed)
        failure = None
        for chat_id, seq in list(self._unseen.items()):
            try:
                await self._catch_up(chat_id, seq)
            except AntiphonError as error:
                failure = error  # the next poll tries it again; the others must not wait for it
            except Exception:  # a fault of ours in one chat must not end the whole instance
                METRICS.unexpected.labels("poll_failure").inc()
                log.error("poll_failed_at", chat_id=chat_id, exception=traceback_of())
                self._unseen.pop(chat_id, None)
            else:
                self._unseen.pop(chat_id, None)
        if failure is not None:
            raise failure

    async def _end_revoked(self) -> None:
        """End the streams of tokens that are revoked in the store."""
        if self._store.is_shared:
            token_ids = {watcher.token_id for watcher in self._watchers} - {""}
            self._revoked.update(await self._store.revoked_of(sorted(token_ids)) if token_ids else ())
        for watcher in list(self._watchers):
            if watcher.token_id in self._revoked:
                watcher.end("revoked")

    async def _check_tokens_forever(self) -> None:
        while True:
            await self._token_check_due.wait()
            self._token_check_due.clear()
            try:
                await self._end_revoked()
            except AntiphonError as error:
                log.warning("token_check_failed", error=str(error))  # the poll checks again

    async def _poll_notifications(self) -> None:
        """One query for notifications whose hints were lost."""
        feeds = [watcher for watcher in self._watchers if isinstance(watcher, Feed)]
        now, since = self._store.clock.now_us(), self._notified_until - OVERLAP_US
        if not feeds:
            self._notified_until = now
            return
        owners = sorted({feed.owner_id for feed in feeds})
        found = await self._store.new_notifications(owners, since)
        for notification in found:
            for feed in feeds:
                if feed.owner_id == notification.owner_id and notification.created_at >= feed.opened_at:
                    feed.notify(to_inbox_notification(notification))
        is_all = len(found) < NEW_NOTIFICATIONS_MAX
        self._notified_until = now if is_all else found[-1].created_at + OVERLAP_US

    async def _catch_up(self, chat_id: str, seq: int) -> None:
        """The chat has reached `seq`: bring its watchers and feeds up to date."""
        known = self._service.chat_nowait(chat_id)
        if known is not None:
            self._note_owner(chat_id, known.owner_id)
        self._service.evict(chat_id, seq)
        reader = self._readers.get(chat_id)
        if reader is not None and reader.seq < seq:
            await reader.pull()
        owner_id = self._owners.get(chat_id)
        feeds = [w for w in self._watchers if isinstance(w, Feed) and owner_id in (None, w.owner_id)]
        feeds = [feed for feed in feeds if feed.lacks(chat_id, seq)]
        if feeds:
            chat = await self._service.chat(chat_id)  # once for all: an owner is looked up no second time
            if chat is not None:
                if chat.is_deleted and known is not None and not known.is_deleted:
                    self._service.deleted_chats.record(chat_id, known, chat)
                self._note_owner(chat_id, chat.owner_id)
                for feed in feeds:
                    feed.on_changed(chat_id, chat)

    def _note_owner(self, chat_id: str, owner_id: str) -> None:
        """Whose a chat is never changes."""
        if len(self._owners) >= OWNERS_MAX:
            self._owners.clear()
        self._owners[chat_id] = owner_id

    def _on_revoked(self, message: bytes | None) -> None:
        """Checks the tokens in the store; the message itself revokes nothing."""
        token_id = text_hint(message or b"")
        if not token_id or any(watcher.token_id == token_id for watcher in self._watchers):
            self._token_check_due.set()

    async def _ping_forever(self) -> None:
        """One timer for all: each second it pings a fifteenth of the watchers, and closes those that accept
        nothing."""
        tick = 0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._timing.ping_s / PING_BUCKETS)
            tick += 1
            slow_since = loop.time() - self._timing.slow_s
            for watcher, number in list(self._watchers.items()):
                if watcher.sending_since and watcher.sending_since < slow_since:
                    if watcher.end("slow", 1000):  # it stays here until its connection is lost
                        METRICS.slow_watchers.inc()
                    if watcher.stop_sending is not None:
                        watcher.stop_sending()
                elif number % PING_BUCKETS == tick % PING_BUCKETS:
                    watcher.ping()

    # --- the end

    def end_all(self, reason: str, retry_ms: int | None = None) -> None:
        """Close every stream, and those that are opened later."""
        self._is_stopping = True
        for watcher in list(self._watchers):
            watcher.end(reason, retry_ms)

    def close(self) -> None:
        self._unsubscribe()
        for reader in self._readers.values():
            reader.close()
