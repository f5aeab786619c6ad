"""The input of a check of the store suite: an empty store, and the clock of the store."""

from __future__ import annotations

from typing import Any

from antiphon.ports import Store
from antiphon.testing.clock import FakeClock
from antiphon.testing.stored_chat import ALL, StoredChat


class Case:
    """`is_closed`: the check has closed its store."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.is_closed = False

    def chat(self, chat_id: str = "c") -> StoredChat:
        return StoredChat(self.store, chat_id)

    async def stored(self, chat_id: str = "c") -> Any:
        """All that the store returns for a chat. Two equal results mean that nothing was written in between."""
        store = self.store
        chat = await store.load(chat_id)
        seqs = range(1, chat.seq + 3) if chat else ()
        return (
            chat,
            await store.read_entries(chat_id, 0, limit=ALL, bytes_max=ALL),
            await store.read_messages(chat_id, limit=ALL),
            await store.read_contents(chat_id, seqs),
            await store.read_flushed(chat_id, chat.draft if chat else 1),
            sorted(lease for lease in await store.take_over("") if lease[0] == chat_id),
            [chat_id in await store.claimable(limit=ALL), *await store.due(limit=ALL)],
            ()
            if store.is_shared
            else await store.changed(None, limit=ALL),  # others advance the mark of a shared store
        )
