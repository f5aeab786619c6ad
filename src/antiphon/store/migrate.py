"""Migrates a SQLite database to this version's schema: ordered scripts, each in its own transaction."""

from __future__ import annotations

import apsw

from antiphon.errors import Unavailable
from antiphon.store.statements import load_migrations

SCHEMA_VERSION = len(load_migrations("sqlite"))


def schema_version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))


def migrate(connection: apsw.Connection) -> list[str]:
    """Run the scripts that the database lacks, and return their names. Raises `Unavailable` for a newer schema."""
    found = schema_version(connection)
    if found > SCHEMA_VERSION:
        raise Unavailable(
            f"the database has schema version {found}, this Antiphon knows {SCHEMA_VERSION}: use a newer Antiphon"
        )
    applied = []
    for number, name, script in load_migrations("sqlite")[found:]:
        with connection:
            connection.execute(script)
            connection.pragma("user_version", number)
        applied.append(name)
    return applied
