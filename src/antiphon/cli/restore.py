"""`antiphon restore`: make a data directory from a backup."""

from __future__ import annotations

import shlex
import signal
import time
from pathlib import Path

import click

from antiphon.cli.backup_progress import BackupProgress
from antiphon.cli.clean import clean_line
from antiphon.cli.verb import DATA, Verb, data_option, json_option, print_json


@click.command("restore", cls=Verb)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
@json_option
def command(file: Path, data: Path | None, as_json: bool) -> None:
    """Make a data directory from FILE, which `antiphon backup` has written. The directory must be empty or not exist.

    The checksum of everything is compared before anything gets its place: a damaged or incomplete FILE is refused and
    leaves nothing behind. Then start `antiphon serve` on the directory; it continues the turns that were running. It
    creates a new admin token. Tokens that were valid at the time of the backup are valid, also those revoked since.

    With --json: {data, chats, files, created_at, seconds}.
    """
    from antiphon.store.backup.restore import restore_archive

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as after Ctrl-C
    started = time.monotonic()
    directory = data or Path(DATA)
    progress = BackupProgress()
    try:
        manifest = restore_archive(file, directory, progress)
    finally:
        progress.finish()
    seconds = time.monotonic() - started
    if as_json:
        print_json(
            {
                "data": str(directory),
                "chats": manifest.chats,
                "files": manifest.files,
                "created_at": manifest.created_at,
                "seconds": round(seconds, 3),
            }
        )
        return
    click.echo(
        f"Restored {manifest.chats} chats and {manifest.files} files of {clean_line(manifest.created_at)}. "
        f"Start the instance with `antiphon serve --data {shlex.quote(str(directory))}`."
    )
