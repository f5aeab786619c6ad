"""Detects a pooler in transaction mode between this process and the database.

Such a pooler gives each transaction any free server session, so session locks and LISTEN do not work through it. In
session mode each of two connections keeps one server session, and they never have the same one. The probe runs
transactions of two connections that overlap, and compares the sessions' process ids: one violation proves
transaction mode. One round can miss it, because other clients of the pooler also occupy sessions, so there are
several rounds. On an idle pooler two rounds suffice: the connection that ends its transaction last changes in every
second round, so a pooler that reuses the newest free session and one that reuses the oldest both give a connection
another session. On a busy pooler each round is a new draw. Session settings and prepared statements are no better
signal: they are in the same server session as the process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import asyncpg

from antiphon.errors import Invalid, Unavailable
from antiphon.postgres.address import Address
from antiphon.postgres.connection import CONNECT_S, CannotConnect, Connection, connect
from antiphon.postgres.failures import LOST, failure_text

WHERE = "SELECT current_database() || ' ' || pg_postmaster_start_time()"
NEEDS_DIRECT = (
    "a pooler in transaction mode answers at this address, through which locks and LISTEN do not work: add "
    "?direct=HOST:PORT of the database itself to the URL, or use the pooler's session mode"
)
DIRECT_ROUNDS = 4
"""Rounds of the probe if the process id sent at connecting is the server's. A pooler sends another one."""
POOLED_ROUNDS_MIN = 8
POOLED_ROUNDS_MAX = 32
"""Minimum and maximum number of rounds through a pooler."""
PROBE_S = 2.0
"""How long rounds beyond the minimum are started, in seconds."""
_BLOCKS = "transaction blocks not allowed"


async def check_pooling(address: Address) -> bool:
    """Whether statements go through a pooler in transaction mode.

    Raises:
        Invalid: They do, and the URL has no `direct`, or one of another database.
        Unavailable: The pooler supports no transactions.
        CannotConnect: No host can be used now.
    """
    async with _opened(address) as one, _opened(address) as two:
        try:
            is_pooled = await shares_sessions(one, two)
            if is_pooled and address.direct is None:
                raise Invalid("the database's URL", NEEDS_DIRECT)
            if address.direct is not None:
                await _check_same(one, address.direct)
            return is_pooled
        except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
            text = failure_text(error, address.password)
            if _BLOCKS in text:
                raise Unavailable(f"the pooler is in statement mode and gives no transactions: {text}") from error
            raise CannotConnect(text) from error


async def shares_sessions(one: Connection, two: Connection) -> bool:
    """Whether the server sessions behind two connections change or are the same one."""
    deadline = time.monotonic() + PROBE_S
    first, second = await _first_pid(one), 0
    rounds_min = DIRECT_ROUNDS if one.get_server_pid() == first else POOLED_ROUNDS_MIN
    for number in range(1, POOLED_ROUNDS_MAX + 1):
        async with asyncio.timeout(CONNECT_S):
            inner_pid, outer_pid = await _overlap(inner=one, outer=two, inner_pid=first)
        if inner_pid != first or outer_pid == first or (second and outer_pid != second):
            return True
        second = outer_pid
        if number >= rounds_min and (rounds_min == DIRECT_ROUNDS or time.monotonic() >= deadline):
            return False
        if number % 2:
            one, two, first, second = two, one, second, first
    return False


async def _overlap(*, inner: Connection, outer: Connection, inner_pid: int) -> tuple[int, int]:
    """The server's process ids in a transaction of `outer` and in one of `inner` within it. The latter is not tried
    when `outer` has the session of `inner`: in a pool of one session it would wait for `outer`."""
    async with outer.transaction():
        outer_pid = int(await outer.fetchval("SELECT pg_backend_pid()"))
        return (inner_pid if outer_pid == inner_pid else await _server_pid(inner)), outer_pid


async def _first_pid(connection: Connection) -> int:
    async with asyncio.timeout(CONNECT_S):
        return await _server_pid(connection)


async def _server_pid(connection: Connection) -> int:
    async with connection.transaction():
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def _check_same(connection: Connection, direct: Address) -> None:
    async with _opened(direct) as other, connection.transaction(), other.transaction():
        if await connection.fetchval(WHERE) != await other.fetchval(WHERE):
            raise Invalid("the database's URL: direct", "it leads to another database than the URL itself")


@contextlib.asynccontextmanager
async def _opened(address: Address):  # type: ignore[no-untyped-def]
    """A connection without settings: they would remain in a session that other clients get."""
    connection = await connect(address, is_pooled=True)
    try:
        yield connection
    finally:
        connection.terminate()
