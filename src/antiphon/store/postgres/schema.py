"""Migrates a PostgreSQL database to this version's schema: ordered scripts in one transaction, under a lock."""

from __future__ import annotations

import re

from antiphon.errors import Unavailable
from antiphon.postgres.connection import Connection
from antiphon.postgres.requirements import check_may_create, check_rights
from antiphon.store.statements import load_migrations

SCHEMA_VERSION = len(load_migrations("postgres"))

_SCRIPTS = "\n".join(script for _, _, script in load_migrations("postgres"))
TABLES = ("schema_migrations", *re.findall(r"^CREATE (?:TABLE|SEQUENCE) (\w+)", _SCRIPTS, re.MULTILINE))
FUNCTIONS = tuple(re.findall(r"^CREATE FUNCTION (\w+)", _SCRIPTS, re.MULTILINE))
"""The tables, sequences and functions that the scripts create."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('antiphon schema ' || current_schema(), 0))"
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  number     INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""


async def migrate(connection: Connection) -> list[str]:
    """Run the scripts that the database lacks. If another process is migrating it, wait for that one first.

    Returns:
        The names of the scripts that ran.

    Raises:
        Unavailable: The schema is of a newer version.
    """
    found = await schema_version(connection)
    if found == SCHEMA_VERSION:
        return []
    await check_may_create(connection, TABLES)
    async with connection.transaction():
        await connection.execute(_LOCK)
        await connection.execute(_TABLE)
        return await _apply(connection, await schema_version(connection))


async def check_schema(connection: Connection) -> None:
    """Raises `Unavailable` unless the database has this version's schema."""
    found = await schema_version(connection)
    if found < SCHEMA_VERSION:
        raise Unavailable(
            f"the database has schema version {found}, this Antiphon needs {SCHEMA_VERSION}: run `antiphon migrate`"
        )


async def schema_version(connection: Connection) -> int:
    """The schema's version; 0: the database has no tables of Antiphon yet. Raises `Unavailable` if it is newer."""
    if await connection.fetchval("SELECT to_regclass(current_schema() || '.schema_migrations')") is None:
        return 0
    await check_rights(connection, TABLES[:1], ())
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
