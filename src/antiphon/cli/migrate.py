"""`antiphon migrate`: migrate a store to this version's schema, or copy a store."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from antiphon.cli.verb import DATA, Verb, data_option, json_option, print_json, store_option
from antiphon.errors import Invalid


@click.command("migrate", cls=Verb)
@data_option
@store_option
@click.option("--from", "source", metavar="STORE", help="Copy this store …")
@click.option("--to", "target", metavar="STORE", help="… into this one, which must be empty.")
@click.option("--files-to", metavar="URL", help="Put the bytes of its files here: s3://BUCKET/PREFIX.")
@click.option("--finish", is_flag=True, help="Allow facts that instances of the previous release cannot read.")
@json_option
def command(
    data: Path | None,
    store: str | None,
    source: str | None,
    target: str | None,
    files_to: str | None,
    finish: bool,
    as_json: bool,
) -> None:
    """Migrate a store to this version's schema (`serve` does so at its start), or copy one store into another.

    A STORE is sqlite:PATH or postgresql://user@host/database. Seqs, ids, tokens and receipts stay the same, so
    clients continue where they were. No instance may run on a store that is copied, nor on a data directory that is
    migrated; replicas of the previous release may continue. The first instance that starts on the copy continues a
    running turn. The bytes of files are copied into the target itself, or to --files-to.

    Use --finish when every instance runs this version: from then on it writes all kinds of facts that it can read.
    This version always does, so there is nothing to enable.

    With --json: {schema_version, applied}, or {copied: {table: rows}}.
    """
    if (source is None) != (target is None):
        raise Invalid("--to" if source else "--from", "--from and --to require each other")
    if source and target:
        if data or store or finish:
            raise Invalid("--from", "give either --from and --to, or one store to migrate")
        asyncio.run(_copy(source, target, files_to or "", as_json))
        return
    if files_to:
        raise Invalid("--files-to", "requires --from and --to: files are moved by copying their store")
    version, applied = asyncio.run(_migrate(data, store))
    if as_json:
        print_json({"schema_version": version, "applied": applied})
        return
    if applied:
        click.echo(f"Applied {', '.join(applied)}: the schema is at version {version} now.")
    else:
        click.echo(f"Nothing to do: the schema is at version {version}.")
    if finish:
        click.echo("Nothing to finish: this version writes all kinds of facts that it can read.")


async def _copy(source: str, target: str, files_to: str, as_json: bool) -> None:
    from antiphon.store.copying import copy_store
    from antiphon.store.url import displayed_url

    def show(table: str, rows: int) -> None:
        end = "\r" if sys.stderr.isatty() else "\n"
        click.echo(f"{table}: {rows} rows{end}", err=True, nl=False)

    copied = await copy_store(source, target, show, files_to=files_to)
    if as_json:
        print_json({"copied": copied.rows})
    else:
        click.echo(
            f"Copied {copied.rows['chats']} chats with {copied.rows['facts']} facts to {displayed_url(target)}."
        )


async def _migrate(data: Path | None, store: str | None) -> tuple[int, list[str]]:
    from antiphon.store.url import sqlite_path

    path = (data or Path(DATA)) / "antiphon.db"
    if store:
        if data:
            raise Invalid("--store", "give either --store or --data")
        found = sqlite_path(store)
        if found is None:
            return await _migrate_postgres(store)
        path = found
    return await _migrate_sqlite(path)


async def _migrate_postgres(url: str) -> tuple[int, list[str]]:
    from antiphon.store.postgres.schema import SCHEMA_VERSION
    from antiphon.store.postgres.store import prepare_database

    return SCHEMA_VERSION, await prepare_database(url)


async def _migrate_sqlite(path: Path) -> tuple[int, list[str]]:
    from antiphon.clock import SystemClock
    from antiphon.local.lock import claim_data
    from antiphon.store.migrate import SCHEMA_VERSION
    from antiphon.store.sqlite.store import open_sqlite_store
    from antiphon.store.statements import load_migrations

    with claim_data(path.parent, instance_id="migrate"):
        found = _version(path)
        store = await open_sqlite_store(path, clock=SystemClock())
        await store.aclose()
    return SCHEMA_VERSION, [name for _, name, _ in load_migrations("sqlite")[found:]]


def _version(path: Path) -> int:
    """The version of the schema before the migration; 0: there is no database yet."""
    import apsw

    from antiphon.store.migrate import schema_version

    if not path.exists():
        return 0
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return schema_version(connection)
    except (apsw.NotADBError, apsw.CorruptError):
        return 0  # opening the store reports this as an error
    finally:
        connection.close()
