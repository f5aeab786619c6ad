"""What a worker uses of the chats: the command loop, and the part of the store that a worker needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from antiphon.chats.file_description import reference_to
from antiphon.chats.files import Files
from antiphon.chats.service import Service
from antiphon.core.commands import Command
from antiphon.core.facts import Entry
from antiphon.core.model import Chat, Status
from antiphon.core.parts import FileReference
from antiphon.ports import PAGE_BYTES_MAX, Append, Clock, Done, FlushedDelta, Request, Store, StoredFile


class WorkQueue:
    """Implements `ports.Work`."""

    def __init__(self, service: Service, store: Store, files: Files) -> None:
        self._service = service
        self._files = files
        self._store = store

    @property
    def clock(self) -> Clock:
        return self._store.clock

    @property
    def is_shared(self) -> bool:
        return self._store.is_shared

    # --- commands and state

    async def execute(self, chat_id: str, *commands: Command, request: Request | None = None) -> Done:
        return await self._service.execute(chat_id, *commands, request=request)

    def submit_nowait(self, chat_id: str, *commands: Command, request: Request | None = None) -> asyncio.Future[Done]:
        return self._service.submit_nowait(chat_id, *commands, request=request)

    async def chat(self, chat_id: str) -> Chat | None:
        return await self._service.chat(chat_id)

    def chat_nowait(self, chat_id: str) -> Chat | None:
        return self._service.chat_nowait(chat_id)

    def entries_after(self, chat_id: str, seq: int) -> Sequence[Entry] | None:
        return self._service.entries_after(chat_id, seq)

    def subscribe_to_appends(self, chat_id: str | None, subscriber: Callable[[Append], object]) -> Callable[[], None]:
        if chat_id is None:
            return self._service.appended.subscribe(subscriber)
        return self._service.appended_to_chat.subscribe(chat_id, subscriber)

    # --- leases

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        return await self._store.claimable(limit=limit, passing_over=passing_over)

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        return await self._store.renew(instance_id, attempts)

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        await self._store.flush(deltas)

    # --- contents

    async def read_messages(
        self, chat_id: str, *, limit: int, bytes_max: int = PAGE_BYTES_MAX
    ) -> tuple[tuple[Entry, ...], bool]:
        return await self._store.read_messages(chat_id, limit=limit, bytes_max=bytes_max)

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        return await self._store.read_contents(chat_id, seqs)

    async def find_file(self, file_id: str) -> StoredFile | None:
        return await self._store.find_file(file_id)

    async def read_file_piece(self, file_id: str, offset: int, size: int) -> bytes:
        return await self._store.read_file_piece(file_id, offset, size)

    async def use_files(self, owner_id: str, chat_id: str, file_ids: Sequence[str]) -> tuple[str, ...]:
        return await self._store.use_files(owner_id, chat_id, file_ids)

    async def store_file(
        self, owner_id: str, pieces: AsyncIterator[bytes], *, media_type: str = "", name: str = ""
    ) -> FileReference:
        file = await self._files.store(owner_id, pieces, media_type=media_type, name=name)
        return await reference_to(self._store, file, name)
