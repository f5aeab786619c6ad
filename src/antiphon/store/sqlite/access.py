"""Owners, their tokens and the sessions of the web UI in a SQLite store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import apsw
import msgspec

from antiphon.errors import NotFound
from antiphon.ports import Session, Token
from antiphon.store.rows import session_of, token_of
from antiphon.store.sqlite.database import SQL, SqliteDatabase, first


class SqliteAccess(SqliteDatabase):
    """Keeps the promises of `ports.AccessStore`."""

    async def create_owner(self, name: str, *, is_admin: bool = False) -> str:
        now = self.clock.now_us()

        def job(connection: apsw.Connection) -> str:
            row = first(connection, "find_owner", name)
            if row is None:
                owner_id = _new_id(connection)
                connection.execute(SQL["insert_owner"], (owner_id, name, is_admin, now))
                return owner_id
            return str(row[0])

        result: str = await self._writer.run(job)
        return result

    async def find_owner(self, name: str) -> str | None:
        row = await self._row("find_owner", name)
        return str(row[0]) if row else None

    async def owner_count(self) -> int:
        return int((await self._row("owner_count"))[0])

    async def add_token(self, owner_id: str, token_id: str, secret_hash: bytes) -> None:
        row = (token_id, owner_id, secret_hash, self.clock.now_us())
        with _missing_reference("owner"):
            await self._writer.run(lambda connection: connection.execute(SQL["insert_token"], row))

    async def find_token(self, secret_hash: bytes) -> Token | None:
        row = await self._row("find_token", secret_hash)
        return token_of(row) if row else None

    async def list_tokens(self) -> tuple[Token, ...]:
        return tuple(token_of(row) for row in await self._rows("list_tokens"))

    async def revoke_token(self, token_id: str) -> bool:
        now = self.clock.now_us()

        def job(connection: apsw.Connection) -> bool:
            connection.execute(SQL["revoke_token"], (now, token_id))
            return connection.changes() > 0

        result: bool = await self._writer.run(job)
        return result

    async def revoked_of(self, ids: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows("revoked_of", msgspec.json.encode(ids).decode()))

    async def add_session(self, session_id: str, token_id: str, secret_hash: bytes) -> None:
        now = self.clock.now_us()
        row = (session_id, token_id, secret_hash, now, now)
        with _missing_reference("token"):
            await self._writer.run(lambda connection: connection.execute(SQL["insert_session"], row))

    async def find_session(self, secret_hash: bytes) -> Session | None:
        rows = await self._rows("find_session", secret_hash)
        return session_of(rows[0]) if rows else None

    async def sessions_of(self, token_id: str) -> tuple[str, ...]:
        rows = await self._rows("sessions_of", token_id)
        return tuple(row[0] for row in rows)

    async def touch_session(self, session_id: str) -> None:
        values = (self.clock.now_us(), session_id)
        await self._writer.run(lambda connection: connection.execute(SQL["touch_session"], values))

    async def revoke_session(self, session_id: str) -> bool:
        values = (self.clock.now_us(), session_id)

        def job(connection: apsw.Connection) -> bool:
            connection.execute(SQL["revoke_session"], values)
            return connection.changes() > 0

        result: bool = await self._writer.run(job)
        return result

    async def delete_sessions(self, used_before: int) -> None:
        await self._writer.run(lambda connection: connection.execute(SQL["delete_sessions"], (used_before,)))


@contextlib.contextmanager
def _missing_reference(what: str) -> Iterator[None]:
    """Raises `NotFound` if a row refers to one that does not exist."""
    try:
        yield
    except apsw.ConstraintError as error:
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
            raise NotFound(what) from error
        raise


def _new_id(connection: apsw.Connection) -> str:
    digits = next(iter(connection.execute("SELECT lower(hex(randomblob(16)))")))[0]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
