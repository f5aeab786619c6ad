"""The state that all parts of the store in memory share."""

from __future__ import annotations

from antiphon.clock import RandomIds
from antiphon.errors import Unavailable
from antiphon.ports import Clock, Ids
from antiphon.store.memory.chat import Lease, MemoryChat


class MemoryState:
    """The base of the parts of `MemoryStore`."""

    def __init__(self, *, clock: Clock, is_shared: bool = False, ids: Ids | None = None) -> None:
        self.clock = clock
        self.is_shared = is_shared
        self._ids = ids or RandomIds()
        self._chats: dict[str, MemoryChat] = {}
        self._leases: dict[str, Lease] = {}
        self._is_closed = False

    async def aclose(self) -> None:
        self._is_closed = True

    async def check(self) -> None:
        if self._is_closed:
            raise Unavailable("the store is closed")
