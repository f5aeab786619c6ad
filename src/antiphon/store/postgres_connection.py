"""Connections to PostgreSQL: how they are made, and which of their failures mean what."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any, TypeAlias

import asyncpg

from antiphon.errors import Unavailable
from antiphon.keepalive import keep_alive

WAIT_S = 10.0
"""So long a caller waits for a database that does not answer."""

CONNECT_S = 5.0
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
client whose machine is gone is noticed within some ten seconds, and its locks are freed; `keep_alive` is our side."""

DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
"""Acknowledged means durable, whatever the database's own default is."""

LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
)
"""The connection is gone, or goes: the server stops, starts, or was killed."""

_HOPELESS = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
)
"""Trying to connect again would not help."""

Connection: TypeAlias = Any
"""An `asyncpg.Connection`: that package has no types."""


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """The database's failures, in the middle of what one connection does, as `Unavailable`."""
    try:
        yield
    except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable(f"the database does not work ({type(error).__name__})") from error


async def connect(url: str, timeout_s: float = CONNECT_S) -> Connection:
    """A new connection. Raises what asyncpg does, and `Unavailable` where another try would not help."""
    try:
        connection = await asyncpg.connect(url, timeout=timeout_s, server_settings=SETTINGS)
    except _HOPELESS as error:
        raise Unavailable(f"the database refuses the connection ({type(error).__name__})") from None
    except (ValueError, TypeError):
        raise Unavailable("the database's URL cannot be understood") from None
    keep_alive(connection._transport.get_extra_info("socket"))
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
        except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
            pause = random.uniform(PAUSE_MIN_S, PAUSE_MAX_S)
            if time.monotonic() + pause >= deadline:
                raise Unavailable(f"the database does not answer ({type(error).__name__})") from None
        await asyncio.sleep(pause)
