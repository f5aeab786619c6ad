"""Copies a store into another one, row by row. Seqs, ids and receipts are unchanged, so cursors and tokens remain
valid.

The copy is one transaction: if it fails, the target remains empty. Leases are copied as expired, because no instance
runs their attempts any more; the first instance on the target records them as lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.store.postgres.copying import open_postgres_source, open_postgres_target
from antiphon.store.sqlite.copying import open_sqlite_source, open_sqlite_target
from antiphon.store.tables import TABLES, Table
from antiphon.store.url import sqlite_path

Progress = Callable[[str, int], None]


class Source(Protocol):
    """A snapshot of a store that is not in use."""

    def batches(self, table: Table) -> AsyncIterator[list[Sequence[Any]]]:
        """The rows of a table in batches; the values are in the order of its columns."""
        ...


class Target(Protocol):
    """A store that is not in use."""

    async def is_empty(self) -> bool: ...

    async def add(self, table: Table, rows: list[Sequence[Any]]) -> None: ...


class Copied(Value):
    """How many rows of each table were copied."""

    rows: dict[str, int]


async def copy_store(source: str, target: str, on_progress: Progress) -> Copied:
    """Copy a store.

    Args:
        source: The URL of the store to copy (see `url.py`).
        target: The URL of an empty store.
        on_progress: Called with a table's name and the number of rows copied so far.

    Raises:
        Invalid: The target is not empty, or a URL is wrong.
        Unavailable: One of the stores does not work, or is in use.
    """
    counts = {table.name: 0 for table in TABLES}
    async with _open_source(source) as rows, _open_target(target) as into:
        if not await into.is_empty():
            raise Invalid("--to", "it contains chats or owners; a store is copied into an empty one only")
        for table in TABLES:
            async for batch in rows.batches(table):
                await into.add(table, batch)
                counts[table.name] += len(batch)
                on_progress(table.name, counts[table.name])
    return Copied(rows=counts)


def _open_source(url: str) -> AbstractAsyncContextManager[Source]:
    path = sqlite_path(url)
    return open_sqlite_source(path) if path else open_postgres_source(url)


def _open_target(url: str) -> AbstractAsyncContextManager[Target]:
    path = sqlite_path(url)
    return open_sqlite_target(path) if path else open_postgres_target(url)
