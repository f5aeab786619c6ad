"""A PostgreSQL store whose time is a clock that a test moves: the database's own functions are replaced."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from antiphon.ports import Clock, FileBytes
from antiphon.postgres.address import Address, read_address
from antiphon.postgres.connection import WAIT_S, Connection, wait_connected
from antiphon.store.postgres.pool import Pool
from antiphon.store.postgres.store import PostgresStore, prepare_database

TIME = """
CREATE OR REPLACE FUNCTION store_now_us() RETURNS BIGINT LANGUAGE sql VOLATILE AS
  $$ SELECT current_setting('antiphon.now_us')::BIGINT $$;
CREATE OR REPLACE FUNCTION store_uptime_us() RETURNS BIGINT LANGUAGE sql VOLATILE AS
  $$ SELECT 1000000000000 $$;
"""

EMPTY = """
TRUNCATE owners, tokens, sessions, chats, facts, contents, messages, receipts, leases, flushed, settings, probe,
  instances, config, notifications, read_cursors, files, file_uses, file_chunks, unfinished_files, usage_days, shares,
  send_counts;
UPDATE config_version SET version = 0;
"""


class FixedTimePool(Pool):
    """Sets the database's time before each statement."""

    def __init__(self, address: Address, clock: Clock, *, size: int) -> None:
        super().__init__(address, size=size)
        self._clock = clock

    async def _fetch(self, connection: Connection, sql: str, values: Sequence[Any]) -> list[Any]:
        await connection.execute("SELECT set_config('antiphon.now_us', $1, false)", str(self._clock.now_us()))
        return await super()._fetch(connection, sql, values)


async def open_fixed_time_store(
    url: str, *, clock: Clock, pool_max: int = 2, file_storage: FileBytes | None = None
) -> PostgresStore:
    """Like `open_postgres_store`, on `clock` and emptied. The server counts as up for days."""
    await prepare_database(url)
    connection = await wait_connected(url, WAIT_S + time.monotonic())
    await connection.execute(TIME + EMPTY)
    await connection.close()
    address = read_address(url)
    return PostgresStore(address, FixedTimePool(address, clock, size=pool_max), clock, file_storage=file_storage)
