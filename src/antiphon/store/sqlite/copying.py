"""A SQLite database as the source or the target of a copy. The data directory is claimed during the copy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from antiphon.errors import Invalid, Unavailable
from antiphon.local.lock import claim_data
from antiphon.ports import FILE_PIECE_BYTES
from antiphon.store.migrate import SCHEMA_VERSION, migrate, schema_version
from antiphon.store.sqlite.file_bytes import FOLDER, read_piece, sync_parts, write_piece
from antiphon.store.sqlite.writer import translated
from antiphon.store.tables import BATCH_ROWS, CHATS, EXPIRED_AT, LEASES, Table, select


@asynccontextmanager
async def open_sqlite_source(path: Path) -> AsyncIterator[SqliteSource]:
    if not path.exists():
        raise Invalid("--from", f"there is no database {path}")
    with claim_data(path.parent, instance_id="migrate"):
        try:
            with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
                found = schema_version(connection)
                if found != SCHEMA_VERSION:
                    raise Unavailable(
                        f"{path.name} has schema version {found}, not {SCHEMA_VERSION}: run `antiphon migrate` on it"
                    )
                yield SqliteSource(connection, path.parent / FOLDER)
        except apsw.Error as error:
            raise translated(error) from error


class SqliteSource:
    """Keeps the promises of `copying.Source`."""

    def __init__(self, connection: apsw.Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder

    async def batches(self, table: Table) -> AsyncIterator[list[Sequence[Any]]]:
        rows = self._connection.execute(select(table, {}))
        while batch := list(islice(rows, BATCH_ROWS)):
            yield batch

    async def file_pieces(self, file_id: str) -> AsyncIterator[bytes]:
        offset = 0
        while piece := read_piece(self._folder, file_id, offset, FILE_PIECE_BYTES):
            yield piece
            offset += len(piece)


@asynccontextmanager
async def open_sqlite_target(path: Path) -> AsyncIterator[SqliteTarget]:
    with claim_data(path.parent, instance_id="migrate"):
        path.touch(mode=0o600)
        try:
            with closing(apsw.Connection(str(path))) as connection:
                connection.pragma("journal_mode", "wal")
                connection.pragma("synchronous", "full")
                migrate(connection)
                with connection:
                    yield (target := SqliteTarget(connection, path.parent / FOLDER))
                    target.sync_files()
        except apsw.Error as error:
            raise translated(error) from error


class SqliteTarget:
    """Keeps the promises of `copying.Target`."""

    def __init__(self, connection: apsw.Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self._changed = 0

    async def is_empty(self) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM chats) OR EXISTS (SELECT 1 FROM owners)"
        return not next(iter(self._connection.execute(query)))[0]

    async def add(self, table: Table, rows: list[Sequence[Any]]) -> None:
        columns, values = list(table.columns), [list(row) for row in rows]
        if table is CHATS:
            columns.append("changed")
            for row in values:
                self._changed += 1
                row.append(self._changed)
        elif table is LEASES:
            columns.append("ends_at")
            for row in values:
                row.append(EXPIRED_AT)
        marks = ", ".join("?" * len(columns))
        self._connection.executemany(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", values)

    async def add_file_piece(self, file_id: str, number: int, piece: bytes) -> None:
        write_piece(self._folder, file_id, number * FILE_PIECE_BYTES, piece)

    def sync_files(self) -> None:
        """Make the bytes of all files durable, before their rows are committed."""
        sync_parts(self._folder)
