"""The files of an archive as a place of files, for the check of a backup."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from antiphon.errors import NotFound, Unavailable
from antiphon.ports import FileStore
from antiphon.store.backup.manifest import Member, file_name

PAGE_MAX = 500
"""Maximum number of files in one read."""


class ArchivedFiles:
    """Keeps the promises of `ports.FileBytes` that a check of sizes needs. Their bytes are read by `read_archive`."""

    place = "the archive"
    error: str | None = None

    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = members

    async def size_of(self, file_id: str) -> int:
        member = self._members.get(file_name(file_id))
        if member is None:
            raise NotFound("file")
        return member.size

    async def old_ids(self) -> AsyncIterator[set[str]]:
        for _ in ():
            yield set()

    async def check(self) -> None:
        pass

    async def write_piece(self, file_id: str, offset: int, piece: bytes) -> None:
        raise Unavailable(_READ_ONLY)

    async def complete(self, file_id: str, size: int) -> None:
        raise Unavailable(_READ_ONLY)

    async def read_piece(self, file_id: str, offset: int, size: int) -> bytes:
        raise Unavailable("the bytes of an archive are read in its own order")

    async def remove(self, file_id: str) -> None:
        raise Unavailable(_READ_ONLY)

    async def claim(self, store_id: str) -> None:
        raise Unavailable(_READ_ONLY)


_READ_ONLY = "an archive is only read"


async def damaged_files(store: FileStore, members: Mapping[str, Member]) -> list[str]:
    """Which files of the archive are not what was uploaded, in words. Missing ones are not reported."""
    found, after = [], ""
    while rows := await store.list_files(after=after, limit=PAGE_MAX):
        for row in rows:
            member = members.get(file_name(row.file_id))
            if member is not None and member.sha256 != row.sha256:
                found.append(f"the file {row.file_id} is not what was uploaded, its SHA-256 differs")
        after = rows[-1].file_id
    return found
