"""Uploaded files in the store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from antiphon.errors import NotFound, Unavailable
from antiphon.ports import FileBytes, FileQuota, StoredFile
from antiphon.store.memory.state import MemoryState
from antiphon.store.rows import STALE_USE_US, check_quota


class MemoryFiles(MemoryState):
    """Keeps the promises of `ports.FileStore`. Bytes without a file are lost with the process."""

    file_storage: FileBytes | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._file_bytes: dict[str, bytearray] = {}
        self._files: dict[str, StoredFile] = {}
        self._expires: dict[str, int] = {}
        """When a file expires, in microseconds; a file without an entry is named by a chat."""
        self._file_uses: dict[tuple[str, str], int] = {}
        """When a use (chat id, file id) was recorded, in microseconds."""

    async def write_file_piece(self, file_id: str, offset: int, piece: bytes) -> None:
        await self.check()
        written = self._file_bytes.setdefault(file_id, bytearray())
        written[offset : offset + len(piece)] = piece

    async def complete_file(self, file: StoredFile, *, unused_s: float, quota: FileQuota) -> StoredFile:
        await self.check()
        now = self.clock.now_us()
        if len(self._file_bytes.get(file.file_id, b"")) != file.size:
            raise Unavailable("the uploaded bytes are not complete")
        key = (file.owner_id, file.sha256, file.media_type)
        own = [one for one in self._files.values() if one.owner_id == file.owner_id]
        stored = next((one for one in own if (one.owner_id, one.sha256, one.media_type) == key), None)
        if stored is None:
            check_quota(len(own), sum(one.size for one in own), file, quota)
            stored = self._files[file.file_id] = replace(file, created_at=now)
        elif stored.file_id != file.file_id:
            del self._file_bytes[file.file_id]
        expires_at = now + int(unused_s * 1_000_000)
        self._expires[stored.file_id] = max(self._expires.get(stored.file_id, 0), expires_at)
        return stored

    async def discard_file(self, file_id: str) -> None:
        if file_id not in self._files:
            self._file_bytes.pop(file_id, None)

    async def find_file(self, file_id: str) -> StoredFile | None:
        return self._files.get(file_id)

    async def file_usage(self, owner_id: str) -> tuple[int, int]:
        sizes = [file.size for file in self._files.values() if file.owner_id == owner_id]
        return len(sizes), sum(sizes)

    async def read_file_piece(self, file_id: str, offset: int, size: int) -> bytes:
        if file_id not in self._files:
            raise NotFound("file")
        return bytes(self._file_bytes[file_id][offset : offset + size])

    async def use_files(self, owner_id: str, chat_id: str, file_ids: Sequence[str]) -> tuple[str, ...]:
        await self.check()
        found = {file_id: self._files.get(file_id) for file_id in file_ids}
        missing = tuple(i for i, file in found.items() if file is None or file.owner_id != owner_id)
        chat = self._chats.get(chat_id)
        if missing or (chat is not None and chat.chat.is_deleted):
            return missing
        for file_id in found:
            self._file_uses[chat_id, file_id] = self.clock.now_us()
            self._expires.pop(file_id, None)
        return ()

    async def files_of_chat(self, chat_id: str) -> frozenset[str]:
        return frozenset(file_id for user, file_id in self._file_uses if user == chat_id)

    async def remove_expired_files(self, *, limit: int) -> int:
        await self.check()
        now = self.clock.now_us()
        used = {file_id for _, file_id in self._file_uses}
        expired = sorted((at, file_id) for file_id, at in self._expires.items() if at <= now)[:limit]
        for _, file_id in expired:
            del self._expires[file_id]
            if file_id not in used:
                del self._files[file_id], self._file_bytes[file_id]
        return sum(file_id not in used for _, file_id in expired)

    async def end_stale_file_uses(self) -> None:
        before = self.clock.now_us() - STALE_USE_US
        self._end_uses([use for use, at in self._file_uses.items() if at < before and not self._is_live(use[0])])

    async def remove_unfinished_files(self) -> int:
        """No process but this one has written bytes, and its uploads are in progress."""
        return 0

    async def remove_orphaned_bytes(self) -> int:
        return 0

    async def size_of_file(self, file_id: str) -> int:
        if file_id not in self._files:
            raise NotFound("file")
        return len(self._file_bytes[file_id])

    async def list_files(self, *, after: str, limit: int) -> tuple[StoredFile, ...]:
        found = sorted(file_id for file_id in self._files if file_id > after)
        return tuple(self._files[file_id] for file_id in found[:limit])

    def _is_live(self, chat_id: str) -> bool:
        stored = self._chats.get(chat_id)
        return stored is not None and not stored.chat.is_deleted

    def _release_files(self, chat_id: str) -> None:
        """End the uses of a chat that was deleted."""
        self._end_uses([use for use in self._file_uses if use[0] == chat_id])

    def _end_uses(self, uses: Sequence[tuple[str, str]]) -> None:
        """A file without any other use expires now, unless it was uploaded again."""
        for use in uses:
            del self._file_uses[use]
        used = {file_id for _, file_id in self._file_uses}
        for _, file_id in uses:
            if file_id not in used:
                self._expires.setdefault(file_id, self.clock.now_us())
