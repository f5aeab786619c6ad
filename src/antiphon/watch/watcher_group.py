"""Several watchers as one source of events for one connection.

The group holds no events but one page of the log for each chat that it reads from the store; everything else is
pulled from the watchers when the connection accepts data. Chats take turns, so a busy chat delays the others by one
batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Generic, Protocol, TypeVar

import structlog

from antiphon.errors import AntiphonError, Invalid
from antiphon.observe.metrics import METRICS
from antiphon.tracebacks import traceback_of
from antiphon.watch.batch import Batch
from antiphon.watch.watcher import Waiting, Watcher

READS_MAX = 4
"""Maximum number of chats that a group reads from the store at once."""

C = TypeVar("C", covariant=True)

log = structlog.get_logger(__name__)


class Encoder(Protocol[C]):
    """The events in the form of the connection."""

    def batch(self, chat_id: str, batch: Batch) -> C: ...

    def ended(self, chat_id: str, reason: str) -> C:
        """The watch of one chat has ended; the connection goes on."""
        ...

    def ping(self) -> C | None: ...

    def bye(self, reason: str, retry_ms: int | None) -> C: ...


class _Member:
    __slots__ = ("chat_id", "opened", "page", "reading", "watcher")

    def __init__(self, chat_id: str, opened: AbstractAsyncContextManager[Watcher], watcher: Watcher) -> None:
        self.chat_id = chat_id
        self.opened = opened
        self.watcher = watcher
        self.page: Batch | None = None
        """A batch that was read from the store."""
        self.reading: asyncio.Task[None] | None = None


class WatcherGroup(Waiting, Generic[C]):
    """A source for `api.http.sse.DirectWriter`; other writers use `next_batch`. Close it with `aclose`."""

    is_behind = False
    """The group reads from the store by itself."""

    def __init__(self, encoder: Encoder[C], *, owner_id: str, token_id: str) -> None:
        super().__init__()
        self.owner_id = owner_id
        self.token_id = token_id
        self.sending_since = 0.0
        self.stop_sending: Callable[[], object] | None = None
        self.is_closed = False
        self.end_reason = ""
        self._encoder = encoder
        self._members: dict[str, _Member] = {}
        self._opening: set[str] = set()
        self._ready: dict[_Member, None] = {}
        self._own: deque[C] = deque()
        self._bye: tuple[str, int | None] | None = None
        self._is_ping_due = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reads = asyncio.Semaphore(READS_MAX)

    def __len__(self) -> int:
        return len(self._members)

    # --- chats

    async def add(
        self, chat_id: str, opened: AbstractAsyncContextManager[Watcher], *, first: C | None = None
    ) -> None:
        """Open a watcher, and give `first` and then its events. Raises `Invalid` if the chat is watched already, and
        what opening raises."""
        if chat_id in self._members or chat_id in self._opening:
            raise Invalid("chat_id", "this connection watches the chat already")
        self._opening.add(chat_id)
        try:
            member = _Member(chat_id, opened, await opened.__aenter__())
        finally:
            self._opening.discard(chat_id)
        self._members[chat_id] = member
        member.watcher.on_wake = partial(self._on_ready, member)
        if first is not None:
            self._own.append(first)
        self._on_ready(member)

    async def remove(self, chat_id: str) -> bool:
        """Give no more events of a chat. False: it is not watched."""
        member = self._members.pop(chat_id, None)
        if member is not None:
            await self._close(member)
        return member is not None

    async def _close(self, member: _Member) -> None:
        self._ready.pop(member, None)
        member.watcher.on_wake = None
        if member.reading is not None:
            member.reading.cancel()
            await asyncio.wait({member.reading})
        await member.opened.__aexit__(None, None, None)

    def _discard(self, member: _Member) -> None:
        """Its last event was given."""
        if self._members.pop(member.chat_id, None) is not None:
            self._start(self._close(member))

    async def aclose(self) -> None:
        while self._members:
            await self._close(self._members.popitem()[1])
        await asyncio.gather(*self._tasks, return_exceptions=True)  # they close members that have ended

    # --- what `Watch.supervise` calls

    def end(self, reason: str, retry_ms: int | None = None) -> bool:
        """Close the connection with a `bye`. Returns False if it was closed before."""
        if self._bye is not None:
            return False
        self._bye, self.end_reason = (reason, retry_ms), reason
        self.wake()
        return True

    def ping(self) -> None:
        self._is_ping_due = True
        self.wake()

    def close(self) -> None:
        """Does nothing: `aclose` releases the watchers."""

    # --- the next events

    def put(self, chunks: Iterable[C]) -> None:
        """Give these before the next events."""
        self._own.extend(chunks)
        self.wake()

    @property
    def has_own(self) -> bool:
        """Whether something that was `put` is still waiting."""
        return bool(self._own)

    def next_batch_nowait(self) -> C | None:
        """What to send next; None if there is nothing yet."""
        if self._own:
            return self._own.popleft()
        if self._bye is not None:
            self.is_closed = True
            return self._encoder.bye(*self._bye)
        while self._ready:
            member = next(iter(self._ready))
            del self._ready[member]
            chunk = self._next_of(member)
            if chunk is not None:
                self._is_ping_due = False
                if member.chat_id in self._members:
                    self._ready[member] = None
                return chunk
        if self._is_ping_due:
            self._is_ping_due = False
            return self._encoder.ping()
        return None

    async def next_old_batch(self) -> C | None:
        """Never called: the group is not behind."""
        return None

    async def next_batch(self) -> C | None:
        """What to send next, waiting for it; None after the end."""
        while not self.is_closed:
            chunk = self.next_batch_nowait()
            if chunk is not None:
                return chunk
            await self.wait()
        return None

    def _next_of(self, member: _Member) -> C | None:
        watcher = member.watcher
        if member.reading is not None:
            return None  # its task marks it as ready
        batch, member.page = member.page, None
        if batch is None and watcher.is_behind:
            member.reading = self._start(self._read(member))
            return None
        if batch is None:
            batch = watcher.next_batch_nowait()
        if batch is None or batch.frames[-1].type == "ping":
            return None
        if watcher.is_closed:
            self._discard(member)
            return self._encoder.ended(member.chat_id, watcher.end_reason)
        return self._encoder.batch(member.chat_id, batch)

    async def _read(self, member: _Member) -> None:
        """Read the next page of a chat that is not in memory."""
        reason = ""
        try:
            async with self._reads:
                member.page = await member.watcher.next_old_batch()
        except AntiphonError as error:
            log.warning("stream_failed", chat_id=member.chat_id, error=str(error))
            reason = error.code
        except Exception:  # a fault of ours in one chat must not end the others
            METRICS.unexpected.labels("stream_failure").inc()
            log.error("stream_failed", chat_id=member.chat_id, exception=traceback_of())
            reason = "unavailable"
        finally:
            member.reading = None
        if reason:
            self._discard(member)
            self.put((self._encoder.ended(member.chat_id, reason),))
        else:
            self._on_ready(member)

    def _on_ready(self, member: _Member) -> None:
        if member.chat_id in self._members:
            self._ready[member] = None
            self.wake()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
