"""A pool of connections to PostgreSQL, and what is done when one is lost: what may be repeated is, an append is not.

A restart of the database is a pause for everybody: whoever asks meanwhile waits for a connection, but not for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
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
    WAIT_S,
    Connection,
    settings_sql,
    wait_connected,
)
from antiphon.postgres.failures import LOST, failure_text

STATEMENT_S = 30.0
"""A statement that takes longer is given up, its connection with it: nobody may be at the other end."""

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""`default_transaction_isolation` would only change the next transaction."""

_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""Rolled back by the database, to be asked again."""

_SWITCHED = asyncpg.ReadOnlySQLTransactionError
"""Nothing was written: the server is a standby now, and another one can be written to."""

MISTAKES = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
"""What only a mistake of this program brings about. Any other error is the database's; nothing was written then."""

_UNTEXTUAL = re.compile("[\0\ud800-\udfff]")


class RowLocked(Unavailable):
    """Somebody holds a row for longer than the statement may wait. Nothing was written."""


class Pool:
    """At most `size` connections, made when they are needed. Every statement is a transaction of its own; where a
    pooler in transaction mode is between (`is_pooled`), one that is opened and closed by name, with the settings.

    `last_error` is how the last write failed, None since one went well.
    """

    def __init__(self, address: Address, *, size: int, is_pooled: bool = False) -> None:
        assert size > 0
        self._address = address
        self._begin = f"{BEGIN}; {settings_sql(address, is_local=True)}" if is_pooled else ""
        self._turns = asyncio.Semaphore(size)
        self._free: list[Connection] = []
        self._uses: set[asyncio.Task[list[Any]]] = set()
        self._is_closed = False
        self.last_error: str | None = None

    async def aclose(self) -> None:
        """Let what is under way end, then close the connections."""
        self._is_closed = True
        if self._uses:
            await asyncio.wait(self._uses, timeout=CONNECT_S)
        for use in tuple(self._uses):
            use.cancel()
        free, self._free = self._free, []
        for connection in free:
            with contextlib.suppress(*LOST, TimeoutError):
                await connection.close(timeout=CONNECT_S)

    # --- statements

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        """What a question is answered; asked again over another connection if need be."""
        return await self._repeat(sql, _clean(values))

    async def row(self, sql: str, *values: Any) -> Any:
        """The first row, None if there is none."""
        rows = await self._repeat(sql, _clean(values))
        return rows[0] if rows else None

    async def write(self, sql: str, *values: Any, wait_s: float | None = None) -> list[Any]:
        """A write that does no harm when it is done twice."""
        with self._noted():
            return await self._repeat(sql, _clean(values), wait_s=wait_s)

    async def write_once(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a write that is not repeated unasked. Raises `OutcomeUnknown` when its answer was lost,
        `Unavailable` (`RowLocked`, it may be) when nothing was written."""
        with self._noted():
            return await self._repeat(sql, _clean(values), is_once=True)

    async def _repeat(
        self, sql: str, values: Sequence[Any], *, is_once: bool = False, wait_s: float | None = None
    ) -> list[Any]:
        deadline = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
        reason = "transactions of others are always first"
        while True:
            await self._wait_turn(deadline)
            use = asyncio.create_task(self._use(sql, values, deadline))
            self._uses.add(use)
            use.add_done_callback(self._end_use)
            try:
                return await asyncio.shield(use)  # whoever is cancelled leaves a sound connection behind
            except _AGAIN:
                pass
            except _SWITCHED as error:
                self._drop_free()
                if time.monotonic() >= deadline:
                    raise Unavailable(f"the database cannot be written to: {self._words(error)}") from error
            except (*LOST, TimeoutError) as error:
                if is_once:
                    raise OutcomeUnknown(f"a write's answer was lost: {self._words(error)}") from None
                reason = self._words(error)
            except MISTAKES:
                raise
            except asyncpg.LockNotAvailableError:
                raise RowLocked("somebody holds a row of the database for too long") from None
            except asyncpg.PostgresError as error:
                raise Unavailable(f"the database does not work: {self._words(error)}") from error
            if time.monotonic() >= deadline:
                raise Unavailable(f"the database does not answer: {reason}")
            await asyncio.sleep(random.uniform(0, PAUSE_MIN_S))

    async def _use(self, sql: str, values: Sequence[Any], deadline: float) -> list[Any]:
        """One statement over one connection, which is given up unless the database itself has answered."""
        connection = await self._take(deadline)
        is_sound = False
        try:
            rows = await self._ask(connection, sql, values)
            is_sound = True
            return rows
        except (*LOST, _SWITCHED):
            raise
        except asyncpg.PostgresError:
            is_sound = True
            raise
        finally:
            if is_sound and not self._is_closed and not connection.is_closed() and not connection.is_in_transaction():
                self._free.append(connection)
            else:
                connection.terminate()

    def _end_use(self, use: asyncio.Task[list[Any]]) -> None:
        self._uses.discard(use)
        self._turns.release()
        if not use.cancelled():
            use.exception()  # it is the caller's, who may be gone

    async def _ask(self, connection: Connection, sql: str, values: Sequence[Any]) -> list[Any]:
        async with asyncio.timeout(STATEMENT_S):
            if self._begin:
                return await self._ask_in_transaction(connection, sql, values)
            rows: list[Any] = await connection.fetch(sql, *values)
            return rows

    async def _ask_in_transaction(self, connection: Connection, sql: str, values: Sequence[Any]) -> list[Any]:
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
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except RowLocked:
            raise  # the database works
        except (Unavailable, OutcomeUnknown) as error:
            self.last_error = reason_of(error)
            raise
        self.last_error = None

    # --- connections

    async def _wait_turn(self, deadline: float) -> None:
        if self._is_closed:
            raise Unavailable("the store is closed")
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.001)):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable("all connections to the database are busy") from None

    async def _take(self, deadline: float) -> Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        return await wait_connected(self._address, deadline, is_pooled=bool(self._begin))

    def _drop_free(self) -> None:
        """The connections that are not in use lead to the wrong server."""
        free, self._free = self._free, []
        for connection in free:
            connection.terminate()

    def _words(self, error: BaseException) -> str:
        return failure_text(error, self._address.password)


def _clean(values: Sequence[Any]) -> list[Any]:
    """What PostgreSQL cannot hold as text is replaced by U+FFFD."""
    return [_clean_value(value) for value in values]


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list | tuple):
        return [_clean_value(item) for item in value]
    return value


def clean_text(text: str) -> str:
    return text if "\0" not in text and _is_unicode(text) else _UNTEXTUAL.sub("\ufffd", text)


def _is_unicode(text: str) -> bool:
    """Whether it has no lone surrogates: to encode a long text takes far less time than a search in it."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True
