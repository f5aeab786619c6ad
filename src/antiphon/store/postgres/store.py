"""The store in a PostgreSQL database, which any number of instances share.

An append is one statement, and an acknowledged one is committed. Every comparison with the time uses the database's
clock. The statements are in sql/postgres.sql, the functions that they call in migrations/postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Sequence

import asyncpg

from antiphon.core.model import Status
from antiphon.errors import NotFound, Unavailable
from antiphon.ports import Append, Appended, Clock, ConfigRow, FileBytes, FlushedDelta, Notification, Presence, Share
from antiphon.postgres.address import Address, read_address
from antiphon.postgres.connection import (
    PAUSE_MAX_S,
    WAIT_S,
    CannotConnect,
    Connection,
    first_deadline,
    wait_connected,
)
from antiphon.postgres.pooling import check_pooling
from antiphon.postgres.requirements import check_rights, check_server
from antiphon.store.postgres.append import Appender
from antiphon.store.postgres.clock import DatabaseClock
from antiphon.store.postgres.failures import translate_errors
from antiphon.store.postgres.files import PostgresFiles
from antiphon.store.postgres.pool import Pool
from antiphon.store.postgres.presence import PostgresPresence
from antiphon.store.postgres.reads import SQL
from antiphon.store.postgres.schema import FUNCTIONS, TABLES, check_schema, migrate
from antiphon.store.postgres.timing import AppendLimits, StoreTiming
from antiphon.store.postgres.usage import PostgresUsage
from antiphon.store.rows import LEASE_US, notification_of, share_of

POOL_MAX = 10
"""Maximum number of connections in the pool."""


async def open_postgres_store(
    url: str,
    *,
    pool_max: int = POOL_MAX,
    may_migrate: bool = True,
    timing: StoreTiming = StoreTiming(),  # noqa: B008 - a value
    limits: AppendLimits = AppendLimits(),  # noqa: B008 - a value
    file_storage: FileBytes | None = None,
) -> PostgresStore:
    """Open a store in a PostgreSQL database, and migrate the database to this version.

    Args:
        url: The database (see `postgres/address.py`).
        pool_max: Maximum number of connections in the pool. The instance's lock has one more.
        may_migrate: False: check the schema's version and change nothing.
        timing: How long the store waits.
        limits: How many appends share a statement.
        file_storage: Where the bytes of files are, if they are not in the database.

    Raises:
        Unavailable: The database does not answer, lacks something that Antiphon needs, or is of a newer version.
        Invalid: The URL is not one of PostgreSQL, or leads to a pooler without sessions.
    """
    address = read_address(url)
    is_pooled = await _is_pooled(address, timing.open_s)
    await _prepare(address, timing.open_s, may_migrate=may_migrate)
    clock = DatabaseClock()
    pool = Pool(address, size=pool_max, is_pooled=is_pooled, timing=timing)
    store = PostgresStore(address, pool, clock, timing=timing, limits=limits, file_storage=file_storage)
    await clock.synchronize(store.read_time)
    store.keep_synchronized(clock)
    return store


async def prepare_database(url: str, *, may_migrate: bool = True) -> list[str]:
    """Migrate the database to this version's schema, and check its requirements.

    Returns:
        The names of the scripts that ran.

    Raises:
        Unavailable: A requirement is missing; the text has the SQL to run.
    """
    address = read_address(url)
    await _is_pooled(address, WAIT_S)  # refuses a pooler in transaction mode without `direct`
    return await _prepare(address, WAIT_S, may_migrate=may_migrate)


async def _prepare(address: Address, wait_s: float, *, may_migrate: bool) -> list[str]:
    sessions = address.for_sessions
    connection = await wait_connected(sessions, first_deadline(sessions, wait_s))
    try:
        with translate_errors(sessions):
            await check_server(connection)
            if may_migrate:
                applied = await migrate(connection)
            else:
                await check_schema(connection)
                applied = []
            await check_rights(connection, TABLES, FUNCTIONS)
            if may_migrate:
                await connection.execute(SQL["forget_foreign_changes"])
            return applied
    finally:
        await _close(connection)


async def _is_pooled(address: Address, wait_s: float) -> bool:
    """`check_pooling` with retries: the database may be starting."""
    deadline = first_deadline(address, wait_s)
    while True:
        try:
            return await check_pooling(address)
        except CannotConnect as error:
            if time.monotonic() + PAUSE_MAX_S >= deadline:
                raise Unavailable(f"the database does not answer: {error}") from None
        await asyncio.sleep(PAUSE_MAX_S)


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=1)
    except Exception:
        connection.terminate()


class PostgresStore(PostgresFiles, PostgresUsage):
    """Keeps the promises of `ports.Store`. `presence` is for the instance that opened it."""

    is_shared = True

    def __init__(
        self,
        address: Address,
        pool: Pool,
        clock: Clock,
        *,
        timing: StoreTiming = StoreTiming(),  # noqa: B008 - a value
        limits: AppendLimits = AppendLimits(),  # noqa: B008 - a value
        file_storage: FileBytes | None = None,
    ) -> None:
        super().__init__(pool, file_storage)
        self._timing = timing
        self._appender = Appender(pool, timing=timing, limits=limits)
        self.clock: Clock = clock
        self._presence = PostgresPresence(address.for_sessions, pool)
        self.presence: Presence = self._presence
        self._clock_task: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        if self._clock_task:
            self._clock_task.cancel()
            await asyncio.gather(self._clock_task, return_exceptions=True)
            self._clock_task = None
        await self.presence.aclose()
        await self._pool.aclose()

    @property
    def last_error(self) -> str | None:
        """The error of the last write (None: it succeeded), or why this instance cannot hold its lock (readiness)."""
        return self._pool.last_error or self._presence.error

    # --- writing

    async def append(self, append: Append) -> Appended:
        result = await self._appender.append(append)
        if result == "newer":
            raise Unavailable("this chat was written by a newer version of Antiphon")
        return Appended(result)

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        if not attempts:
            return {}
        chat_ids, numbers = zip(*attempts, strict=True)
        rows = await self._pool.write(SQL["renew"], instance_id, chat_ids, numbers, LEASE_US)
        return {row[0]: Status(row[1]) for row in rows}

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        if deltas:
            columns = zip(*((d.chat_id, d.draft, d.from_, d.to, d.body) for d in deltas), strict=True)
            await self._pool.write(SQL["flush"], *columns)

    async def create_owner(self, name: str, *, is_admin: bool = False) -> str:
        rows = await self._pool.write(SQL["create_owner"], str(uuid.uuid4()), name, is_admin)
        return str(rows[0][0])

    async def add_token(self, owner_id: str, token_id: str, secret_hash: bytes) -> None:
        try:
            await self._pool.write(SQL["insert_token"], token_id, owner_id, secret_hash)
        except asyncpg.ForeignKeyViolationError:
            raise NotFound("owner") from None

    async def revoke_token(self, token_id: str) -> bool:
        return bool(await self._pool.write(SQL["revoke_token"], token_id))

    async def add_share(self, share: Share, secret_hash: bytes) -> Share:
        rows = await self._pool.write(SQL["insert_share"], share.share_id, share.chat_id, share.owner_id, secret_hash)
        return share_of(rows[0])

    async def delete_share(self, chat_id: str, share_id: str) -> bool:
        return bool(await self._pool.write(SQL["delete_share"], chat_id, share_id))

    async def add_session(self, session_id: str, token_id: str, secret_hash: bytes) -> None:
        try:
            await self._pool.write(SQL["insert_session"], session_id, token_id, secret_hash)
        except asyncpg.ForeignKeyViolationError:
            raise NotFound("token") from None

    async def touch_session(self, session_id: str) -> None:
        await self._pool.write(SQL["touch_session"], session_id)

    async def revoke_session(self, session_id: str) -> bool:
        return bool(await self._pool.write(SQL["revoke_session"], session_id))

    async def delete_sessions(self, used_before: int) -> None:
        await self._pool.write(SQL["delete_sessions"], used_before)

    async def write_setting(self, name: str, value: str) -> None:
        await self._pool.write(SQL["write_setting"], name, value)

    async def read_notification(self, owner_id: str, notification_id: str) -> Notification | None:
        rows = await self._pool.write(SQL["read_notification"], owner_id, notification_id)
        return notification_of(rows[0]) if rows else None

    async def read_all_notifications(self, owner_id: str) -> None:
        await self._pool.write(SQL["read_all_notifications"], owner_id)

    async def move_read_cursor(self, chat_id: str, seq: int) -> None:
        await self._pool.write(SQL["move_read_cursor"], chat_id, seq)

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        columns = [[row.kind for row in rows], [row.config_id for row in rows], [row.body for row in rows]]
        version = (await self._pool.write_once(SQL["write_config"], *columns, after_version))[0][0]
        return None if version is None else int(version)

    async def check(self) -> None:
        await self._pool.write(SQL["try_write"], wait_s=self._timing.check_s)

    # --- time

    async def read_time(self) -> int:
        """The database's time now, in microseconds since the epoch."""
        return int((await self._row("now"))[0])

    def keep_synchronized(self, clock: DatabaseClock) -> None:
        """Synchronize the clock with the database's regularly, until the store is closed."""
        self._clock_task = asyncio.create_task(self._synchronize_forever(clock), name="antiphon-database-clock")

    async def _synchronize_forever(self, clock: DatabaseClock) -> None:
        while True:
            await asyncio.sleep(self._timing.clock_s)
            with contextlib.suppress(Unavailable):  # the clock continues with its last offset
                await clock.synchronize(self.read_time)
