"""Bringing a PostgreSQL database to this version's schema: ordered scripts in one transaction, by one at a time."""

from __future__ import annotations

import asyncpg

from antiphon.errors import Unavailable
from antiphon.store.postgres_connection import Connection
from antiphon.store.statements import load_migrations

SCHEMA_VERSION = len(load_migrations("postgres"))

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('antiphon schema ' || current_schema(), 0))"
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  number     INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""


async def migrate(connection: Connection) -> list[str]:
    """Apply what is missing; the names of the scripts that ran. Raises `Unavailable` for a newer schema.

    Who comes while another migrates waits for it and then finds nothing to do.
    """
    if await connection.fetchval("SELECT current_schema()") is None:
        raise Unavailable("the database has no schema of the name that its search path says")
    found = await schema_version(connection)
    if found == SCHEMA_VERSION:
        return []
    try:
        async with connection.transaction():
            await connection.execute(_LOCK)
            await connection.execute(_TABLE)
            return await _apply(connection, await schema_version(connection))
    except asyncpg.InsufficientPrivilegeError as error:
        raise Unavailable("the database's user may not create tables in this schema") from error


async def check_schema(connection: Connection) -> None:
    """Raises `Unavailable` unless the database has this version's schema."""
    found = await schema_version(connection)
    if found < SCHEMA_VERSION:
        raise Unavailable(
            f"the database has schema version {found}, this Antiphon needs {SCHEMA_VERSION}: run `antiphon migrate`"
        )


async def schema_version(connection: Connection) -> int:
    """0: there is no Antiphon in it yet. Raises `Unavailable` if it is newer than this one."""
    if await connection.fetchval("SELECT to_regclass(current_schema() || '.schema_migrations')") is None:
        return 0
    found = int(await connection.fetchval("SELECT coalesce(max(number), 0) FROM schema_migrations"))
    if found > SCHEMA_VERSION:
        raise Unavailable(
            f"the database has schema version {found}, this Antiphon knows {SCHEMA_VERSION}: use a newer Antiphon"
        )
    return found


async def _apply(connection: Connection, found: int) -> list[str]:
    applied = []
    for number, name, script in load_migrations("postgres")[found:]:
        await connection.execute(script)
        await connection.execute("INSERT INTO schema_migrations (number, name) VALUES ($1, $2)", number, name)
        applied.append(name)
    return applied
