"""Copies a store into another one, row by row. Seqs, ids and receipts are unchanged, so cursors and tokens remain
valid.

The copy is one transaction: if it fails, the target remains empty. (The bytes of files that a failed copy leaves in a
data directory have no rows; the next start removes them.) Leases are copied as expired, because no instance
runs their attempts any more; the first instance on the target records them as lost.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from antiphon.core.values import Value
from antiphon.errors import Invalid, Unavailable
from antiphon.ports import FILE_PIECE_BYTES, FileBytes
from antiphon.store.objects.opening import ID_SETTING, PLACE_SETTING, open_file_storage
from antiphon.store.postgres.copying import open_postgres_source, open_postgres_target
from antiphon.store.sqlite.copying import open_sqlite_source, open_sqlite_target
from antiphon.store.tables import FILES, SETTINGS, TABLES, Table
from antiphon.store.url import sqlite_path

Progress = Callable[[str, int], None]


class Source(Protocol):
    """A snapshot of a store that is not in use."""

    def batches(self, table: Table) -> AsyncIterator[list[Sequence[Any]]]:
        """The rows of a table in batches; the values are in the order of its columns."""
        ...

    def file_pieces(self, file_id: str) -> AsyncIterator[bytes]:
        """The bytes of a file, in pieces of FILE_PIECE_BYTES; the last one may be smaller."""
        ...


class Target(Protocol):
    """A store that is not in use."""

    async def is_empty(self) -> bool: ...

    async def add(self, table: Table, rows: list[Sequence[Any]]) -> None: ...

    async def add_file_piece(self, file_id: str, number: int, piece: bytes) -> None:
        """Write a piece of a file, numbered from 0. It is durable when the copy is committed."""
        ...


class Copied(Value):
    """How many rows of each table were copied."""

    rows: dict[str, int]


async def copy_store(source: str, target: str, on_progress: Progress, *, files_to: str = "") -> Copied:
    """Copy a store. The place of its files, if that is apart from it, is recorded in it.

    Args:
        source: The URL of the store to copy (see `url.py`).
        target: The URL of an empty store.
        files_to: The place for the bytes of files; empty: in the target itself.
        on_progress: Called with a table's name and the number of rows copied so far.

    Raises:
        Invalid: The target is not empty, or a URL is wrong.
        Unavailable: One of the stores does not work, or is in use.
    """
    counts = {table.name: 0 for table in TABLES}
    from_storage, to_storage = None, await open_file_storage(files_to) if files_to else None
    async with _open_source(source) as rows, _open_target(target) as into:
        if not await into.is_empty():
            raise Invalid("--to", "it contains chats or owners; a store is copied into an empty one only")
        store_id = str(uuid.uuid4())
        if to_storage is not None:
            await to_storage.claim(store_id)
        for table in TABLES:
            async for batch in rows.batches(table):
                if table is SETTINGS:
                    found = next((str(value) for name, value in batch if name == PLACE_SETTING), "")
                    from_storage = await open_file_storage(found) if found else from_storage
                    batch = [row for row in batch if row[0] not in (PLACE_SETTING, ID_SETTING)]
                elif table is FILES:
                    await _copy_bytes(_Bytes(rows, into, from_storage, to_storage), batch)
                await into.add(table, batch)
                counts[table.name] += len(batch)
                on_progress(table.name, counts[table.name])
        if to_storage is not None:
            await into.add(SETTINGS, [(PLACE_SETTING, files_to), (ID_SETTING, store_id)])
    return Copied(rows=counts)


class _Bytes(NamedTuple):
    """Where the bytes of files are read and written: the stores, or places apart from them."""

    source: Source
    target: Target
    from_storage: FileBytes | None
    to_storage: FileBytes | None

    async def pieces(self, file_id: str) -> AsyncIterator[bytes]:
        if self.from_storage is None:
            async for piece in self.source.file_pieces(file_id):
                yield piece
            return
        offset = 0
        while piece := await self.from_storage.read_piece(file_id, offset, FILE_PIECE_BYTES):
            yield piece
            offset += len(piece)

    async def write(self, file_id: str, number: int, piece: bytes) -> None:
        if self.to_storage is None:
            await self.target.add_file_piece(file_id, number, piece)
        else:
            await self.to_storage.write_piece(file_id, number * FILE_PIECE_BYTES, piece)


async def _copy_bytes(places: _Bytes, files: list[Sequence[Any]]) -> None:
    """Copy the bytes of files, and check them.

    Raises:
        Unavailable: The bytes of a file are missing, or are not those that were uploaded.
    """
    for row in files:
        file_id, sha256 = row[FILES.columns.index("file_id")], row[FILES.columns.index("sha256")]
        digest, number, size = hashlib.sha256(), 0, 0
        async for piece in places.pieces(file_id):
            digest.update(piece)
            await places.write(file_id, number, piece)
            number, size = number + 1, size + len(piece)
        if places.to_storage is not None:
            await places.to_storage.complete(file_id, size)
        if digest.hexdigest() != sha256:
            raise Unavailable(f"the bytes of the file {file_id} are missing or damaged; see `antiphon doctor`")


def _open_source(url: str) -> AbstractAsyncContextManager[Source]:
    path = sqlite_path(url)
    return open_sqlite_source(path) if path else open_postgres_source(url)


def _open_target(url: str) -> AbstractAsyncContextManager[Target]:
    path = sqlite_path(url)
    return open_sqlite_target(path) if path else open_postgres_target(url)
