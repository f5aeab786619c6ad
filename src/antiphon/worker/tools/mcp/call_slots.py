"""How many calls run on one MCP server at once: in all, and of one owner, so that every owner has a share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CallSlots:
    """`slot` waits for a place, for a bounded time."""

    def __init__(self, *, calls_max: int, owner_calls_max: int, wait_s: float) -> None:
        """
        Args:
            calls_max: Maximum number of concurrent calls.
            owner_calls_max: Maximum number of concurrent calls in the chats of one owner.
            wait_s: How long a call waits for a slot, in seconds.
        """
        self._calls_max = calls_max
        self._owner_calls_max = owner_calls_max
        self._wait_s = wait_s
        self._running: Counter[str] = Counter()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self, owner_id: str) -> AsyncIterator[None]:
        """A slot for a call of the owner. Raises TimeoutError if none is free in time."""
        async with asyncio.timeout(self._wait_s), self._freed:
            await self._freed.wait_for(lambda: self._is_free(owner_id))
            self._running[owner_id] += 1
        try:
            yield
        finally:
            self._running[owner_id] -= 1
            self._running += Counter()  # drops owners without calls
            await asyncio.shield(self._notify())

    def _is_free(self, owner_id: str) -> bool:
        return self._running[owner_id] < self._owner_calls_max and self._running.total() < self._calls_max

    async def _notify(self) -> None:
        async with self._freed:
            self._freed.notify_all()
