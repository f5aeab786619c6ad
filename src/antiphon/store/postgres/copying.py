"""A PostgreSQL database as the source or the target of a copy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from antiphon.errors import Unavailable
from antiphon.postgres.address import read_address
from antiphon.postgres.connection import CONNECT_S, Connection, first_deadline, wait_connected
from antiphon.postgres.requirements import check_server
from antiphon.store.postgres.failures import translate_errors
from antiphon.store.postgres.schema import check_schema, migrate
from antiphon.store.postgres.text import clean_text
from antiphon.store.statements import load_statements
from antiphon.store.tables import BATCH_ROWS, CHATS, EXPIRED_AT, FACTS, LEASES, Table, select

_SQL = load_statements("postgres")

PREFETCHED_CHUNKS = 8
"""Maximum number of chunks of a file that are in memory during a copy."""

_AS_SQLITE = {"labels": "labels::TEXT"}


class _Kind(msgspec.Struct):
    type: str


class _State(msgspec.Struct):
    status: str = "waiting"


@asynccontextmanager
async def open_postgres_source(url: str) -> AsyncIterator[PostgresSource]:
    """A snapshot of the database."""
    async with _connected(url) as connection:
        await check_schema(connection)
        await _check_unused(connection)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield PostgresSource(connection)


@asynccontextmanager
async def open_postgres_target(url: str) -> AsyncIterator[PostgresTarget]:
    """The database, migrated. The added rows are committed when the context exits without an error."""
    async with _connected(url) as connection:
        await migrate(connection)
        await _check_unused(connection)
        async with connection.transaction():
            await connection.execute("LOCK TABLE owners, chats IN SHARE ROW EXCLUSIVE MODE")
            yield PostgresTarget(connection)
        await connection.execute("ANALYZE")


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connection]:
    address = read_address(url).for_sessions
    connection = await wait_connected(address, first_deadline(address))
    try:
        with translate_errors(address):
            await check_server(connection)
            yield connection
    finally:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=CONNECT_S)


async def _check_unused(connection: Connection) -> None:
    present = [row["instance_id"] for row in await connection.fetch(_SQL["instances"]) if row["is_present"]]
    if present:
        raise Unavailable(f"{len(present)} instance(s) run on the database ({', '.join(present)}): stop them first")


class PostgresSource:
    """Keeps the promises of `copying.Source`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def batches(self, table: Table) -> AsyncIterator[list[Sequence[Any]]]:
        cursor = await self._connection.cursor(select(table, _AS_SQLITE))
        while batch := await cursor.fetch(BATCH_ROWS):
            yield [tuple(row) for row in batch]

    async def file_pieces(self, file_id: str) -> AsyncIterator[bytes]:
        async for row in self._connection.cursor(_SQL["file_chunks"], file_id, prefetch=PREFETCHED_CHUNKS):
            yield row[0]


class PostgresTarget:
    """Keeps the promises of `copying.Target`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def is_empty(self) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM chats) OR EXISTS (SELECT 1 FROM owners)"
        return not await self._connection.fetchval(query)

    async def add(self, table: Table, rows: list[Sequence[Any]]) -> None:
        records, more = [_record(table, row) for row in rows], tuple(_MORE.get(table.name, {}))
        await self._connection.copy_records_to_table(table.name, records=records, columns=(*table.columns, *more))

    async def add_file_piece(self, file_id: str, number: int, piece: bytes) -> None:
        await self._connection.execute(_SQL["copy_file_chunk"], file_id, number, piece)


_MORE: dict[str, dict[str, Any]] = {
    CHATS.name: {"status": lambda row: msgspec.json.decode(row["state"], type=_State).status, "changed": lambda _: 0},
    FACTS.name: {"kind": lambda row: msgspec.json.decode(row["body"], type=_Kind).type},
    LEASES.name: {"ends_at": lambda _: EXPIRED_AT},
}
"""Columns that only PostgreSQL has, and how they are computed from a row."""


def _record(table: Table, row: Sequence[Any]) -> tuple[Any, ...]:
    values = dict(zip(table.columns, row, strict=True))
    more = [make(values) for make in _MORE.get(table.name, {}).values()]
    if "labels" in values:
        values["labels"] = _labels_json(msgspec.json.decode(values["labels"]))
    for name, value in values.items():
        if name in table.flags:
            values[name] = bool(value)
        elif isinstance(value, str):
            values[name] = clean_text(value)
    return (*values.values(), *more)


def _labels_json(labels: dict[str, str]) -> str:
    """The labels as jsonb, which cannot store NUL."""
    return msgspec.json.encode({clean_text(key): clean_text(value) for key, value in labels.items()}).decode()
