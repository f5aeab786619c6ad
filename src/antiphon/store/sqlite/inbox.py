"""Notifications and read cursors in a SQLite store."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.ports import Notification
from antiphon.store.rows import NEW_MAX, notification_of
from antiphon.store.sqlite.database import SQL, SqliteDatabase, first


class SqliteInbox(SqliteDatabase):
    """Keeps the promises of `ports.InboxStore`."""

    async def list_notifications(
        self, owner_id: str, *, is_unread: bool, limit: int, after: tuple[int, str] | None
    ) -> tuple[Notification, ...]:
        at, notification_id = after or (None, None)
        rows = await self._rows("list_notifications", owner_id, is_unread, at, notification_id, limit)
        return tuple(notification_of(row) for row in rows)

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        owners = msgspec.json.encode(owner_ids).decode()
        return tuple(notification_of(row) for row in await self._rows("new_notifications", owners, since, NEW_MAX))

    async def count_unread(self, owner_id: str) -> int:
        return int((await self._row("count_unread", owner_id))[0])

    async def read_notification(self, owner_id: str, notification_id: str) -> Notification | None:
        values = (self.clock.now_us(), owner_id, notification_id)
        row = await self._writer.run(lambda connection: first(connection, "read_notification", *values))
        return notification_of(row) if row else None

    async def read_all_notifications(self, owner_id: str) -> None:
        values = (self.clock.now_us(), owner_id)
        await self._writer.run(lambda connection: connection.execute(SQL["read_all_notifications"], values))

    async def move_read_cursor(self, chat_id: str, seq: int) -> None:
        await self._writer.run(lambda connection: connection.execute(SQL["move_read_cursor"], (chat_id, seq)))

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows("unread_of", msgspec.json.encode(chat_ids).decode()))
