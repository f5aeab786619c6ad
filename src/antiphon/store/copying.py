"""Everything of one store into another, row by row: seqs, ids and receipts stay, so cursors and tokens go on to work.

All is written in one transaction: a copy that fails leaves the target as empty as it was. Leases are copied as ended:
nobody runs their attempts any more, and the first instance on the target finds them lost.
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
    """A store that nobody writes, as it is at one moment."""

    def batches(self, table: Table) -> AsyncIterator[list[Sequence[Any]]]:
        """The rows of a table in its columns' order, a batch at a time."""
        ...


class Target(Protocol):
    """A store that nobody uses."""

    async def is_empty(self) -> bool: ...

    async def add(self, table: Table, rows: list[Sequence[Any]]) -> None: ...


class Copied(Value):
    """How many rows of each table were copied."""

    rows: dict[str, int]


async def copy_store(source: str, target: str, on_progress: Progress) -> Copied:
    """Copy `source` to `target` (places as in `place`). Raises `Invalid` if the target is not empty, `Unavailable` if
    one of them does not work or is in use."""
    counts = {table.name: 0 for table in TABLES}
    async with _open_source(source) as rows, _open_target(target) as into:
        if not await into.is_empty():
            raise Invalid("--to", "there are chats or owners in it already; a store is copied into an empty one only")
        for table in TABLES:
            async for batch in rows.batches(table):
                await into.add(table, batch)
                counts[table.name] += len(batch)
                on_progress(table.name, counts[table.name])
    return Copied(rows=counts)


def _open_source(place: str) -> AbstractAsyncContextManager[Source]:
    path = sqlite_path(place)
    return open_sqlite_source(path) if path else open_postgres_source(place)


def _open_target(place: str) -> AbstractAsyncContextManager[Target]:
    path = sqlite_path(place)
    return open_sqlite_target(path) if path else open_postgres_target(place)
