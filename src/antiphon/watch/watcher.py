"""A watcher is a cursor that pulls.

It holds nothing but (seq, position). When it is woken and its peer accepts data, it gets the next batch from the
reader of its chat. So
there is no backlog per watcher: one that keeps up gets every delta, a slow one fewer and larger ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from antiphon.chats.open_calls import read_open_calls
from antiphon.core.facts import Entry
from antiphon.errors import NotFound
from antiphon.observe.metrics import METRICS
from antiphon.watch.batch import Batch
from antiphon.watch.held_text import HeldText
from antiphon.watch.reader import Reader
from antiphon.watch.recent_facts import FACTS_MAX
from antiphon.watch.stream_items import Fact
from antiphon.wire.stream import PING, Frame, bye_frame, caught_up_frame, resync_frame

RESYNC_MESSAGES = 50


class Waiting:
    """Can be woken: wakes the one task that waits, or calls `on_wake`."""

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
    """A place in one chat's stream. `next_batch` gives what follows it, `wait` waits for more.

    `sending_since` is set while its peer does not accept the last batch (0: it does).
    """

    __slots__ = (
        "_bye",
        "_first",
        "_held",
        "_held_size",
        "_is_caught_up",
        "_is_closed",
        "_notices",
        "_ping_due",
        "reads_all",
        "by_ref",
        "end_reason",
        "owner_id",
        "position",
        "reader",
        "sending_since",
        "seq",
        "stop_sending",
        "token_id",
        "until_idle",
    )

    def __init__(
        self, reader: Reader, seq: int, position: int, *, token_id: str, owner_id: str, held: HeldText
    ) -> None:
        super().__init__()
        self.reader = reader
        self.seq = seq
        self.position = position
        self.token_id = token_id
        self.owner_id = owner_id
        self.sending_since = 0.0
        self.stop_sending: Callable[[], object] | None = None
        self.until_idle = False
        self.by_ref = False
        self._held = held
        self._held_size = 0
        self._first: Frame | None = None
        self._bye: Frame | None = None
        self.end_reason = ""
        """Why it was closed."""
        self._is_caught_up = False
        self._is_closed = False
        self._ping_due = False
        self._notices: dict[str, Frame] = {}
        self.reads_all = False
        """Whether it gets every fact, and never a `resync` instead, until it has caught up."""

    def begin_with(self, resync: Frame) -> None:
        assert resync.seq is not None
        self._first = resync
        self.seq, self.position = resync.seq, resync.position

    def end(self, reason: str, retry_ms: int | None = None) -> bool:
        """Close it with a `bye` after the batches that were handed out. Returns False if it was closed before."""
        if self._bye is not None:
            return False
        self._set_bye(reason, retry_ms)
        self.wake()
        return True

    def _set_bye(self, reason: str, retry_ms: int | None = None) -> None:
        self._bye, self.end_reason = bye_frame(reason, retry_ms), reason

    def ping(self) -> None:
        self._ping_due = True
        self.wake()

    def notify(self, kind: str, notice: Frame) -> None:
        """Queue a transient event; a newer one of the same kind replaces it."""
        self._notices[kind] = notice
        self.wake()

    def hold_text(self, size: int) -> None:
        """Count text that a translation of its events holds until the stream ends. Beyond the maximum the stream
        ends."""
        self._held_size += size
        if not self._held.add(self.owner_id, size) and self.end("slow", 1000):
            METRICS.slow_watchers.inc()

    def release_text(self) -> None:
        self._held.release(self.owner_id, self._held_size)
        self._held_size = 0

    @property
    def is_closed(self) -> bool:
        """Whether the `bye` was handed out: nothing follows it."""
        return self._is_closed

    @property
    def is_behind(self) -> bool:
        """Whether its reader no longer has the facts after this place in memory."""
        return self.seq < self.reader.seq and not self.reader.has(self.seq)

    def next_batch_nowait(self) -> Batch | None:
        """The next batch; None if there is none yet. Not while `is_behind`."""
        if self._first is not None:
            frame, self._first = self._first, None
            return Batch([frame], self.seq, self.position)
        if self._bye is not None:
            return self._take_bye()
        if self._notices:
            notices, self._notices = self._notices, {}
            return Batch(list(notices.values()), self.seq, self.position)
        batch = self.reader.batch(self.seq, self.position, by_ref=self.by_ref)
        if batch is not None:
            self.seq, self.position = batch.seq, batch.position
            self._ping_due = False
            if batch.frames[-1].type == "chat_deleted":
                self._set_bye("deleted")  # the next batch; no wake-up from within this call
            return batch
        if not self._is_caught_up:
            self._is_caught_up = True
            self.reads_all = False
            return Batch([caught_up_frame(self.seq, self.position)], self.seq, self.position)
        if self.until_idle and self.reader.is_resting(self.seq):
            self._set_bye("idle")
            return self._take_bye()
        if self._ping_due:
            self._ping_due = False
            return Batch([PING], self.seq, self.position)
        return None

    def _take_bye(self) -> Batch:
        assert self._bye is not None
        self._is_closed = True
        return Batch([self._bye], self.seq, self.position)

    async def next_batch(self) -> Batch:
        """The next batch, waiting for it; from the store if the reader no longer has it."""
        while True:
            if self._first is None and self._bye is None and self.is_behind:
                batch = await self.next_old_batch()
                if batch is None:
                    continue  # no longer behind: read from memory
            else:
                batch = self.next_batch_nowait()
            if batch is not None:
                return batch
            await self.wait()

    async def next_old_batch(self) -> Batch | None:
        """A page of the log from the store, for a watcher that is further behind than the reader reaches. (None:
        it is no longer.)"""
        if self._first is not None or self._bye is not None:
            return self.next_batch_nowait()
        reader = self.reader
        if await reader.reach_back(self.seq):
            return None
        if not self.reads_all and reader.seq - self.seq > FACTS_MAX:
            METRICS.resyncs.labels("behind").inc()
            self.begin_with(await make_resync(reader, reason="behind"))
            return self.next_batch_nowait()
        entries = await reader.read_entries(self.seq)
        if not entries:
            return None
        return self._batch_of(entries)

    def _batch_of(self, entries: tuple[Entry, ...]) -> Batch:
        frames = []
        for entry in entries:
            fact = Fact(self.reader.chat_id, entry)
            self.position = 0 if fact.opens_draft else self.position
            self.seq = fact.seq
            frame = fact.frame()
            frames.append(Frame(fact.seq, self.position, frame.type, frame.data, frame.state))
        if frames[-1].type == "chat_deleted":
            self._set_bye("deleted")
        return Batch(frames, self.seq, self.position)


async def make_resync(reader: Reader, *, reason: str) -> Frame:
    """The whole state as of the chat's newest fact: the last messages, the queue, the open draft."""
    service, store = reader.service, reader.store
    chat = await service.chat(reader.chat_id)
    if chat is None or chat.is_deleted:
        raise NotFound
    messages, has_more = await store.read_messages(reader.chat_id, limit=RESYNC_MESSAGES)
    waiting = (*chat.steering, *chat.queue)
    contents = await store.read_contents(reader.chat_id, [item.content_seq for item in waiting])
    unread = await store.unread_of((reader.chat_id,))
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
        has_unread=bool(unread),
        open_calls=await read_open_calls(store, reader.chat_id, chat),
    )
