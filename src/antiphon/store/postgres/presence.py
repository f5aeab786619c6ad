"""The instances on a PostgreSQL database: a row for each, and an advisory lock that its session holds while it runs.

Whenever an instance acquires its lock it draws a new key and writes it to its row. So it never waits for an earlier
session of its own that the database still keeps open.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import asyncpg
from msgspec.structs import replace

from antiphon.errors import Invalid, Unavailable, reason_of
from antiphon.ports import InstanceRecord
from antiphon.postgres.address import Address
from antiphon.postgres.connection import PAUSE_MAX_S, READ_ONLY, WAIT_S, CannotConnect, Connection, wait_connected
from antiphon.postgres.pooling import check_pooling
from antiphon.store.postgres.failures import translate_errors
from antiphon.store.postgres.pool import Pool
from antiphon.store.statements import load_statements

_SQL = load_statements("postgres")

CHECK_S = 2.0
"""Time between two checks that the session still holds the lock, in seconds."""
ANSWER_S = 5.0
"""How long such a check, or acquiring the lock, may take, in seconds."""

_COLUMNS = tuple(InstanceRecord.__struct_fields__)


class PostgresPresence:
    """Keeps the promises of `ports.Presence`, for one instance in this process."""

    def __init__(self, address: Address, pool: Pool) -> None:
        self._address = address
        self._pool = pool
        self._record: InstanceRecord | None = None
        self._connection: Connection | None = None
        self._lock_key = 0
        self._server_pid = 0
        """The server process of the session that holds the lock."""
        self._task: asyncio.Task[None] | None = None
        self.error: str | None = None
        """Why the lock cannot be held: the address leads to a pooler in transaction mode now."""

    async def register(self, record: InstanceRecord) -> None:
        self._record = record
        if self._lock_key and self._connection is not None and not self._connection.is_closed():
            await self._write_row()  # the lock is held already
        else:
            await self._acquire()
        if self._task is None:
            self._task = asyncio.create_task(self._keep_lock(), name="antiphon-presence")

    async def heartbeat(self, instance_id: str, *, running: int, is_draining: bool = False) -> None:
        if self._record and self._record.instance_id == instance_id:
            self._record = replace(self._record, running=running, is_draining=is_draining)
        rows = await self._pool.write(_SQL["beat"], instance_id, running, is_draining)
        if not rows and self._record and self._record.instance_id == instance_id and self._lock_key:
            await self._write_row()  # another instance declared this one dead and removed the row

    async def instances(self) -> tuple[tuple[InstanceRecord, ...], float]:
        rows = await self._pool.rows(_SQL["instances"])
        records = tuple(_record_of(row) for row in rows if row["instance_id"] is not None)
        return records, rows[0]["uptime_us"] / 1_000_000

    async def attempts_of(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        return tuple((row[0], row[1]) for row in await self._pool.rows(_SQL["attempts_of"], instance_id))

    async def deregister(self, instance_id: str) -> None:
        is_own = self._record is not None and self._record.instance_id == instance_id
        if is_own:
            self._record = None
            await self._release()
        await self._pool.write(_SQL["leave"], instance_id)

    async def aclose(self) -> None:
        """Release the lock. The row remains until another instance removes it."""
        await self._release()

    # --- the lock

    async def _acquire(self) -> None:
        """Acquire a lock with a new key in a session of its own, and write the key to the row."""
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = await wait_connected(self._address, time.monotonic() + WAIT_S)
        try:
            with translate_errors(self._address):
                async with asyncio.timeout(ANSWER_S):
                    await connection.execute(_SQL["free_locks"])
                    async with connection.transaction():
                        row = await connection.fetchrow(_SQL["hold_lock"])
        except BaseException:
            connection.terminate()
            raise
        assert row is not None
        self._connection, self._lock_key, self._server_pid = connection, row["key"], row["pid"]
        try:
            await self._write_row()
        except BaseException:
            connection.terminate()  # the row names another lock, so this one has no meaning
            raise

    async def _write_row(self) -> None:
        r = self._record
        if r is None:
            return
        at = (r.instance_id, self._lock_key, r.host, r.pid, r.version, r.http_url, r.relay_endpoint, r.relay_key)
        await self._pool.write(_SQL["enter"], *at, r.started_at, r.running, r.capacity, r.is_draining)

    async def _keep_lock(self) -> None:
        """Reacquire the lock whenever its session is lost."""
        while True:
            if await self._is_held():
                continue
            try:
                if await self._has_sessions():
                    await self._acquire()
                    continue
            except Unavailable:
                pass
            await asyncio.sleep(PAUSE_MAX_S)

    async def _has_sessions(self) -> bool:
        """Check again for a pooler in transaction mode: changing to it is one way to lose the lock."""
        try:
            await check_pooling(self._address)
        except Invalid as error:
            self.error = reason_of(error)
            return False
        except CannotConnect as error:
            raise Unavailable(str(error)) from None
        self.error = None
        return True

    async def _is_held(self) -> bool:
        """Wait for CHECK_S, then check the session. Returns early if it ends."""
        connection = self._connection
        if connection is None or connection.is_closed():
            return False
        ended = asyncio.Event()

        def on_end(_: object) -> None:
            ended.set()

        connection.add_termination_listener(on_end)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await ended.wait()
                    return False
            async with asyncio.timeout(ANSWER_S):
                async with connection.transaction():
                    if await connection.fetchval(READ_ONLY):
                        raise ConnectionError("another server is the writable one now")
                    if not await connection.fetchval(_SQL["holds_lock"], self._server_pid, self._lock_key):
                        raise ConnectionError("the lock is in another server session")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()
            return False
        finally:
            connection.remove_termination_listener(on_end)
        return True

    async def _release(self) -> None:
        task, self._task = self._task, None
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        connection, self._connection, self._lock_key = self._connection, None, 0
        if connection:
            try:
                await connection.close(timeout=1)
            except Exception:
                connection.terminate()


def _record_of(row: Any) -> InstanceRecord:
    return InstanceRecord(**{name: row[name] for name in _COLUMNS})
