"""The files that a client uploads and downloads, in pieces: no file is in memory as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

PIECE_BYTES = 256 * 1024
"""Size of a piece, in bytes."""

FileSource = bytes | os.PathLike[str]
"""What is uploaded: bytes, or the path of a file."""


def size_of(source: FileSource) -> int:
    """The size of a file, in bytes."""
    return len(source) if isinstance(source, bytes) else os.stat(source).st_size


def name_of(source: FileSource) -> str:
    """The name of a file; empty for bytes."""
    return "" if isinstance(source, bytes) else Path(source).name


def type_of(name: str) -> str:
    """The media type by the name of a file; empty if it shows none. The server then checks the bytes."""
    kind, coding = mimetypes.guess_type(name)
    return kind if kind is not None and coding is None else ""


def iter_pieces(source: FileSource) -> Iterator[bytes]:
    """The bytes of a file."""
    if isinstance(source, bytes):
        for start in range(0, len(source), PIECE_BYTES):
            yield source[start : start + PIECE_BYTES]
        return
    with open(source, "rb") as opened:
        while piece := opened.read(PIECE_BYTES):
            yield piece


async def iter_pieces_async(source: FileSource) -> AsyncIterator[bytes]:
    """As `iter_pieces`. The disk is read in a thread."""
    pieces = iter_pieces(source)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


class DownloadedFile:
    """A file that is written beside its final name, which it gets when it is complete. Use it in a `with`."""

    def __init__(self, path: os.PathLike[str]) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self.size = 0

    def __enter__(self) -> DownloadedFile:
        self._opened = open(self._part, "wb")
        return self

    def write(self, piece: bytes) -> None:
        self._opened.write(piece)
        self.size += len(piece)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._opened.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            with contextlib.suppress(OSError):
                self._part.unlink()
