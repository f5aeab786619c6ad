"""The files of an open SQLite database, and whether they are still where they were opened.

A file that is renamed or removed while it is open still accepts writes, and they are lost with it. SQLite
does not check this in WAL mode, so the store compares device and inode of each path with those of the files that it
opened: before and after each commit, and whenever readiness is asked for.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from antiphon.errors import Unavailable

SUFFIXES = ("", "-wal", "-shm")

Identity = tuple[int, int]

log = structlog.get_logger(__name__)


class FilesLost(Unavailable):
    """A file of the database is not where it was opened: nothing can be stored."""


class DatabaseFiles:
    """The database file, its write-ahead log and its shared memory, by device and inode. Used from any thread."""

    def __init__(self, path: Path) -> None:
        """Records the files as they are now: all of them exist once the database was opened in WAL mode."""
        self._opened = {name: _identity(name) for name in (f"{path}{suffix}" for suffix in SUFFIXES)}
        self.error: str | None = None
        """Why writes are refused. Permanent: later writes cannot be distinguished."""

    def check(self) -> None:
        """Raises `FilesLost` once a file was moved, removed or replaced, and on every later call."""
        error = self.refresh()
        if error is not None:
            raise FilesLost(error)

    def refresh(self) -> str | None:
        """Checks the files; returns the error instead of raising it."""
        if self.error is None:
            self.error = self._find_lost()
        return self.error

    def _find_lost(self) -> str | None:
        for name, opened in self._opened.items():
            if _identity(name) != opened:
                log.error("database_file_lost", path=name)
                return (
                    f"the file {os.path.basename(name)} was moved, removed or replaced while the server ran, and "
                    "nothing more can be stored; stop the server, put the file back, and start it again"
                )
        return None


def _identity(path: str) -> Identity | None:
    """None if the file does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
