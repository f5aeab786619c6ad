"""The page's sessions in a SQLite store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import apsw

from antiphon.errors import NotFound
from antiphon.ports import Clock, Session
from antiphon.store.rows import session_of
from antiphon.store.sqlite.writer import Writer
from antiphon.store.statements import load_statements

T = TypeVar("T")
_SQL = load_statements("sqlite")


@contextlib.contextmanager
def missing_reference(what: str) -> Iterator[None]:
    """Raises `NotFound` where a row refers to one that does not exist."""
    try:
        yield
    except apsw.ConstraintError as error:
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
            raise NotFound(what) from error
        raise


class SqliteSessions:
    """The part of `ports.Store` that is about sessions; a base of `SqliteStore`."""

    clock: Clock
    _writer: Writer
    _read: Callable[[Callable[[apsw.Connection], Any]], Any]

    async def add_session(self, session_id: str, token_id: str, secret_hash: bytes) -> None:
        now = self.clock.now_us()
        row = (session_id, token_id, secret_hash, now, now)
        with missing_reference("token"):
            await self._writer.run(lambda connection: connection.execute(_SQL["insert_session"], row))

    async def find_session(self, secret_hash: bytes) -> Session | None:
        rows = await self._read(lambda connection: list(connection.execute(_SQL["find_session"], (secret_hash,))))
        return session_of(rows[0]) if rows else None

    async def sessions_of(self, token_id: str) -> tuple[str, ...]:
        rows = await self._read(lambda connection: list(connection.execute(_SQL["sessions_of"], (token_id,))))
        return tuple(row[0] for row in rows)

    async def touch_session(self, session_id: str) -> None:
        values = (self.clock.now_us(), session_id)
        await self._writer.run(lambda connection: connection.execute(_SQL["touch_session"], values))

    async def revoke_session(self, session_id: str) -> bool:
        values = (self.clock.now_us(), session_id)

        def job(connection: apsw.Connection) -> bool:
            connection.execute(_SQL["revoke_session"], values)
            return connection.changes() > 0

        result: bool = await self._writer.run(job)
        return result

    async def delete_sessions(self, used_before: int) -> None:
        await self._writer.run(lambda connection: connection.execute(_SQL["delete_sessions"], (used_before,)))
