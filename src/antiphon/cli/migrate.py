"""`antiphon migrate`: the database of a data directory at this version's schema."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from antiphon.cli.verb import DATA, Verb, data_option, json_option, print_json


@click.command("migrate", cls=Verb)
@data_option
@json_option
def command(data: Path | None, as_json: bool) -> None:
    """Bring the database to this version's schema (`serve` does so by itself). No instance may be running on it.

    With --json: {schema_version, applied}.
    """
    version, applied = asyncio.run(_migrate(data or Path(DATA)))
    if as_json:
        print_json({"schema_version": version, "applied": applied})
    elif applied:
        click.echo(f"Applied {', '.join(applied)}: the schema is at version {version} now.")
    else:
        click.echo(f"Nothing to do: the schema is at version {version}.")


async def _migrate(data: Path) -> tuple[int, list[str]]:
    from antiphon.clock import SystemClock
    from antiphon.lockfile import claim_data
    from antiphon.store.migrate import SCHEMA_VERSION
    from antiphon.store.sqlite import open_sqlite_store
    from antiphon.store.statements import load_migrations

    path = data / "antiphon.db"
    with claim_data(data, instance_id="migrate"):
        found = _version(path)
        store = await open_sqlite_store(path, clock=SystemClock())
        await store.aclose()
    return SCHEMA_VERSION, [name for _, name, _ in load_migrations("sqlite")[found:]]


def _version(path: Path) -> int:
    """The schema's version before; 0: there is no database yet."""
    import apsw

    from antiphon.store.migrate import schema_version

    if not path.exists():
        return 0
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return schema_version(connection)
    except (apsw.NotADBError, apsw.CorruptError):
        return 0  # opening the store says so in a sentence
    finally:
        connection.close()
