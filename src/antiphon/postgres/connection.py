"""Connections to PostgreSQL: to a host that accepts writes, with the session's settings made after connecting.

A pooler refuses parameters in the startup packet, so that contains only the user and the database. Behind a pooler in
transaction mode (`is_pooled`) a session has no settings: each transaction begins with them.
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
"""How long connecting to one host may take, in seconds, if the URL has no connect_timeout."""
PAUSE_MIN_S = 0.05
PAUSE_MAX_S = 0.5
"""Minimum and maximum pause between two tries to connect, in seconds. A database that restarts is back soon, so the
pause does not grow."""

SETTINGS = {
    "application_name": "antiphon",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""Settings of every session. The statements are written for their generic plan: with 200,000 chats a page of messages
then takes 0.7 ms instead of 8. The server detects a lost client within about ten seconds and releases its locks;
`keep_alive` does the same on this side."""

REQUIRED = {"default_transaction_isolation": "read committed"}
"""Settings that the URL cannot override."""

DURABLE = "set_config('synchronous_commit', 'on', {is_local}) WHERE current_setting('synchronous_commit') = 'off'"
"""A commit is durable when it is acknowledged, whatever the database's default is."""

READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'"

Connection: TypeAlias = Any
"""An `asyncpg.Connection`: that package has no types."""


class CannotConnect(Exception):
    """No host can be used now; the text gives the reason. A later attempt may succeed."""


async def connect(
    target: str | Address, timeout_s: float = CONNECT_S, *, kind: Any = None, is_pooled: bool = False, **settings: str
) -> Connection:
    """A new connection to the first host that accepts writes.

    Args:
        target: The database's URL or address.
        timeout_s: How long connecting may take, in seconds, for each host.
        kind: The class of the connection.
        is_pooled: Whether the address leads to a pooler in transaction mode.
        settings: More settings of the session.

    Raises:
        CannotConnect: No host can be used now.
        Unavailable: A retry would not help.
    """
    address = read_address(target) if isinstance(target, str) else target
    timeout_s = min(timeout_s, address.parameters.connect_timeout_s or timeout_s)
    reasons, are_permanent = [], []
    for host in address.hosts_to_try():
        try:
            return await _connect_host(address, host, timeout_s, kind, is_pooled, settings)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
                ValueError, TypeError) as error:  # fmt: skip
            reason = failure_text(error, address.password)
            are_permanent.append(is_permanent(error))
        except _NotWritable as error:
            reason = str(error)
            are_permanent.append(False)
        reasons.append(f"{host[0]}:{host[1]}: {reason}" if host and len(address.hosts) > 1 else reason)
    reason = "; ".join(reasons)
    if all(are_permanent):
        raise Unavailable(f"the database refuses the connection: {reason}")
    raise CannotConnect(reason)


async def wait_connected(target: str | Address, deadline: float, *, is_pooled: bool = False) -> Connection:
    """A new connection, with retries until `deadline` (`time.monotonic`). Raises `Unavailable` then."""
    while True:
        try:
            remaining_s = max(deadline - time.monotonic(), 0.001)
            return await connect(target, min(CONNECT_S, remaining_s), is_pooled=is_pooled)
        except CannotConnect as error:
            pause = random.uniform(PAUSE_MIN_S, PAUSE_MAX_S)
            if time.monotonic() + pause >= deadline:
                raise Unavailable(f"the database does not answer: {error}") from None
        await asyncio.sleep(pause)


def first_deadline(address: Address, wait_s: float = WAIT_S) -> float:
    """The deadline of the first connection (`time.monotonic`): `wait_s` from now, or earlier by the URL's
    connect_timeout, which counts for each host."""
    given_s = address.parameters.connect_timeout_s * max(len(address.hosts), 1)
    return time.monotonic() + (min(given_s, wait_s) if given_s else wait_s)


class _NotWritable(Exception):
    """The server refuses writes."""


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
            interval_s=given.keepalives_interval,
            probes_max=given.keepalives_count,
            unacknowledged_ms=given.tcp_user_timeout,
        )


async def _check_writable(connection: Connection, address: Address) -> None:
    """Raises `_NotWritable` for a standby or a read-only server. A server reports its state when the session starts.
    A pooler does not, and is queried if the URL names several hosts or a kind of server."""
    reported = connection.get_settings()
    flags = [getattr(reported, name, None) for name in ("in_hot_standby", "default_transaction_read_only")]
    if "on" in flags:
        raise _NotWritable("the server is read-only (a standby, or default_transaction_read_only)")
    if flags == [None, None] and address.is_chosen:
        async with connection.transaction():
            if await connection.fetchval(READ_ONLY):
                raise _NotWritable("the server behind the pooler is read-only")
