"""`antiphon backup`: write the chats and files of a data directory to one file."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.backup_progress import BackupProgress
from antiphon.cli.clean import clean_line
from antiphon.cli.size_text import size_text
from antiphon.cli.verb import DATA, EXIT_FAILED, Verb, data_option, json_option, print_json, store_option
from antiphon.errors import Invalid

if TYPE_CHECKING:
    from antiphon.store.backup.manifest import Manifest
    from antiphon.store.backup.partial import PartialBackup

FINDINGS_MAX = 20
"""Maximum number of findings that are printed."""


@click.command("backup", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@data_option
@store_option
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--no-check", is_flag=True, help="Do not check the copy; also write it if chats or files are damaged.")
@json_option
def command(file: Path, data: Path | None, store: str | None, force: bool, no_check: bool, as_json: bool) -> None:
    """Write the chats and the uploaded files of a data directory to FILE, a tar archive; .tar.gz or .tgz compresses
    it. An instance may run on the directory: the copy is one moment of it, and nothing waits.

    At the end the copy is read again and checked as `antiphon doctor` does. FILE gets its name only then, so it is
    complete or does not exist. It needs free space for the backup and for one more copy of the database. It has every
    chat in it: only you can read it.

    The backup does not contain the key that encrypts the secrets of providers, nor tokens in clear text. Restore it
    with `antiphon restore FILE --data DIR`.

    With --json: {file, bytes, chats, files, seconds}.
    """
    from antiphon.store.backup.backup import write_archive
    from antiphon.store.backup.partial import open_partial

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as after Ctrl-C
    started = time.monotonic()
    directory = _directory_of(data, store)
    progress = BackupProgress()
    with open_partial(file, force=force) as partial:
        try:
            manifest = write_archive(directory, partial, file=file, on_progress=progress)
            findings = [] if no_check else _findings(partial, manifest, progress)
        finally:
            progress.finish()
        if findings:
            _report(findings, as_json)
        partial.publish()
    seconds = time.monotonic() - started
    size = file.stat().st_size
    if as_json:
        print_json(
            {
                "file": str(file),
                "bytes": size,
                "chats": manifest.chats,
                "files": manifest.files,
                "seconds": round(seconds, 3),
            }
        )
    else:
        click.echo(
            f"Wrote {file}: {manifest.chats} chats and {manifest.files} files, {size_text(size)} in {seconds:.1f} s."
        )
    click.echo(_what_else(), err=True)


def _directory_of(data: Path | None, store: str | None) -> Path:
    """The data directory to back up. Raises `Invalid` if the chats are in PostgreSQL."""
    from antiphon.local.lock import read_primary
    from antiphon.store.backup.manifest import DATABASE
    from antiphon.store.url import sqlite_path

    directory = data or Path(DATA)
    if store:
        if data:
            raise Invalid("--store", "give either --store or --data")
        path = sqlite_path(store)
        if path is None:
            raise Invalid("--store", _POSTGRES)
        if path.name != DATABASE:
            raise Invalid("--store", f"the database of a data directory is named {DATABASE}")
        directory = path.parent
    primary = read_primary(directory)
    if primary is not None and primary.role == "replica":
        raise Invalid("--data", f"{directory} is the directory of a replica: {_POSTGRES}")
    return directory


_POSTGRES = (
    "the chats and files are in PostgreSQL: back them up with `pg_dump --format=custom`, and keep the file of "
    "--secret-key-file apart from the dump; if --files is s3://…, copy or version the bucket after the dump"
)


def _findings(partial: PartialBackup, manifest: Manifest, progress: BackupProgress) -> list[str]:
    """What is wrong with the copy: the archive is read again, and its database is examined."""
    from antiphon.store.backup.reading import read_archive

    def read(name: str, pieces: Iterator[bytes]) -> None:
        for _ in pieces:
            pass

    read_archive(partial.archive, read, lambda _, done, total: progress("checking", done, total))
    return asyncio.run(_examine(partial, manifest))


async def _examine(partial: PartialBackup, manifest: Manifest) -> list[str]:
    from antiphon.chats.doctor import examine
    from antiphon.clock import SystemClock
    from antiphon.store.backup.archived_files import ArchivedFiles, damaged_files
    from antiphon.store.sqlite.store import open_sqlite_store

    store = await open_sqlite_store(
        partial.database, clock=SystemClock(), file_storage=ArchivedFiles(manifest.members)
    )
    try:
        report = await examine(store, checksums=False)
        return [str(finding) for finding in report.findings] + await damaged_files(store, manifest.members)
    finally:
        await store.aclose()


def _report(findings: list[str], as_json: bool) -> None:
    """Print what is damaged, and exit."""
    if as_json:
        print_json({"error": {"code": "damaged", "message": _DAMAGED, "findings": findings[:FINDINGS_MAX]}})
    else:
        for finding in findings[:FINDINGS_MAX]:
            click.echo(f"- {clean_line(finding)}", err=True)
        click.echo(f"antiphon: {len(findings)} findings. {_DAMAGED}", err=True)
    raise SystemExit(EXIT_FAILED)


_DAMAGED = "No backup was written, because the data has damage. To back it up as it is, add --no-check."


def _what_else() -> str:
    """A sentence about what the backup does not contain."""
    from antiphon.models.user_key import UserKeyFile

    user_key = UserKeyFile.of(os.environ)
    place = f", else {user_key.path}" if user_key is not None and user_key.path.exists() else ""
    return (
        "Not in the backup: the key that encrypts the secrets of providers. Keep a copy of it apart from the backup "
        f"(the file of --secret-key-file or ANTIPHON_SECRET_KEY{place})."
    )
