"""Leases, due chats and flushed drafts in a SQLite store."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from antiphon.core.model import Status
from antiphon.ports import Due, FlushedDelta
from antiphon.store.rows import LEASE_US, chat_of, due_of
from antiphon.store.sqlite.database import SQL, SqliteDatabase, first


class SqliteLeases(SqliteDatabase):
    """Keeps the promises of `ports.LeaseStore`."""

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        passed = msgspec.json.encode(passing_over).decode()
        rows = await self._rows("claimable", self.clock.now_us(), limit, passed)
        return tuple(row[0] for row in rows)

    async def due(self, *, limit: int) -> tuple[Due, ...]:
        return tuple(
            Due(chat_id=chat_id, attempt=attempt, why="lease") if state is None else due_of(chat_id, chat_of(state))
            for chat_id, attempt, state in await self._rows("due", self.clock.now_us(), limit)
        )

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        ends_at = self.clock.now_us() + LEASE_US

        def job(connection: apsw.Connection) -> dict[str, Status]:
            held = {}
            for chat_id, attempt in attempts:
                row = first(connection, "renew_lease", ends_at, chat_id, attempt, instance_id)
                if row:
                    held[chat_id] = Status(row[0] or Status.WAITING)
            return held

        result: dict[str, Status] = await self._writer.run(job)
        return result

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        return tuple((row[0], row[1]) for row in await self._rows("other_leases", instance_id))

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        def job(connection: apsw.Connection) -> None:
            keys = {(delta.chat_id, delta.draft) for delta in deltas}
            open_ = {key for key in keys if first(connection, "is_open_draft", *key)}
            for delta in deltas:
                if (delta.chat_id, delta.draft) in open_:
                    row = (delta.chat_id, delta.draft, delta.from_, delta.to, delta.body)
                    connection.execute(SQL["flush"], row)

        await self._writer.run(job)

    async def read_flushed(self, chat_id: str, draft: int) -> tuple[FlushedDelta, ...]:
        return tuple(
            FlushedDelta(chat_id=chat_id, draft=draft, from_=row[0], to=row[1], body=row[2])
            for row in await self._rows("read_flushed", chat_id, draft)
        )
