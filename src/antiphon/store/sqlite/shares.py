"""Links to chats in a SQLite store."""

from __future__ import annotations

import apsw
from msgspec.structs import replace

from antiphon.ports import Share
from antiphon.store.rows import share_of
from antiphon.store.sqlite.database import SQL, SqliteDatabase


class SqliteShares(SqliteDatabase):
    """Keeps the promises of `ports.ShareStore`."""

    async def add_share(self, share: Share, secret_hash: bytes) -> Share:
        stored = replace(share, created_at=self.clock.now_us())
        row = (stored.share_id, stored.chat_id, stored.owner_id, secret_hash, stored.created_at)
        await self._writer.run(lambda connection: connection.execute(SQL["insert_share"], row))
        return stored

    async def find_share(self, secret_hash: bytes) -> Share | None:
        row = await self._row("find_share", secret_hash)
        return share_of(row) if row else None

    async def list_shares(self, chat_id: str) -> tuple[Share, ...]:
        return tuple(share_of(row) for row in await self._rows("list_shares", chat_id))

    async def delete_share(self, chat_id: str, share_id: str) -> bool:
        def job(connection: apsw.Connection) -> bool:
            connection.execute(SQL["delete_share"], (chat_id, share_id))
            return connection.changes() > 0

        result: bool = await self._writer.run(job)
        return result
