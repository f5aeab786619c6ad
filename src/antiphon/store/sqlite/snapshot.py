"""Copies a SQLite database that may be in use: one moment of it, without blocking its writer."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from antiphon.errors import Invalid, Unavailable
from antiphon.store.migrate import SCHEMA_VERSION, schema_version
from antiphon.store.sqlite.database import BUSY_TIMEOUT_MS
from antiphon.store.sqlite.writer import translated

STEP_PAGES = 2048
"""Number of pages that are copied between two reports of the progress: 8 MiB."""


def open_for_reading(path: Path) -> apsw.Connection:
    """A connection that only reads; the database may be in use. The caller closes it.

    Raises:
        Invalid: There is no database.
        Unavailable: It is of a newer version, or cannot be read.
        OSError: The process may not read it.
    """
    if not path.exists():
        raise Invalid("--data", f"there is no database in {path.parent}")
    path.open("rb").close()  # the system's own reason, which SQLite does not give
    with sqlite_errors():
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        found = schema_version(connection)
    if found > SCHEMA_VERSION:
        connection.close()
        raise Unavailable(
            f"the database has schema version {found}, this Antiphon knows {SCHEMA_VERSION}: use a newer Antiphon"
        )
    return connection


def copy_snapshot(source: Path, target: Path, on_progress: Callable[[int, int], None]) -> None:
    """Copy the database as it is now to the new file `target`.

    All pages are read in one read transaction, so the copy is one moment, and a writer is not blocked: in WAL mode
    readers and the writer do not wait for each other. Meanwhile the write-ahead log can only grow. (Without the
    transaction, SQLite's backup would restart from the first page after every commit of another process.)

    Args:
        source: The database; it may be in use.
        target: The copy. Its durability is up to the caller.
        on_progress: Called with the number of copied bytes, and of all bytes.

    Raises:
        Unavailable: One of the files cannot be read or written.
        OSError: The disk of the copy is full.
    """
    target.touch(mode=0o600, exist_ok=False)
    try:
        with closing(open_for_reading(source)) as reading, closing(apsw.Connection(str(target))) as writing:
            writing.pragma("synchronous", "off")
            page_bytes = int(reading.pragma("page_size"))
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # the moment of the copy
            with writing.backup("main", reading, "main") as backup:
                while not backup.done:
                    backup.step(STEP_PAGES)
                    copied = backup.page_count - backup.remaining
                    on_progress(copied * page_bytes, backup.page_count * page_bytes)
            reading.execute("ROLLBACK")
    except apsw.FullError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
    except apsw.Error as error:
        raise translated(error) from error


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """The errors of SQLite as the store's own."""
    try:
        yield
    except apsw.Error as error:
        raise translated(error) from error
