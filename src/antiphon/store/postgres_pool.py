"""Connections to PostgreSQL, and what is done when one is lost: what may be repeated is, an append is not.

A restart of the database is a pause for everybody: whoever asks meanwhile waits for a connection, but not for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from antiphon.errors import Invalid, Unavailable
from antiphon.ports import OutcomeUnknown

WAIT_S = 10.0
"""So long a caller waits for a database that does not answer."""

CONNECT_S = 5.0
STATEMENT_S = 30.0
"""A statement that takes longer is given up, its connection with it: nobody may be at the other end."""

PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 0.5
"""Between two tries to connect."""

SETTINGS = {
    "application_name": "antiphon",
    "default_transaction_isolation": "read committed",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""Statements are made for their one plan (with 200,000 chats a page of messages then takes 0.7 ms in place of 8). A
client whose machine is gone is noticed within some ten seconds, and its locks are freed."""

DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
"""Acknowledged means durable, whatever the database's own default is."""

_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
)
"""The connection is gone, or goes: the server stops, starts, or was killed."""

_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""Rolled back by the database, to be asked again."""

_OURS = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
"""What only a mistake of this program brings about. Any other error is the database's; nothing was written then."""

_HOPELESS = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
)
"""Trying to connect again would not help."""

_UNTEXTUAL = re.compile("[\0\ud800-\udfff]")

Connection: TypeAlias = Any
"""An `asyncpg.Connection`: that package has no types."""


def check_url(url: str) -> str:
    """The URL of a PostgreSQL database. Raises `Invalid`, without quoting it: it may hold a password."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("postgresql", "postgres") and (parts.port is None or parts.port > 0)
    except ValueError:
        is_right = False
    if not is_right:
        raise Invalid("store", "it must look like postgresql://user@host:5432/database, or sqlite:PATH")
    return url


def place_of(url: str) -> str:
    """The URL without its password and options, as it may be shown."""
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{user}{host}{parts.path}"


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """The database's failures, in the middle of what one connection does, as `Unavailable`."""
    try:
        yield
    except (*_LOST, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable(f"the database does not work ({type(error).__name__})") from error


async def connect(url: str, timeout_s: float = CONNECT_S) -> Connection:
    """A new connection. Raises what asyncpg does, and `Unavailable` where another try would not help."""
    try:
        connection = await asyncpg.connect(url, timeout=timeout_s, server_settings=SETTINGS)
    except _HOPELESS as error:
        raise Unavailable(f"the database refuses the connection ({type(error).__name__})") from None
    except (ValueError, TypeError):
        raise Unavailable("the database's URL cannot be understood") from None
    try:
        await connection.execute(DURABLE)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def wait_connected(url: str, deadline: float) -> Connection:
    """A new connection, however often that takes. Raises `Unavailable` at the deadline (monotonic)."""
    while True:
        try:
            return await connect(url, min(CONNECT_S, max(deadline - time.monotonic(), 0.001)))
        except (*_LOST, asyncpg.PostgresError, TimeoutError) as error:
            pause = random.uniform(PAUSE_MIN_S, PAUSE_MAX_S)
            if time.monotonic() + pause >= deadline:
                raise Unavailable(f"the database does not answer ({type(error).__name__})") from None
        await asyncio.sleep(pause)


class Pool:
    """At most `size` connections, made when they are needed. Every statement is a transaction of its own.

    `last_error` is the kind of the last write's failure, None since one went well.
    """

    def __init__(self, url: str, *, size: int) -> None:
        assert size > 0
        self._url = url
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
            with contextlib.suppress(*_LOST, TimeoutError):
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

    async def write_once(self, sql: str, *values: Any) -> Any:
        """The first row of a write that is not repeated unasked. Raises `OutcomeUnknown` when its answer was lost,
        `Unavailable` when nothing was written."""
        with self._noted():
            return (await self._repeat(sql, _clean(values), is_once=True))[0]

    async def _repeat(
        self, sql: str, values: Sequence[Any], *, is_once: bool = False, wait_s: float | None = None
    ) -> list[Any]:
        deadline = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
        while True:
            await self._wait_turn(deadline)
            use = asyncio.create_task(self._use(sql, values, deadline))
            self._uses.add(use)
            use.add_done_callback(self._end_use)
            try:
                return await asyncio.shield(use)  # whoever is cancelled leaves a sound connection behind
            except _AGAIN:
                pass
            except (*_LOST, TimeoutError) as error:
                if is_once:
                    raise OutcomeUnknown(type(error).__name__) from None
            except _OURS:
                raise
            except asyncpg.PostgresError as error:
                raise Unavailable(f"the database does not work ({type(error).__name__})") from error
            if time.monotonic() >= deadline:
                raise Unavailable("the database does not answer")
            await asyncio.sleep(random.uniform(0, PAUSE_MIN_S))

    async def _use(self, sql: str, values: Sequence[Any], deadline: float) -> list[Any]:
        """One statement over one connection, which is given up unless the database itself has answered."""
        connection = await self._take(deadline)
        is_sound = False
        try:
            rows = await self._ask(connection, sql, values)
            is_sound = True
            return rows
        except _LOST:
            raise
        except asyncpg.PostgresError:
            is_sound = True
            raise
        finally:
            if is_sound and not self._is_closed and not connection.is_closed():
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
            rows: list[Any] = await connection.fetch(sql, *values)
            return rows

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (Unavailable, OutcomeUnknown) as error:
            cause = error.__cause__
            self.last_error = type(cause).__name__ if cause else type(error).__name__
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
        return await wait_connected(self._url, deadline)


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
    return text if text.isascii() and "\0" not in text else _UNTEXTUAL.sub("\ufffd", text)
