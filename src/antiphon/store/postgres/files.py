"""Uploaded files in a PostgreSQL store: rows, and the bytes in chunks of one piece each.

A row in `unfinished_files` is written with the first chunk and deleted with the insertion of the file's row, in one
transaction. So the chunks of every upload that a crash has ended are recorded. A removal deletes the file's row and
records its chunks there, in one transaction; then the chunks are deleted, a few at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.errors import NotFound, TooMany, Unavailable
from antiphon.ports import FILE_PIECE_BYTES, FileQuota, StoredFile
from antiphon.store.postgres.reads import SQL, PostgresReads
from antiphon.store.rows import OLD_USE_US, STALE_USE_US, file_of

UNFINISHED_US = 2 * 3600 * 1_000_000
"""After how long without a write an upload counts as ended by a crash, in microseconds: longer than one may last."""
UNFINISHED_MAX = 100
"""Maximum number of them that one call removes."""
RECORDED_BYTES = 16 * 1024 * 1024
"""After how many bytes it is recorded again that an upload goes on, where the bytes are not in the database."""
DELETED_CHUNKS_MAX = 64
"""Maximum number of chunks that one statement deletes: 16 MiB."""


class PostgresFiles(PostgresReads):
    """Keeps the promises of `ports.FileStore`."""

    async def write_file_piece(self, file_id: str, offset: int, piece: bytes) -> None:
        assert offset % FILE_PIECE_BYTES == 0, "a piece is a chunk"
        if self.file_storage is not None:
            if offset % RECORDED_BYTES == 0:
                await self._pool.write(SQL["begin_file"], file_id)
            await self.file_storage.write_piece(file_id, offset, piece)
            return
        await self._pool.write(SQL["write_file_chunk"], file_id, offset // FILE_PIECE_BYTES, piece)

    async def complete_file(self, file: StoredFile, *, unused_s: float, quota: FileQuota) -> StoredFile:
        columns = (file.file_id, file.owner_id, file.sha256, file.media_type, file.size, file.name)
        limits = (int(unused_s * 1_000_000), quota.files_max, quota.bytes_max)
        if self.file_storage is not None:
            await self.file_storage.complete(file.file_id, file.size)
        statement = SQL["complete_file" if self.file_storage is None else "record_file"]
        fate, file_id = (await self._pool.write(statement, *columns, *limits))[0]
        match fate:
            case "many_files":
                raise TooMany("files of one owner", quota.files_max)
            case "many_bytes":
                raise TooMany("bytes in files of one owner", quota.bytes_max)
            case "lost":
                raise Unavailable("the uploaded bytes are not complete")
        if fate == "equal":
            await self.discard_file(file.file_id)
        stored = await self.find_file(file_id)
        if (
            stored is None
        ):  # another instance has removed it: this instance was suspended for as long as it was unused
            raise Unavailable("the file has expired")
        return stored

    async def discard_file(self, file_id: str) -> None:
        await self._remove_chunks(file_id, silent_us=0)

    async def find_file(self, file_id: str) -> StoredFile | None:
        row = await self._row("find_file", file_id)
        return file_of(row) if row else None

    async def file_usage(self, owner_id: str) -> tuple[int, int]:
        count, size = await self._row("file_usage", owner_id)
        return int(count), int(size)

    async def read_file_piece(self, file_id: str, offset: int, size: int) -> bytes:
        if self.file_storage is not None:
            return await self.file_storage.read_piece(file_id, offset, size)
        number, start = divmod(offset, FILE_PIECE_BYTES)
        row = await self._row("read_file_chunk", file_id, number, start + 1, size)
        if row is None:
            raise NotFound("file")
        return bytes(row[0])

    async def size_of_file(self, file_id: str) -> int:
        if self.file_storage is not None:
            return await self.file_storage.size_of(file_id)
        row = await self._row("size_of_file", file_id)
        if row is None:
            raise NotFound("file")
        return int(row[0])

    async def use_files(self, owner_id: str, chat_id: str, file_ids: Sequence[str]) -> tuple[str, ...]:
        rows = await self._pool.write(SQL["use_files"], owner_id, chat_id, list(dict.fromkeys(file_ids)))
        return tuple(row[0] for row in rows)

    async def files_of_chat(self, chat_id: str) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows("files_of_chat", chat_id))

    async def remove_expired_files(self, *, limit: int) -> int:
        rows = await self._pool.write(SQL["delete_expired_files"], limit)
        for (file_id,) in rows:
            await self._remove_chunks(file_id, silent_us=0)
        return len(rows)

    async def end_stale_file_uses(self) -> None:
        await self._pool.write(SQL["end_stale_file_uses"], OLD_USE_US, STALE_USE_US)

    async def remove_unfinished_files(self) -> int:
        rows = await self._rows("unfinished_files", UNFINISHED_US, UNFINISHED_MAX)
        for (file_id,) in rows:
            await self._remove_chunks(file_id, silent_us=UNFINISHED_US)
        return len(rows)

    async def remove_orphaned_bytes(self) -> int:
        removed = 0
        if self.file_storage is not None:
            async for file_ids in self.file_storage.old_ids():
                known = {row[0] for row in await self._rows("known_files", list(file_ids))}
                for file_id in file_ids - known:
                    await self.file_storage.remove(file_id)
                    removed += 1
        return removed

    async def list_files(self, *, after: str, limit: int) -> tuple[StoredFile, ...]:
        return tuple(file_of(row) for row in await self._rows("list_files", after, limit))

    async def _remove_chunks(self, file_id: str, *, silent_us: int) -> None:
        """Remove the chunks of an upload or a removal, unless it was written within `silent_us` microseconds. Other
        instances may do the same at the same time."""
        if not await self._pool.write(SQL["claim_unfinished_file"], file_id, silent_us):
            return
        if self.file_storage is not None:
            await self.file_storage.remove(file_id)
        while await self._pool.write(SQL["delete_file_chunks"], file_id, DELETED_CHUNKS_MAX):
            pass
        await self._pool.write(SQL["forget_unfinished_file"], file_id)
