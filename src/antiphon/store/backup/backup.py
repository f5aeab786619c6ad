"""Writes the backup of a data directory that may be in use.

A server writes the bytes of a file before its row, removes them after it, and never changes them. So every snapshot
of the database is complete when each file that it names is in the archive, whenever its bytes were copied:

1. The files that exist are copied, without a snapshot. One that is removed meanwhile is skipped.
2. The database is copied, as one moment, and the files that it names and that are not in the archive yet: those of
   the last seconds or minutes.
3. If one of them is gone, and its row is gone from the live database too, it was removed in between (its chat was
   deleted, or it expired). Then step 2 is repeated. The next snapshot does not name it, and few files remain to copy.
4. The last snapshot is added, then the manifest. Files that it does not name are listed there as removed.

Everything that was acknowledged before the backup began is in it, because the snapshot is later.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import apsw

from antiphon.errors import Invalid, Unavailable
from antiphon.ports import StoredFile
from antiphon.store.backup.archive import PIECE_BYTES, ArchiveWriter, create_archive, is_compressed
from antiphon.store.backup.manifest import (
    DATABASE,
    FORMAT,
    MANIFEST,
    MANIFEST_SUM,
    MEMBERS_MAX,
    Manifest,
    Member,
    encode_manifest,
    file_name,
    sum_of_manifest,
)
from antiphon.store.backup.partial import PartialBackup
from antiphon.store.migrate import schema_version
from antiphon.store.objects.opening import PLACE_SETTING
from antiphon.store.rows import file_of
from antiphon.store.sqlite.database import SQL, first
from antiphon.store.sqlite.file_bytes import FOLDER
from antiphon.store.sqlite.snapshot import copy_snapshot, open_for_reading, sqlite_errors
from antiphon.version import __version__

SNAPSHOTS_MAX = 5
"""Maximum number of snapshots of the database, if files are removed while they are copied."""
ROWS_MAX = 500
"""Maximum number of rows of files in one read: no long read keeps the write-ahead log from being truncated."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, and the number of bytes done and of all bytes (0: unknown)."""


def write_archive(data: Path, partial: PartialBackup, *, file: Path, on_progress: Progress) -> Manifest:
    """Write the archive of the data directory, and leave the copied database beside it.

    A file whose bytes are missing or damaged in the data directory is no error here; the check of the copy finds it.

    Args:
        data: The data directory; an instance may run on it.
        partial: Where to write.
        file: The final name, which decides about compression.
        on_progress: See `Progress`.

    Raises:
        Invalid: There is no database, or the bytes of its files are in S3.
        Unavailable: Something cannot be read or written.
    """
    source = data / DATABASE
    _check_place(source)
    with create_archive(partial.archive, compressed=is_compressed(file)) as archive:
        files = _FileCopies(data / FOLDER, archive, on_progress)
        files.copy_named(source)
        for _ in range(SNAPSHOTS_MAX):
            partial.remove_database()
            copy_snapshot(
                source, partial.database, lambda done, total: on_progress("copying the database", done, total)
            )
            missing = files.copy_named(partial.database)
            if not _removed_since(source, missing):
                break
        else:
            raise Unavailable("files are removed faster than they can be copied; run the backup again later")
        return _add_database(archive, partial.database, files)


def _check_place(source: Path) -> None:
    """Raises `Invalid` if the bytes of the store's files are apart from it."""
    with closing(open_for_reading(source)) as connection, sqlite_errors():
        if not _has_table(connection, "settings"):
            return
        place = first(connection, "read_setting", PLACE_SETTING)
    if place and place[0]:
        raise Invalid(
            "--data",
            f"the files of this store are at {place[0]}, and a backup cannot contain them: first copy the database "
            f'(`sqlite3 {source} ".backup copy.db"`), then copy or version the bucket with the tools of its '
            "provider, and keep the key that encrypts the secrets of providers",
        )


class _FileCopies:
    """The files in the archive."""

    def __init__(self, folder: Path, archive: ArchiveWriter, on_progress: Progress) -> None:
        self.members: dict[str, Member] = {}
        self.named: set[str] = set()
        """The members that the database named which was read last."""
        self._folder = folder
        self._archive = archive
        self._on_progress = on_progress
        self._bytes = 0

    def copy_named(self, database: Path) -> list[str]:
        """Copy the files that the database names and that are not in the archive; returns the ids of those that have
        no bytes."""
        self.named, missing = set(), []
        for row in _iter_files(database):
            name = file_name(row.file_id)
            self.named.add(name)
            if name not in self.members and not self._copy(row, name):
                missing.append(row.file_id)
        return missing

    def _copy(self, row: StoredFile, name: str) -> bool:
        """Whether the file was there."""
        if len(self.members) >= MEMBERS_MAX:
            raise Unavailable(f"there are more than {MEMBERS_MAX:,} files; keep the data directory in another way")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._folder / row.file_id, flags)
        except FileNotFoundError:
            return False
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unavailable(f"{self._folder / row.file_id} is not a plain file")
            modified_s = row.created_at // 1_000_000
            self.members[name] = self._archive.add(name, status.st_size, self._pieces(opened), modified_s=modified_s)
        return True

    def _pieces(self, opened: IO[bytes]) -> Iterator[bytes]:
        while piece := opened.read(PIECE_BYTES):
            yield piece
            self._bytes += len(piece)
            self._on_progress("copying files", self._bytes, 0)


def _add_database(archive: ArchiveWriter, database: Path, files: _FileCopies) -> Manifest:
    """Add the snapshot and the manifest."""
    with closing(open_for_reading(database)) as connection, sqlite_errors():
        chats: Any = connection.execute("SELECT count(*) FROM chats WHERE is_deleted = 0").fetchall()[0][0]
        version = schema_version(connection)
    now = time.time()
    with database.open("rb") as opened:
        pieces = iter(lambda: opened.read(PIECE_BYTES), b"")
        copied = archive.add(DATABASE, os.fstat(opened.fileno()).st_size, pieces, modified_s=int(now))
    manifest = Manifest(
        format=FORMAT,
        antiphon=__version__,
        schema_version=version,
        created_at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        chats=int(chats),
        files=len(files.named & files.members.keys()),
        members=files.members | {DATABASE: copied},
        removed=tuple(sorted(files.members.keys() - files.named)),
    )
    content = encode_manifest(manifest)
    for name, last in ((MANIFEST, content), (MANIFEST_SUM, sum_of_manifest(content))):
        archive.add(name, len(last), [last], modified_s=int(now))
    return manifest


def _iter_files(database: Path) -> Iterator[StoredFile]:
    """The rows of the files of a database that may be in use."""
    with closing(open_for_reading(database)) as connection, sqlite_errors():
        if not _has_table(connection, "files"):
            return
        after = ""
        while files := [file_of(row) for row in connection.execute(SQL["list_files"], (after, ROWS_MAX))]:
            yield from files
            after = files[-1].file_id


def _removed_since(source: Path, missing: list[str]) -> bool:
    """Whether one of these files was removed by a server. The others are damage."""
    if not missing:
        return False
    with closing(open_for_reading(source)) as connection, sqlite_errors():
        return any(first(connection, "find_file", file_id) is None for file_id in missing)


def _has_table(connection: apsw.Connection, name: str) -> bool:
    """A database of an earlier version has fewer tables."""
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchall())
