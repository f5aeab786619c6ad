"""Connections to PostgreSQL: to the host that can be written to, with the session's settings made after connecting.

A pooler refuses parameters in the first packet, so nothing is sent there but the user and the database. In
transaction mode (`is_pooled`) a session has no settings at all: each transaction begins with them.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, TypeAlias

import asyncpg

from antiphon.errors import Unavailable
from antiphon.postgres.address import Address, Host, read_address
from antiphon.postgres.failures import failure_text, is_permanent
from antiphon.postgres.keepalive import keep_alive

WAIT_S = 10.0
"""How long a caller waits for a database that does not answer, in seconds."""

CONNECT_S = 5.0
"""How long one host may take to answer, in seconds, where the URL has no connect_timeout."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 0.5
"""Pause between two attempts to connect, in seconds."""

SETTINGS = {
    "application_name": "antiphon",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""Statements are made for their one plan (with 200,000 chats a page of messages then takes 0.7 ms in place of 8). A
client whose machine is gone is noticed within some ten seconds, and its locks are freed; `keep_alive` is our side."""

REQUIRED = {"default_transaction_isolation": "read committed"}
"""Settings that the URL cannot change."""

DURABLE = "set_config('synchronous_commit', 'on', {is_local}) WHERE current_setting('synchronous_commit') = 'off'"
"""Acknowledged means durable, whatever the database's own default is."""

READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'"

Connection: TypeAlias = Any
"""An `asyncpg.Connection`: that package has no types."""


class CannotConnect(Exception):
    """No host can be used now; the text gives the reason. A later attempt may succeed."""


async def connect(
    place: str | Address, timeout_s: float = CONNECT_S, *, kind: Any = None, is_pooled: bool = False, **settings: str
) -> Connection:
    """A new connection to the first host that can be written to; `timeout_s` counts for each host. `settings` are
    further ones of the session's. Raises `CannotConnect`, and `Unavailable` where a retry would not help."""
    address = read_address(place) if isinstance(place, str) else place
    timeout_s = min(timeout_s, address.parameters.connect_timeout_s or timeout_s)
    reasons, hopeless = [], []
    for host in address.hosts_to_try():
        try:
            return await _connect_host(address, host, timeout_s, kind, is_pooled, settings)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
                ValueError, TypeError) as error:  # fmt: skip
            reason = failure_text(error, address.password)
            hopeless.append(is_permanent(error))
        except _NotWritable as error:
            reason = str(error)
            hopeless.append(False)
        reasons.append(f"{host[0]}:{host[1]}: {reason}" if host and len(address.hosts) > 1 else reason)
    reason = "; ".join(reasons)
    if all(hopeless):
        raise Unavailable(f"the database refuses the connection: {reason}")
    raise CannotConnect(reason)


async def wait_connected(place: str | Address, deadline: float, *, is_pooled: bool = False) -> Connection:
    """A new connection, with retries. Raises `Unavailable` at the deadline (monotonic)."""
    while True:
        try:
            remaining_s = max(deadline - time.monotonic(), 0.001)
            return await connect(place, min(CONNECT_S, remaining_s), is_pooled=is_pooled)
        except CannotConnect as error:
            pause = random.uniform(PAUSE_MIN_S, PAUSE_MAX_S)
            if time.monotonic() + pause >= deadline:
                raise Unavailable(f"the database does not answer: {error}") from None
        await asyncio.sleep(pause)


def first_deadline(address: Address) -> float:
    """The deadline of the first connection (monotonic): the URL's connect_timeout for each host, if it gives one."""
    given_s = address.parameters.connect_timeout_s * max(len(address.hosts), 1)
    return time.monotonic() + (min(given_s, WAIT_S) if given_s else WAIT_S)


class _NotWritable(Exception):
    pass


async def _connect_host(
    address: Address, host: Host | None, timeout_s: float, kind: Any, is_pooled: bool, settings: dict[str, str]
) -> Connection:
    started = time.monotonic()
    connection = await asyncpg.connect(
        address.dsn(),
        host=host[0] if host else None,
        port=host[1] if host else None,
        user=address.user,
        password=address.password,
        database=address.database,
        timeout=timeout_s,
        connection_class=kind or asyncpg.Connection,
        **({"statement_cache_size": 0} if is_pooled else {}),
    )
    try:
        async with asyncio.timeout(max(timeout_s - (time.monotonic() - started), 0.1)):
            _keep_alive(connection, address)
            if not is_pooled:
                await connection.execute(settings_sql(address, is_local=False, **settings))
            await _check_writable(connection, address)
    except BaseException:
        connection.terminate()
        raise
    return connection


def settings_sql(address: Address, *, is_local: bool, **more: str) -> str:
    """One statement that applies the settings to the session or to the transaction."""
    settings = SETTINGS | more | address.parameters.settings | REQUIRED
    if is_local:
        settings = {name: value for name, value in settings.items() if not name.startswith(("application", "tcp_"))}
    scope = "true" if is_local else "false"
    calls = ", ".join(f"set_config({_quoted(name)}, {_quoted(value)}, {scope})" for name, value in settings.items())
    return f"SELECT {calls}; SELECT {DURABLE.format(is_local=scope)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\0", "").replace("\\", "\\\\").replace("'", "\\'")
    return f"E'{escaped}'"


def _keep_alive(connection: Connection, address: Address) -> None:
    given = address.parameters
    if given.has_keepalives:
        keep_alive(
            connection._transport.get_extra_info("socket"),
            idle_s=given.keepalives_idle,
            pause_s=given.keepalives_interval,
            tries=given.keepalives_count,
            unanswered_ms=given.tcp_user_timeout,
        )


async def _check_writable(connection: Connection, address: Address) -> None:
    """Raises `_NotWritable` for a standby or a read-only server. A server reports it at connecting; a pooler does
    not, and is queried if the URL leaves a choice."""
    reported = connection.get_settings()
    flags = [getattr(reported, name, None) for name in ("in_hot_standby", "default_transaction_read_only")]
    if "on" in flags:
        raise _NotWritable("the server is read-only (a standby, or default_transaction_read_only)")
    if flags == [None, None] and address.is_chosen:
        async with connection.transaction():
            if await connection.fetchval(READ_ONLY):
                raise _NotWritable("the server behind the pooler is read-only")
