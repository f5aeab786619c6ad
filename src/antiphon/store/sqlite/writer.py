"""The one thread that writes to SQLite: it groups queued jobs into one commit, and reports results after the
commit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

import apsw

from antiphon.errors import Unavailable, reason_of
from antiphon.store.sqlite.database_files import FilesLost

GROUP_MAX = 256
"""Maximum number of jobs in one commit."""

QUEUE_MAX = 10_000
"""Maximum number of queued jobs; more are refused as unavailable."""

Job = Callable[[apsw.Connection], Any]
Item = tuple[Job, asyncio.Future[Any]]


class Writer:
    """`run(job)` calls `job(connection)` in the writing thread inside a transaction, and returns its result.

    If a job raises, the group is rolled back and each of its jobs is run in its own transaction, so that only that
    one fails. If the disk is full or damaged the caller gets `Unavailable` and nothing is written; the next job tries
    again. `last_error` is the disk's last failure, None once a commit succeeded.
    """

    def __init__(self, connection: apsw.Connection, *, check_files: Callable[[], None] = lambda: None) -> None:
        """`check_files` is called in the thread before and after each commit, and raises `Unavailable` if the commit
        would be lost."""
        self._connection = connection
        self._check_files = check_files
        self._queued: list[Item] = []
        self._count = 0
        self._groups: queue.SimpleQueue[list[Item] | None] = queue.SimpleQueue()
        self._is_closing = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="antiphon-writer", daemon=True)
        self._thread.start()
        self.last_error: str | None = None

    async def run(self, job: Job) -> Any:
        if self._is_closing:
            raise Unavailable("the store is closed")
        if self._count >= QUEUE_MAX:
            raise Unavailable("too many writes are queued")
        future = self._loop.create_future()
        if not self._queued:
            self._loop.call_soon(self._submit)
        self._queued.append((job, future))
        self._count += 1
        try:
            return await future
        finally:
            self._count -= 1

    def _submit(self) -> None:
        """Send all jobs of one turn of the event loop to the thread, so that they share a commit."""
        group, self._queued = self._queued, []
        if group:
            self._groups.put(group)

    async def aclose(self) -> None:
        """Write the queued jobs, then end the thread. Later jobs are refused."""
        self._is_closing = True
        self._submit()
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)

    # --- in the thread

    def _work(self) -> None:
        is_open = True
        while is_open:
            group = self._groups.get()
            while group is not None and len(group) < GROUP_MAX:
                try:
                    more = self._groups.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_open = False
                    break
                group = group + more
            if group is None:
                return
            for start in range(0, len(group), GROUP_MAX):
                self._report(self._commit(group[start : start + GROUP_MAX]))

    def _commit(self, group: list[Item]) -> list[tuple[asyncio.Future[Any], Any, Any]]:
        try:
            results = self._transaction([job for job, _ in group])
        except FilesLost as error:
            return [(future, None, error) for _, future in group]
        except Exception as error:
            if len(group) > 1:
                return [outcome for item in group for outcome in self._commit([item])]
            if isinstance(error, _FAILURES):
                self.last_error = reason_of(translated(error))
            return [(group[0][1], None, translated(error))]
        self.last_error = None
        return [(future, result, None) for (_, future), result in zip(group, results, strict=True)]

    def _transaction(self, jobs: list[Job]) -> list[Any]:
        connection = self._connection
        self._check_files()
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [job(connection) for job in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._check_files()
        return results

    def _report(self, outcomes: list[tuple[asyncio.Future[Any], Any, Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(_deliver, outcomes)
        except RuntimeError:
            return  # the loop is closed: no caller waits for the outcome


def _deliver(outcomes: list[tuple[asyncio.Future[Any], Any, Any]]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


_FAILURES = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.CantOpenError,
    apsw.NoMemError,
    apsw.CorruptError,
    apsw.NotADBError,
)
"""Failures of the disk or the file, not of the job."""


def translated(error: Exception) -> Exception:
    """SQLite's failures as the store's own errors. A failed commit was rolled back, so nothing of it is written."""
    if isinstance(error, apsw.FullError):
        unavailable = Unavailable("the disk is full")
    elif isinstance(error, apsw.CorruptError | apsw.NotADBError):
        unavailable = Unavailable("the file is not a sound database; see `antiphon doctor`")
    elif isinstance(error, _FAILURES):
        reason = str(error).partition(": ")[2] or str(error) or "SQLite gave no reason"
        unavailable = Unavailable(f"the database does not work: {reason}")
    else:
        return error
    unavailable.__cause__ = error
    return unavailable
