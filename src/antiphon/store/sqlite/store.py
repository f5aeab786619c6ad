"""The store in one SQLite file: WAL, synchronous=FULL, one writing thread, a few reading ones. The bytes of uploaded
files are in a folder beside it.

One process owns the file (the data directory's lock). An acknowledged write is on the disk.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from antiphon.ports import Clock, FileBytes
from antiphon.store.sqlite.access import SqliteAccess
from antiphon.store.sqlite.chats import SqliteChats
from antiphon.store.sqlite.configuration import SqliteConfiguration
from antiphon.store.sqlite.database import open_connection
from antiphon.store.sqlite.files import SqliteFiles
from antiphon.store.sqlite.inbox import SqliteInbox
from antiphon.store.sqlite.leases import SqliteLeases
from antiphon.store.sqlite.shares import SqliteShares
from antiphon.store.sqlite.usage import SqliteUsage


async def open_sqlite_store(path: Path, *, clock: Clock, file_storage: FileBytes | None = None) -> SqliteStore:
    """Open the database at `path`, which is created or migrated to this version. The bytes of files are in
    `file_storage`, by default in a folder beside the database.

    Raises:
        Unavailable: The file cannot be used, or is of a newer version.
    """
    connection, change = await asyncio.to_thread(open_connection, path)
    return SqliteStore(path, connection, clock, change=change, file_storage=file_storage)


class SqliteStore(
    SqliteChats, SqliteLeases, SqliteAccess, SqliteInbox, SqliteConfiguration, SqliteFiles, SqliteUsage, SqliteShares
):
    """Keeps the promises of `ports.Store`."""

    is_shared = False
