"""Stores that a worker cannot reach, or that block it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from antiphon.core.model import Status
from antiphon.errors import Unavailable
from antiphon.ports import Append, Appended, FlushedDelta, Store
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.store import WrappedStore


class Renewals(WrappedStore):
    """Counts renewals; while `is_away` they fail, while it `hangs` they wait. Closing it leaves the inner store."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.renewed = self.flushes = 0
        self.is_away = self.hangs = False

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise Unavailable("the database does not answer")
        held = await super().renew(instance_id, attempts)
        self.renewed += 1
        return held

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        self.flushes += 1
        if self.is_away:
            raise Unavailable("the database does not answer")
        await super().flush(deltas)

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        return ()  # the other instances run

    async def aclose(self) -> None: ...


class Gated(WrappedStore):
    """Appends wait until `is_open` is set: commands are queued meanwhile and appended together."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def append(self, append: Append) -> Appended:
        await self.is_open.wait()
        return await super().append(append)
