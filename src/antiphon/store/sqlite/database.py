"""The connections of a SQLite store: one thread that writes, a few that read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from antiphon.errors import Unavailable
from antiphon.ports import Clock, FileBytes
from antiphon.store.migrate import migrate
from antiphon.store.sqlite.database_files import DatabaseFiles
from antiphon.store.sqlite.writer import Writer, translated
from antiphon.store.statements import load_statements

READERS = 2
"""Number of reading threads."""
FILE_THREADS = 4
"""Maximum number of threads that read and write uploaded files. A slow disk delays neither the database nor the other
threads of the process."""
BUSY_TIMEOUT_MS = 5000
"""How long a statement waits for a lock of the file, in milliseconds."""
LOG_BYTES_MAX = 64 * 1024 * 1024
"""Size to which the write-ahead log is truncated after a checkpoint, in bytes."""

T = TypeVar("T")
SQL = load_statements("sqlite")


def open_connection(path: Path) -> tuple[apsw.Connection, int]:
    """The writing connection of the database at `path` (created or migrated), and the number of the last change.
    Raises `Unavailable`."""
    connection = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("foreign_keys", "on")
        connection.pragma("journal_size_limit", LOG_BYTES_MAX)
        migrate(connection)
        change_mark = int(first(connection, "change_mark")[0])
    except Exception as error:
        if connection is not None:
            connection.close()
        failure = Unavailable(f"{path.name}: {error.strerror}") if isinstance(error, OSError) else translated(error)
        if failure is error:
            raise
        raise failure from error
    return connection, change_mark


class SqliteDatabase:
    """An open database; the base of the parts of `SqliteStore`."""

    def __init__(
        self, path: Path, connection: apsw.Connection, clock: Clock, file_storage: FileBytes | None = None
    ) -> None:
        self.file_storage = file_storage
        self.clock = clock
        self._path = path
        self._connection = connection
        self._is_closed = False
        self._files = DatabaseFiles(path)
        self._writer = Writer(connection, check_files=self._files.check)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="antiphon-reader")
        self._file_threads = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="antiphon-files")
        self._local = threading.local()
        self._opened: list[apsw.Connection] = []

    async def aclose(self) -> None:
        self._is_closed = True
        await self._writer.aclose()
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._file_threads.shutdown)
        for connection in self._opened:
            connection.close()
        self._connection.close()

    @property
    def last_error(self) -> str | None:
        """The error of the last write, None if it succeeded (readiness); or that a file of the database was moved or
        removed, which is checked here."""
        return self._files.refresh() or self._writer.last_error

    async def check(self) -> None:
        now = self.clock.now_us()
        await self._writer.run(lambda connection: connection.execute(SQL["try_write"], (now,)))

    async def _read(self, job: Callable[[apsw.Connection], T]) -> T:
        """The result of `job` in a reading thread."""

        def work() -> T:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                self._files.check()  # the path may lead to another file now
                connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
                connection.set_busy_timeout(5000)
                self._local.connection = connection
                self._opened.append(connection)
            return job(connection)

        if self._is_closed:
            raise Unavailable("the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        except apsw.Error as error:
            failure = translated(error)
            if failure is error:
                raise
            raise failure from error

    async def _row(self, name: str, *values: Any) -> Any:
        return await self._read(lambda connection: first(connection, name, *values))

    async def _rows(self, name: str, *values: Any) -> list[Any]:
        return await self._read(lambda connection: list(connection.execute(SQL[name], values)))


def first(connection: apsw.Connection, name: str, *values: Any) -> Any:
    """The first row of the named statement, None if it has none."""
    return next(iter(connection.execute(SQL[name], values)), None)
