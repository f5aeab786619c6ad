"""The archive of a backup: a tar file, optionally compressed with gzip, that is written and read as a stream.

Only plain files with short names are written and accepted. Headers are made and read by `tarfile.TarInfo`, one block
each; `tarfile.TarFile` is not used to read, because it interprets links, sparse files and extended headers of any
size, and keeps every member in memory.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from antiphon.errors import Invalid, Unavailable
from antiphon.store.backup.manifest import Member
from antiphon.store.sqlite.file_bytes import SYNC_BYTES

PIECE_BYTES = 1024 * 1024
"""How many bytes are read and written at once."""
GZIP_LEVEL = 6
_GZIP_SUFFIXES = (".gz", ".tgz")
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = tarfile.BLOCKSIZE
_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE)


def is_compressed(path: Path) -> bool:
    """Whether an archive of this name is written with gzip."""
    return path.name.endswith(_GZIP_SUFFIXES)


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    def write(self, piece: bytes, /) -> int: ...


class ArchiveWriter:
    """Writes members to a stream, one after the other."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream

    def add(self, name: str, size: int, pieces: Iterable[bytes], *, modified_s: int) -> Member:
        """Write a member of exactly `size` bytes. Raises `Unavailable` if `pieces` have more or fewer."""
        self._stream.write(_header(name, size, modified_s))
        digest, written = hashlib.sha256(), 0
        for piece in pieces:
            digest.update(piece)
            self._stream.write(piece)
            written += len(piece)
        if written != size:
            raise Unavailable(f"{name} changed its size while it was copied; run the backup again")
        self._stream.write(b"\0" * (-size % _BLOCK))
        return Member(size=size, sha256=digest.hexdigest())

    def finish(self) -> None:
        """Write the end mark."""
        self._stream.write(b"\0" * (2 * _BLOCK))


class MemberReader:
    """A member that is being read: its name, its size, and its bytes, once."""

    def __init__(self, stream: Readable, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._stream = stream
        self._left = size

    def pieces(self) -> Iterator[bytes]:
        while self._left:
            piece = self._stream.read(min(self._left, PIECE_BYTES))
            if not piece:
                raise Invalid("FILE", f"it ends in the middle of {self.name}: the backup is incomplete")
            self._left -= len(piece)
            yield piece

    def skip_rest(self) -> None:
        """Read the rest of the member and what fills its last block."""
        for _ in self.pieces():
            pass
        _read_zeros(self._stream, -self.size % _BLOCK)


def iter_members(stream: Readable) -> Iterator[MemberReader]:
    """The members of an archive, up to its end mark and the end of the stream. What the caller does not read of a
    member is skipped. Raises `Invalid` if the archive is damaged, incomplete or has anything but plain files."""
    while (block := _read_exactly(stream, _BLOCK)).strip(b"\0"):
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
            raise Invalid("FILE", "it is not a backup, or it is damaged") from error
        if header.type not in _TYPES or header.size < 0:
            raise Invalid("FILE", f"it is not a backup of Antiphon: {header.name!r} is not a plain file")
        if _header(header.name, header.size, int(header.mtime)) != block:
            raise Invalid("FILE", f"the header of {header.name!r} is not as it was written: the backup is damaged")
        member = MemberReader(stream, header.name, header.size)
        yield member
        member.skip_rest()
    _read_zeros(stream, _BLOCK)  # the second one of the end mark
    while rest := stream.read(PIECE_BYTES):  # to the end, where gzip has its checksum
        if rest.strip(b"\0"):
            raise Invalid("FILE", "it has more bytes after its end: the backup is damaged")


def _header(name: str, size: int, modified_s: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, modified_s
    return header.tobuf(tarfile.GNU_FORMAT, "ascii", "backslashreplace")


def _read_exactly(stream: Readable, size: int) -> bytes:
    block = stream.read(size)
    if len(block) != size:
        raise Invalid("FILE", "it ends too early: the backup is incomplete")
    return block


def _read_zeros(stream: Readable, size: int) -> None:
    if _read_exactly(stream, size).strip(b"\0"):
        raise Invalid("FILE", "it has bytes where none belong: the backup is damaged")


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[Readable, Callable[[], int]]]:
    """The content of an archive as a stream, compressed or not, and a function that returns how much of the
    file was read, in bytes.

    Raises `Invalid` in the block if the compressed data is damaged."""
    with path.open("rb") as file:
        magic = file.read(len(_GZIP_MAGIC))
        file.seek(0)

        def position() -> int:
            return os.lseek(file.fileno(), 0, os.SEEK_CUR)

        if magic != _GZIP_MAGIC:
            yield file, position
            return
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                yield stream, position
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Invalid("FILE", "its compressed data is cut off or damaged: the backup is incomplete") from error


@contextmanager
def create_archive(path: Path, *, compressed: bool) -> Iterator[ArchiveWriter]:
    """Create the file, readable only by its owner, and make it durable at the end of the block."""
    with open(path, "xb", opener=_private) as file:
        synced = _SyncedFile(file)
        if compressed:
            with gzip.GzipFile(filename="", fileobj=synced, mode="wb", compresslevel=GZIP_LEVEL) as stream:
                yield (writer := ArchiveWriter(stream))
                writer.finish()
        else:
            yield (writer := ArchiveWriter(synced))
            writer.finish()
        file.flush()
        os.fsync(file.fileno())


class _SyncedFile:
    """Writes to a file, and syncs it every SYNC_BYTES: one long sync at the end would delay every commit of an
    instance on the same disk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unsynced = 0

    def write(self, piece: bytes, /) -> int:
        self._unsynced += len(piece)
        if self._unsynced >= SYNC_BYTES:
            self.flush()
            os.fdatasync(self._file.fileno())
            self._unsynced = 0
        return self._file.write(piece)

    def flush(self) -> None:
        self._file.flush()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
