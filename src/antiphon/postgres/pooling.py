"""Is there a pooler in transaction mode between us and the database?

It hands each transaction to any free server session, so session locks and LISTEN do not work through it. Two
connections of ours share a server session then and only then: while the second one holds a transaction open, it has
the session that the first one had just used, or the first one gets another. (Nothing else tells for certain: pids,
settings and prepared statements may seem to last for as long as nobody else uses the pooler.)
"""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg

from antiphon.errors import Invalid, Unavailable
from antiphon.postgres.address import Address
from antiphon.postgres.connection import CONNECT_S, Connection, NotNow, connect
from antiphon.postgres.failures import LOST, words_of

WHERE = "SELECT current_database() || ' ' || pg_postmaster_start_time()"
NEEDS_DIRECT = (
    "a pooler in transaction mode answers at this address, through which locks and LISTEN do not work: add "
    "?direct=HOST:PORT of the database itself to the URL, or use the pooler's session mode"
)
_BLOCKS = "transaction blocks not allowed"


async def check_pooling(address: Address) -> bool:
    """Whether statements go through a pooler in transaction mode. Raises `Invalid` where they do and the URL has no
    `direct`, or one of another database; `Unavailable` where the pooler gives no transactions, `NotNow`."""
    async with _opened(address) as one, _opened(address) as two:
        try:
            is_pooled = await shares_sessions(one, two)
            if is_pooled and address.direct is None:
                raise Invalid("the database's URL", NEEDS_DIRECT)
            if address.direct is not None:
                await _check_same(one, address.direct)
            return is_pooled
        except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
            words = words_of(error, address.password)
            if _BLOCKS in words:
                raise Unavailable(f"the pooler is in statement mode and gives no transactions: {words}") from error
            raise NotNow(words) from error


async def shares_sessions(one: Connection, two: Connection) -> bool:
    """Whether two connections get the same server session."""
    async with asyncio.timeout(CONNECT_S):
        first = await _server_pid(one)
        async with two.transaction():
            if await two.fetchval("SELECT pg_backend_pid()") == first:
                return True
            return await _server_pid(one) != first


async def _server_pid(connection: Connection) -> int:
    async with connection.transaction():
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def _check_same(connection: Connection, direct: Address) -> None:
    async with _opened(direct) as other, connection.transaction(), other.transaction():
        if await connection.fetchval(WHERE) != await other.fetchval(WHERE):
            raise Invalid("the database's URL: direct", "it leads to another database than the URL itself")


@contextlib.asynccontextmanager
async def _opened(address: Address):  # type: ignore[no-untyped-def]
    """Without settings: they would stay in a session that others get."""
    connection = await connect(address, is_pooled=True)
    try:
        yield connection
    finally:
        connection.terminate()
