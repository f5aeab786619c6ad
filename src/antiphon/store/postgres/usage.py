"""The usage of owners in the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.core.parts import Usage
from antiphon.ports import DayUsage
from antiphon.store.postgres.reads import SQL, PostgresReads
from antiphon.store.rows import sum_of_day, usage_columns, usage_of


class PostgresUsage(PostgresReads):
    """Keeps the promises of `ports.UsageStore`."""

    async def add_usage(self, rows: Sequence[DayUsage]) -> None:
        if rows:
            columns = zip(*map(usage_columns, rows), strict=True)
            await self._pool.write_once(SQL["add_usage"], *map(list, columns))

    async def read_usage(self, owner_id: str, first_day: int, last_day: int, *, limit: int) -> tuple[DayUsage, ...]:
        return tuple(usage_of(row) for row in await self._rows("read_usage", owner_id, first_day, last_day, limit))

    async def sum_usage(self, owner_id: str, day: int) -> Usage:
        return sum_of_day(await self._row("sum_usage", owner_id, day))

    async def delete_usage(self, before_day: int) -> None:
        await self._pool.write(SQL["delete_usage"], before_day)
