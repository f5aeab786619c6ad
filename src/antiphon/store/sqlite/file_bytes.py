"""The bytes of uploaded files in a folder: `<file_id>.part` while a file is being uploaded, then `<file_id>`.

The functions block, and raise the errors of the store: `NotFound` for a file that does not exist, else `Unavailable`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from antiphon.errors import NotFound, Unavailable
from antiphon.ports import StoredFile

FOLDER = "files"
"""The folder of the bytes, beside the database."""
SYNC_BYTES = 32 * 1024 * 1024
"""After how many bytes of an upload its data is synced, so that the last sync is short and a slow disk slows the
client."""
_NAME = re.compile(r"([0-9a-f-]{36})(\.part)?")


def write_piece(folder: Path, file_id: str, offset: int, piece: bytes) -> None:
    """Write a piece of an upload."""
    with _translated():
        if offset == 0:
            folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if offset == 0 else 0)
        descriptor = os.open(folder / f"{file_id}.part", flags, 0o600)
        try:
            written = 0
            while written < len(piece):
                written += os.pwrite(descriptor, memoryview(piece)[written:], offset + written)
            if offset // SYNC_BYTES != (offset + len(piece)) // SYNC_BYTES:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def make_durable(folder: Path, file: StoredFile) -> None:
    """Sync the bytes, give them their final name, and sync the folder."""
    part = folder / f"{file.file_id}.part"
    with _translated():
        descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size != file.size:
                raise Unavailable("the uploaded bytes are not complete")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(part, folder / file.file_id)
        _sync_folder(folder)


def sync_parts(folder: Path) -> None:
    """Sync the bytes of all uploads in the folder, and give them their final names."""
    with _translated():
        for part in sorted(folder.glob("*.part")):
            with part.open("rb") as opened:
                os.fsync(opened.fileno())
            os.rename(part, part.with_suffix(""))
        if folder.is_dir():
            _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_piece(folder: Path, file_id: str, offset: int, size: int) -> bytes:
    """Read at most `size` bytes at `offset`."""
    with _translated():
        descriptor = os.open(folder / file_id, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)


def size_of(folder: Path, file_id: str) -> int:
    """The size of a file, in bytes."""
    with _translated():
        return (folder / file_id).stat().st_size


def remove(folder: Path, file_id: str) -> None:
    """Remove the bytes of a file or an upload, if there are any."""
    with _translated():
        (folder / f"{file_id}.part").unlink(missing_ok=True)
        (folder / file_id).unlink(missing_ok=True)


def list_ids(folder: Path) -> set[str]:
    """The ids in the names of the files; other files in the folder are not ours."""
    with _translated():
        found = os.listdir(folder) if folder.is_dir() else []
    return {match[1] for name in found if (match := _NAME.fullmatch(name))}


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The errors of the file system as the store's own."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound("file") from None
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if is_full else f"a file cannot be stored or read: {error.strerror or error}"
        raise Unavailable(reason) from error
