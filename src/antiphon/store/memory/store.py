"""The store in memory: one process, nothing on a disk, and otherwise every promise of `ports.Store`."""

from __future__ import annotations

from antiphon.ports import Clock, Ids
from antiphon.store.memory.access import MemoryAccess
from antiphon.store.memory.chats import MemoryChats
from antiphon.store.memory.configuration import MemoryConfiguration


class MemoryStore(MemoryChats, MemoryAccess, MemoryConfiguration):
    """Keeps the promises of `ports.Store`. Several instances of one process may share it (`is_shared`); `presence`
    then has those that run. Values are converted to the log's format and back, so that it stores nothing that a
    database cannot store."""

    last_error: str | None = None

    def __init__(self, *, clock: Clock, is_shared: bool = False, ids: Ids | None = None) -> None:
        super().__init__(clock=clock, is_shared=is_shared, ids=ids)
