"""Restores a backup into an empty data directory.

Everything is unpacked into a private folder in the directory, checked, and then moved to its place: first the files,
then the database, which makes it a data directory. So a failed or killed restore leaves no database, and the next one
removes what a killed one has left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from antiphon.errors import Invalid
from antiphon.local.lock import LOCK_NAME, claim_data
from antiphon.store.backup.manifest import DATABASE, Manifest
from antiphon.store.backup.partial import full_disk_explained, sync_folder
from antiphon.store.backup.reading import read_archive
from antiphon.store.migrate import SCHEMA_VERSION
from antiphon.store.sqlite.file_bytes import FOLDER

UNPACKED = ".restoring"
"""The folder in the data directory into which a backup is unpacked."""
_IGNORED = {LOCK_NAME, "lost+found"}
"""What an empty directory may have: a lock that is not held, and the folder of a file system's own."""


def restore_archive(file: Path, data: Path, on_progress: Callable[[str, int, int], None]) -> Manifest:
    """Restore the backup `file` into `data`, which must not exist or be empty. The directory is locked meanwhile.

    Raises:
        Invalid: The directory is not empty, or the file is not a sound backup. Nothing is left behind.
        Unavailable: The directory is in use, or the disk is full.
    """
    file.open("rb").close()  # before a directory is created
    with _empty_directory(data) as folder, full_disk_explained(str(data)):
        (folder / FOLDER).mkdir(mode=0o700)
        manifest = read_archive(file, lambda name, pieces: _write(folder / name, pieces), on_progress)
        if manifest.schema_version > SCHEMA_VERSION:
            raise Invalid(
                "FILE",
                f"its database has schema version {manifest.schema_version}, this Antiphon knows {SCHEMA_VERSION}: "
                "use a newer Antiphon",
            )
        for name in manifest.removed:
            (folder / name).unlink()
        sync_folder(folder / FOLDER)
        os.rename(folder / FOLDER, data / FOLDER)
        os.rename(folder / DATABASE, data / DATABASE)
        folder.rmdir()
        sync_folder(data)
    return manifest


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a new file, and make it durable."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        for piece in pieces:
            opened.write(piece)
        opened.flush()
        os.fsync(descriptor)


@contextmanager
def _empty_directory(data: Path) -> Iterator[Path]:
    """Claim an empty data directory, and make the folder in it. If the block fails, all of it is removed, and the
    directories that did not exist."""
    _check_empty(data)
    created = [folder for folder in (data, *data.parents) if not folder.exists()]
    try:
        with claim_data(data, instance_id="restore"):
            _check_empty(data)
            _clear(data)
            folder = data / UNPACKED
            folder.mkdir(mode=0o700)
            try:
                yield folder
            except BaseException:
                _clear(data)
                (data / LOCK_NAME).unlink(missing_ok=True)
                raise
    except BaseException:
        with suppress(OSError):
            for folder in created:
                folder.rmdir()
        raise


def _check_empty(data: Path) -> None:
    if not os.path.lexists(data):
        return
    if not data.is_dir():
        raise Invalid("--data", f"{data} is not a directory")
    found = set(os.listdir(data)) - _IGNORED
    if UNPACKED in found:  # of a restore that was killed
        found -= {UNPACKED, FOLDER}
    if found:
        raise Invalid("--data", f"{data} is not empty; give a directory that is empty or does not exist yet")


def _clear(data: Path) -> None:
    """Remove what a restore has written."""
    for name in (UNPACKED, FOLDER):
        if (data / name).exists():
            shutil.rmtree(data / name)
    (data / DATABASE).unlink(missing_ok=True)
