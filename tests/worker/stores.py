"""A store for a worker that is cut off from it."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.core.model import Status
from antiphon.errors import Unavailable
from antiphon.ports import FlushedDelta
from antiphon.store.memory import MemoryStore
from antiphon.testing.store import WrappedStore


class Renewals(WrappedStore):
    """Counts renewals; while `is_away` they fail. Closing it leaves the inner store open."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.renewed = self.flushes = 0
        self.is_away = False

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
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
        return ()  # the others live

    async def aclose(self) -> None: ...
