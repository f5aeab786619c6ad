"""`antiphon doctor`: check that the stored data is consistent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.clean import clean_line
from antiphon.cli.verb import DATA, EXIT_FAILED, Verb, data_option, json_option, print_json, store_option
from antiphon.errors import Invalid

if TYPE_CHECKING:
    from antiphon.chats.doctor import Report


@click.command("doctor", cls=Verb)
@data_option
@store_option
@click.option("--checksums", is_flag=True, help="Also read the files in S3; others are always read.")
@json_option
def command(data: Path | None, store: str | None, checksums: bool, as_json: bool) -> None:
    """Fold the log of every chat and compare the result with the stored state and the sums of usage; read every
    uploaded file and compare its checksum. Of files in S3 only the sizes are compared, unless --checksums is given.
    No instance may be running on the directory; a PostgreSQL database may be in use.

    The exit code is 1 if the report has findings. With --json: the report.
    """
    report = asyncio.run(_examine(data, store, checksums))
    if as_json:
        print_json({"is_sound": report.is_sound} | {name: getattr(report, name) for name in report.__struct_fields__})
    else:
        for finding in report.findings:
            click.echo(f"- {clean_line(str(finding))}")
        click.echo(_summary(report))
    if not report.is_sound:
        raise SystemExit(EXIT_FAILED)


def _summary(report: Report) -> str:
    examined = f"{report.chats} chats with {report.facts} facts" + (
        f" and {report.files} files" if report.files else ""
    )
    if report.is_sound:
        return f"No damage found: checked {examined}, and the stored states match the logs."
    return f"Checked {examined}: {len(report.findings)} findings. Keep a copy of the store."


async def _examine(data: Path | None, store: str | None, checksums: bool) -> Report:
    from antiphon.store.url import sqlite_path

    path = (data or Path(DATA)) / "antiphon.db"
    if store:
        if data:
            raise Invalid("--store", "give either --store or --data")
        found = sqlite_path(store)
        if found is None:
            return await _examine_postgres(store, checksums)
        path = found
    return await _examine_sqlite(path, checksums)


async def _examine_postgres(url: str, checksums: bool) -> Report:
    from antiphon.chats.doctor import examine
    from antiphon.store.objects.opening import with_file_storage
    from antiphon.store.postgres.store import open_postgres_store

    store = await with_file_storage(lambda storage: open_postgres_store(url, may_migrate=False, file_storage=storage))
    try:
        return await examine(store, checksums=checksums or store.file_storage is None)
    finally:
        await store.aclose()


async def _examine_sqlite(path: Path, checksums: bool) -> Report:
    from antiphon.chats.doctor import examine
    from antiphon.clock import SystemClock
    from antiphon.local.lock import claim_data
    from antiphon.store.objects.opening import with_file_storage
    from antiphon.store.sqlite.store import open_sqlite_store

    if not path.exists():
        raise Invalid("--data", f"there is no database in {path.parent}")
    with claim_data(path.parent, instance_id="doctor"):
        store = await with_file_storage(
            lambda storage: open_sqlite_store(path, clock=SystemClock(), file_storage=storage)
        )
        try:
            return await examine(store, checksums=checksums or store.file_storage is None)
        finally:
            await store.aclose()
