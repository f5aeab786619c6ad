"""Leases, due chats and flushed drafts in the store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.core.model import Chat, Status
from antiphon.ports import Append, Drop, Due, Ended, FlushedDelta, Grant
from antiphon.store.memory.chat import Lease
from antiphon.store.memory.presence import MemoryPresence
from antiphon.store.memory.state import MemoryState
from antiphon.store.rows import LEASE_US, claim_at, due_at, due_of


class MemoryLeases(MemoryState):
    """Keeps the promises of `ports.LeaseStore`. `presence` has the instances that hold the leases."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.presence = MemoryPresence(self.clock, self._attempts_of)
        self._claims: dict[str, int] = {}
        """When a chat may be claimed, in microseconds, in the order of their creation."""
        self._dues: dict[str, int] = {}
        """When a chat must be handled without a command."""

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        passed = frozenset(passing_over)
        reached = _reached(self._claims, self.clock.now_us())
        return tuple(i for i in reached if i not in passed and self._chats[i].chat.owner_id not in passed)[:limit]

    async def due(self, *, limit: int) -> tuple[Due, ...]:
        now = self.clock.now_us()
        ended = _reached({chat_id: lease.ends_at for chat_id, lease in self._leases.items()}, now)[:limit]
        overdue = _reached(self._dues, now)[:limit]
        leases = [Due(chat_id=chat_id, attempt=self._leases[chat_id].attempt, why="lease") for chat_id in ended]
        return (*leases, *(due_of(chat_id, self._chats[chat_id].chat) for chat_id in overdue))

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        await self.check()
        held = {}
        for chat_id, attempt in attempts:
            lease = self._leases.get(chat_id)
            if lease and (lease.attempt, lease.instance_id) == (attempt, instance_id):
                lease.ends_at = self.clock.now_us() + LEASE_US
                held[chat_id] = self._chats[chat_id].chat.status
        return held

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        if self.is_shared and instance_id:
            return ()
        return tuple(
            (chat_id, lease.attempt) for chat_id, lease in self._leases.items() if lease.instance_id != instance_id
        )

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        await self.check()
        for delta in deltas:
            stored = self._chats.get(delta.chat_id)
            if stored is None or stored.chat.is_deleted or stored.chat.draft != delta.draft:
                continue
            known = stored.flushed.get(delta.from_)
            if known is None or known.to < delta.to:
                stored.flushed[delta.from_] = delta

    async def read_flushed(self, chat_id: str, draft: int) -> tuple[FlushedDelta, ...]:
        stored = self._chats.get(chat_id)
        flushed = stored.flushed if stored else {}
        return tuple(delta for _, delta in sorted(flushed.items()) if delta.draft == draft)

    def lease_ends_at(self, chat_id: str) -> int | None:
        """When a chat's lease ends, in microseconds (simulation)."""
        lease = self._leases.get(chat_id)
        return lease.ends_at if lease else None

    def _attempts_of(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        return tuple((i, lease.attempt) for i, lease in self._leases.items() if lease.instance_id == instance_id)

    def _update_lease(self, append: Append, now: int) -> None:
        if isinstance(append.lease, Grant):
            grant = append.lease
            self._leases[append.chat_id] = Lease(grant.attempt, grant.instance_id, now + LEASE_US)
        elif isinstance(append.lease, Drop | Ended):
            self._leases.pop(append.chat_id, None)

    def _schedule(self, chat_id: str, chat: Chat) -> None:
        """Record when the chat may be claimed and when it is due."""
        _put(self._claims, chat_id, claim_at(chat))
        _put(self._dues, chat_id, due_at(chat))


def _put(times: dict[str, int], chat_id: str, at: int | None) -> None:
    """Set a chat's time. Chats with equal times remain in the order of their creation."""
    if at is None:
        times.pop(chat_id, None)
    else:
        times[chat_id] = at


def _reached(times: dict[str, int], now: int) -> list[str]:
    """The chats whose time is reached, the earliest first."""
    return sorted((chat_id for chat_id, at in times.items() if at <= now), key=lambda chat_id: times[chat_id])
