"""Uploaded files in a SQLite store: rows in the database, bytes in the folder `files` beside it.

The order of every write, and what a crash after each step leaves:

1. Pieces are written to `<file_id>.part`. A crash leaves that file, which has no row.
2. It is synced and renamed to `<file_id>`, and the folder is synced. A crash leaves that file, which has no row.
3. The row is committed. From here on the file exists, and all of its bytes are on the disk.

Removal is the reverse: the row is deleted and committed, then the bytes are removed. So a crash never leaves a row
without bytes, and bytes without a row are removed when the next process starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from antiphon.errors import Unavailable
from antiphon.ports import FileQuota, StoredFile
from antiphon.store.rows import OLD_USE_US, STALE_USE_US, file_of
from antiphon.store.sqlite.database import SqliteDatabase, first
from antiphon.store.sqlite.file_bytes import FOLDER, list_ids, make_durable, read_piece, remove, size_of, write_piece
from antiphon.store.sqlite.file_rows import delete_expired, insert_file, release_files, use_files

T = TypeVar("T")


class SqliteFiles(SqliteDatabase):
    """Keeps the promises of `ports.FileStore`."""

    @property
    def _folder(self) -> Path:
        return self._path.parent / FOLDER

    async def write_file_piece(self, file_id: str, offset: int, piece: bytes) -> None:
        if self._is_closed:
            raise Unavailable("the store is closed")
        if self.file_storage is not None:
            await self.file_storage.write_piece(file_id, offset, piece)
        else:
            await self._in_thread(write_piece, self._folder, file_id, offset, piece)

    async def complete_file(self, file: StoredFile, *, unused_s: float, quota: FileQuota) -> StoredFile:
        if self.file_storage is not None:
            await self.file_storage.complete(file.file_id, file.size)
        else:
            await self._in_thread(make_durable, self._folder, file)
        now = self.clock.now_us()
        expires_at = now + int(unused_s * 1_000_000)
        stored: StoredFile = await self._writer.run(
            lambda connection: insert_file(connection, file, now, expires_at, quota)
        )
        if stored.file_id != file.file_id:
            await self._remove_bytes(file.file_id)
        return stored

    async def discard_file(self, file_id: str) -> None:
        # The writer runs jobs in order: a `complete_file` whose caller was cancelled has been committed before this.
        if await self._writer.run(lambda connection: first(connection, "find_file", file_id)) is None:
            await self._remove_bytes(file_id)

    async def _remove_bytes(self, file_id: str) -> None:
        if self.file_storage is not None:
            await self.file_storage.remove(file_id)
        else:
            await self._in_thread(remove, self._folder, file_id)

    async def find_file(self, file_id: str) -> StoredFile | None:
        row = await self._row("find_file", file_id)
        return file_of(row) if row else None

    async def file_usage(self, owner_id: str) -> tuple[int, int]:
        count, size = await self._row("file_usage", owner_id)
        return int(count), int(size)

    async def read_file_piece(self, file_id: str, offset: int, size: int) -> bytes:
        if self.file_storage is not None:
            return await self.file_storage.read_piece(file_id, offset, size)
        return await self._in_thread(read_piece, self._folder, file_id, offset, size)

    async def size_of_file(self, file_id: str) -> int:
        if self.file_storage is not None:
            return await self.file_storage.size_of(file_id)
        return await self._in_thread(size_of, self._folder, file_id)

    async def use_files(self, owner_id: str, chat_id: str, file_ids: Sequence[str]) -> tuple[str, ...]:
        now = self.clock.now_us()
        missing: tuple[str, ...] = await self._writer.run(
            lambda connection: use_files(connection, owner_id, chat_id, file_ids, now)
        )
        return missing

    async def files_of_chat(self, chat_id: str) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows("files_of_chat", chat_id))

    async def remove_expired_files(self, *, limit: int) -> int:
        now = self.clock.now_us()
        deleted: list[str] = await self._writer.run(lambda connection: delete_expired(connection, now, limit))
        for file_id in deleted:
            await self._remove_bytes(file_id)
        return len(deleted)

    async def end_stale_file_uses(self) -> None:
        now = self.clock.now_us()
        ages = (now - OLD_USE_US, now - STALE_USE_US)
        await self._writer.run(lambda connection: release_files(connection, now, "drop_stale_file_uses", *ages))

    async def remove_unfinished_files(self) -> int:
        if self.file_storage is not None:
            return await self.remove_orphaned_bytes()
        return await self._remove_unknown(await self._in_thread(list_ids, self._folder))

    async def remove_orphaned_bytes(self) -> int:
        removed = 0
        if self.file_storage is not None:
            async for file_ids in self.file_storage.old_ids():
                removed += await self._remove_unknown(file_ids)
        return removed

    async def _remove_unknown(self, file_ids: set[str]) -> int:
        """Remove the bytes of those that are no files; returns how many."""
        if not file_ids:
            return 0

        def find_complete(connection: object) -> set[str]:
            return {file_id for file_id in file_ids if first(connection, "find_file", file_id)}  # type: ignore[arg-type]

        unfinished = file_ids - await self._read(find_complete)
        for file_id in unfinished:
            await self._remove_bytes(file_id)
        return len(unfinished)

    async def list_files(self, *, after: str, limit: int) -> tuple[StoredFile, ...]:
        return tuple(file_of(row) for row in await self._rows("list_files", after, limit))

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._is_closed:
            raise Unavailable("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._file_threads, function, *arguments)
