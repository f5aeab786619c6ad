"""A pool of connections to PostgreSQL that repeats a statement when a connection is lost, unless it is an append.

During a restart of the database every caller waits for a connection, for `StoreTiming.wait_s` at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg

from antiphon.errors import Unavailable, reason_of
from antiphon.ports import OutcomeUnknown
from antiphon.postgres.address import Address
from antiphon.postgres.connection import (
    CONNECT_S,
    PAUSE_MIN_S,
    Connection,
    settings_sql,
    wait_connected,
)
from antiphon.postgres.failures import LOST, failure_text
from antiphon.store.postgres.text import clean_values
from antiphon.store.postgres.timing import StoreTiming

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Not by `default_transaction_isolation`, which applies to the next transaction only."""

_ROLLED_BACK = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""The database rolled the transaction back; it is repeated."""

_SWITCHED = asyncpg.ReadOnlySQLTransactionError
"""Nothing was written: this server became a standby, and another one accepts writes."""

MISTAKES = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
"""Errors that only a mistake in this program causes. Any other one is the database's; nothing was written then."""


class RowLocked(Unavailable):
    """Another session locks a row for longer than the statement may wait. Nothing was written."""

    def __init__(self) -> None:
        super().__init__("another session locks a row of the database for too long")


class Pool:
    """At most `size` connections, opened when they are needed. Every statement is its own transaction. Behind a
    pooler in transaction mode (`is_pooled`) it is an explicit one that begins with the settings.

    `last_error` is the error of the last write, None if it succeeded.
    """

    def __init__(
        self,
        address: Address,
        *,
        size: int,
        is_pooled: bool = False,
        timing: StoreTiming = StoreTiming(),  # noqa: B008 - a value
    ) -> None:
        assert size > 0
        self._address = address
        self._timing = timing
        self._begin = f"{BEGIN}; {settings_sql(address, is_local=True)}" if is_pooled else ""
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._running: set[asyncio.Task[list[Any]]] = set()
        self._is_closed = False
        self.last_error: str | None = None

    async def aclose(self) -> None:
        """Wait for the statements under way, then close the connections."""
        self._is_closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=CONNECT_S)
        for statement in tuple(self._running):
            statement.cancel()
        idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(*LOST, TimeoutError):
                await connection.close(timeout=CONNECT_S)

    # --- statements

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a query, which is repeated over another connection if one is lost."""
        return await self._repeat(sql, clean_values(values))

    async def row(self, sql: str, *values: Any) -> Any:
        """The first row of a query, None if it has none."""
        rows = await self._repeat(sql, clean_values(values))
        return rows[0] if rows else None

    async def write(self, sql: str, *values: Any, wait_s: float | None = None) -> list[Any]:
        """The rows of a write that is idempotent: it is repeated like a query. `wait_s` replaces the timing's own."""
        with self._tracked_error():
            return await self._repeat(sql, clean_values(values), wait_s=wait_s)

    async def write_once(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a write that is never repeated here.

        Raises:
            OutcomeUnknown: The answer was lost.
            Unavailable: Nothing was written. `RowLocked`: because another session locks a row.
        """
        with self._tracked_error():
            return await self._repeat(sql, clean_values(values), is_once=True)

    async def _repeat(
        self, sql: str, values: Sequence[Any], *, is_once: bool = False, wait_s: float | None = None
    ) -> list[Any]:
        deadline = time.monotonic() + (self._timing.wait_s if wait_s is None else wait_s)
        reason = "concurrent transactions always came first"
        while True:
            await self._acquire_slot(deadline)
            statement = asyncio.create_task(self._run(sql, values, deadline))
            self._running.add(statement)
            statement.add_done_callback(self._on_done)
            try:
                return await asyncio.shield(statement)  # a cancelled caller leaves a usable connection
            except _ROLLED_BACK:
                pass
            except _SWITCHED as error:
                self._close_idle()
                if time.monotonic() >= deadline:
                    raise Unavailable(f"the database cannot be written to: {self._text_of(error)}") from error
            except (*LOST, TimeoutError) as error:
                if is_once:
                    raise OutcomeUnknown(f"a write's answer was lost: {self._text_of(error)}") from None
                reason = self._text_of(error)
            except MISTAKES:
                raise
            except asyncpg.LockNotAvailableError:
                raise RowLocked from None
            except asyncpg.PostgresError as error:
                raise Unavailable(f"the database does not work: {self._text_of(error)}") from error
            if time.monotonic() >= deadline:
                raise Unavailable(f"the database does not answer: {reason}")
            await asyncio.sleep(random.uniform(0, PAUSE_MIN_S))

    async def _run(self, sql: str, values: Sequence[Any], deadline: float) -> list[Any]:
        """Run one statement over one connection. The connection is closed unless the database answered."""
        connection = await self._connection(deadline)
        is_usable = False
        try:
            rows = await self._fetch(connection, sql, values)
            is_usable = True
            return rows
        except (*LOST, _SWITCHED):
            raise
        except asyncpg.PostgresError:
            is_usable = True
            raise
        finally:
            if is_usable and not self._is_closed and _is_idle(connection):
                self._idle.append(connection)
            else:
                connection.terminate()

    def _on_done(self, statement: asyncio.Task[list[Any]]) -> None:
        self._running.discard(statement)
        self._slots.release()
        if not statement.cancelled():
            statement.exception()  # the caller handles it, or was cancelled

    async def _fetch(self, connection: Connection, sql: str, values: Sequence[Any]) -> list[Any]:
        async with asyncio.timeout(self._timing.statement_s):
            if self._begin:
                return await self._fetch_in_transaction(connection, sql, values)
            rows: list[Any] = await connection.fetch(sql, *values)
            return rows

    async def _fetch_in_transaction(self, connection: Connection, sql: str, values: Sequence[Any]) -> list[Any]:
        try:
            await connection.execute(self._begin)
            rows: list[Any] = await connection.fetch(sql, *values)
        except LOST:
            raise
        except asyncpg.PostgresError:
            await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return rows

    @contextlib.contextmanager
    def _tracked_error(self) -> Iterator[None]:
        """Keep the error of a write as `last_error`."""
        try:
            yield
        except RowLocked:
            raise  # the database itself works
        except (Unavailable, OutcomeUnknown) as error:
            self.last_error = reason_of(error)
            raise
        self.last_error = None

    # --- connections

    async def _acquire_slot(self, deadline: float) -> None:
        if self._is_closed:
            raise Unavailable("the store is closed")
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.001)):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable("all connections to the database are busy") from None

    async def _connection(self, deadline: float) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await wait_connected(self._address, deadline, is_pooled=bool(self._begin))

    def _close_idle(self) -> None:
        """Close the idle connections: they lead to the wrong server."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    def _text_of(self, error: BaseException) -> str:
        return failure_text(error, self._address.password)


def _is_idle(connection: Connection) -> bool:
    return not connection.is_closed() and not connection.is_in_transaction()
