"""Appends to PostgreSQL, written in groups.

How it works
------------
An append is one call of the function append_facts (migrations), which returns its outcome: done, conflict, answered,
lease_live, messages_limited, turns_limited or newer. One statement can call it for many appends, which then share a
round trip and a commit.

1. `append` puts the append into the queue and starts a writer task if fewer than `statements_max` are running. A
   writer takes a batch from the queue, writes it, and repeats until the queue is empty. So appends that arrive while
   the writers are busy form the next batches: the busier the store, the larger the batches.
2. A batch is sorted by chat id. Every statement then locks chats in the same order, and two cannot deadlock. An
   append that also locks rows of other chats (a notification, a deletion) is written alone, for the same reason.
3. A row that another session holds locked must not delay the whole batch. The statement waits for it for the first
   of `lock_timeouts`. If that expires, nothing was written, and each append of the batch is retried by itself: in the
   second round the free ones are written, and the third round waits longer for the locked rows. `single_max` limits
   these rounds, so that connections remain for other statements. An append that is still locked then, or has waited
   for `append_retry_s`, fails with `RowLocked`.
4. A batch that fails by a mistake in one append (`MISTAKES`) is repeated one append at a time: only that one fails.
5. If the answer was lost or the database is down, every append of the batch gets the error: `OutcomeUnknown` (the
   caller repeats it; the append id makes that safe) or `Unavailable`. Queued appends that have already waited for
   `wait_s` fail as well, else each would wait for the failures of all those before it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from antiphon.errors import Unavailable
from antiphon.ports import Append, OutcomeUnknown
from antiphon.store.postgres.append_document import append_json, document_of, is_counting
from antiphon.store.postgres.pool import MISTAKES, Pool, RowLocked
from antiphon.store.postgres.timing import AppendLimits, StoreTiming
from antiphon.store.statements import load_statements

SQL = load_statements("postgres")


class _Queued:
    """An append in the queue, and the future of its outcome. `is_single`: it also locks rows that are not its chat's
    own, so it shares no statement. (Usage is locked after all chats of a statement, and in order.)"""

    __slots__ = ("chat_id", "is_counting", "is_single", "outcome", "row", "since")

    def __init__(self, append: Append) -> None:
        self.chat_id = append.chat_id
        self.row = append_json(append)
        self.is_single = append.notification is not None or append.chat.is_deleted or append.sends is not None
        self.is_counting = is_counting(append)
        self.since = time.monotonic()
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Appender:
    """Writes appends over the connections of a pool."""

    def __init__(self, pool: Pool, *, timing: StoreTiming, limits: AppendLimits) -> None:
        self._pool = pool
        self._timing = timing
        self._limits = limits
        self._queue: deque[_Queued] = deque()
        self._writers: set[asyncio.Task[None]] = set()
        self._singles: set[asyncio.Task[None]] = set()
        self._single_slots = tuple(map(asyncio.Semaphore, limits.single_max))

    async def append(self, append: Append) -> str:
        """Write an append.

        Returns:
            Its outcome, as append_facts has it (migrations).

        Raises:
            OutcomeUnknown: The answer was lost. A cancelled caller does not know the outcome either.
            Unavailable: Nothing was written. `RowLocked`: because another session locks a row.
        """
        queued = _Queued(append)
        self._queue.append(queued)
        self._start_writer()
        return await queued.outcome

    def _start_writer(self) -> None:
        if self._queue and len(self._writers) < self._limits.statements_max:
            task = asyncio.create_task(self._write_queue())
            self._writers.add(task)
            task.add_done_callback(self._on_writer_done)

    def _on_writer_done(self, task: asyncio.Task[None]) -> None:
        """An append may have been queued since the writer found the queue empty."""
        self._writers.discard(task)
        self._start_writer()

    async def _write_queue(self) -> None:
        """Write batches until the queue is empty. The task starts one turn of the event loop after its creation, so
        that appends of the same turn share the first batch."""
        while self._queue:
            await self._write(self._next_batch())

    def _next_batch(self) -> list[_Queued]:
        """The oldest append, and those after it that may share its statement, sorted by chat id."""
        limits, batch = self._limits, [self._queue.popleft()]
        size = len(batch[0].row)
        while self._queue and len(batch) < limits.shared_max and not batch[0].is_single:
            size += len(self._queue[0].row)
            if size > limits.shared_bytes_max or self._queue[0].is_single:
                break
            batch.append(self._queue.popleft())
        return sorted(batch, key=lambda queued: queued.chat_id)

    async def _write(self, batch: list[_Queued], tries: int = 0) -> None:
        """Set the outcome of each append, or retry it by itself. `tries` is the round, from 0."""
        try:
            await self._try(batch, tries)
        except asyncio.CancelledError:  # the store is being closed
            for queued in batch:
                queued.outcome.cancel()
            raise

    async def _try(self, batch: list[_Queued], tries: int) -> None:
        batch = [queued for queued in batch if not queued.outcome.done()]  # not those whose callers were cancelled
        if not batch:
            return
        timeouts = self._limits.lock_timeouts
        try:
            statement = SQL["append_counting" if any(queued.is_counting for queued in batch) else "append"]
            document = document_of([queued.row for queued in batch])
            rows = await self._pool.write_once(statement, document, timeouts[tries])
        except Exception as error:
            if isinstance(error, RowLocked) and tries + 1 < len(timeouts):
                for queued in batch:
                    self._start_single(queued, tries + 1)
                return
            if isinstance(error, MISTAKES) and len(batch) > 1:
                for queued in batch:  # nothing was written, and only one of them is wrong
                    await self._try([queued], tries)
                return
            for queued in batch:
                queued.fail(error)
            if isinstance(error, Unavailable | OutcomeUnknown) and not isinstance(error, RowLocked):
                self._fail_overdue()
            return
        for queued, (_, outcome) in zip(batch, sorted(rows), strict=True):
            if not queued.outcome.done():
                queued.outcome.set_result(outcome)

    def _start_single(self, queued: _Queued, tries: int) -> None:
        task = asyncio.create_task(self._write_single(queued, tries))
        self._singles.add(task)
        task.add_done_callback(self._singles.discard)

    async def _write_single(self, queued: _Queued, tries: int) -> None:
        async with self._single_slots[tries]:
            if time.monotonic() - queued.since < self._timing.append_retry_s:
                await self._write([queued], tries)
            else:
                queued.fail(RowLocked())

    def _fail_overdue(self) -> None:
        """The database is down: fail the queued appends that have waited for `wait_s`."""
        overdue = time.monotonic() - self._timing.wait_s
        while self._queue and self._queue[0].since <= overdue:
            self._queue.popleft().fail(Unavailable("the database does not answer"))
