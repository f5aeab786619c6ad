"""The folder beside a backup in which it is made: it gets its final name complete, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from antiphon.errors import Invalid, Unavailable
from antiphon.store.backup.manifest import DATABASE

SUFFIX = ".antiphon-partial"
"""How the names of such folders end."""


class PartialBackup:
    """A backup that is being made: the archive, and the copy of the database that goes into it."""

    def __init__(self, folder: Path, file: Path, *, force: bool) -> None:
        self.archive = folder / "archive"
        self.database = folder / DATABASE
        self._folder = folder
        self._file = file
        self._force = force

    def remove_database(self) -> None:
        """Remove the copy of the database, with what SQLite has beside it."""
        for found in self._folder.glob(f"{DATABASE}*"):
            found.unlink()

    def publish(self) -> None:
        """Give the complete archive its final name. Raises `Invalid` if the file exists meanwhile."""
        check_target(self._file, force=self._force)
        os.replace(self.archive, self._file)
        sync_folder(self._file.parent)


def check_target(file: Path, *, force: bool) -> None:
    """Raises `Invalid` if the file of a backup exists, unless it may be replaced."""
    if file.is_dir():
        raise Invalid("FILE", f"{file} is a directory")
    if not force and os.path.lexists(file):
        raise Invalid("FILE", f"{file} exists; choose another name, or replace it with --force")


@contextmanager
def open_partial(file: Path, *, force: bool) -> Iterator[PartialBackup]:
    """Make the backup `file` in a private folder beside it, which is removed at the end. What killed
    backups have left there is removed first.

    Raises:
        Invalid: The file exists (and not `force`), or its folder does not.
        Unavailable: Another process makes the same backup, or another user has a folder of that name.
    """
    check_target(file, force=force)
    if not file.parent.is_dir():
        raise Invalid("FILE", f"there is no directory {file.parent}")
    _remove_leftovers(file.parent)
    folder = file.parent / f".{file.name}{SUFFIX}"
    descriptor = _claim(folder)
    if descriptor is None:
        raise Unavailable(f"another process is writing {file}; wait for it, or choose another name")
    try:
        if not _is_private(descriptor):
            raise Unavailable(f"{folder} belongs to another user; choose another directory")
        try:
            with full_disk_explained(str(file)):
                yield PartialBackup(folder, file, force=force)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _claim(folder: Path) -> int | None:
    """Create the folder and lock it; None while another process holds it. The caller closes the descriptor."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = _lock(folder)
        if descriptor is None:
            return None
        if folder.exists() and os.path.samestat(folder.stat(), os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)  # another process has removed it as a leftover, before it was locked


def _lock(folder: Path) -> int | None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_leftovers(parent: Path) -> None:
    """Remove what killed backups have left in this directory, of any name: their locks are free."""
    for found in parent.glob(f".*{SUFFIX}"):
        with suppress(OSError):  # not ours
            descriptor = _lock(found)
            if descriptor is not None:
                if _is_private(descriptor):
                    shutil.rmtree(found, ignore_errors=True)
                os.close(descriptor)


def _is_private(descriptor: int) -> bool:
    """Whether only this user may use the folder. In a directory that all users may write, another one could have
    created it to read or replace what is written there."""
    status = os.fstat(descriptor)
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


@contextmanager
def full_disk_explained(written: str) -> Iterator[None]:
    """A full disk as a sentence that says what was being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise Unavailable(
            f"{written} cannot be written: the disk is full; free some space, then try again"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
