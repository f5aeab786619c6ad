"""The slots of a worker: how many turns may run here, in total and for each owner."""

from __future__ import annotations

import asyncio
from collections import Counter

from antiphon.core.model import Chat
from antiphon.ports import Balance
from antiphon.signal import Signal
from antiphon.worker.running_turns import RunningTurns

CONCURRENCY = 64
"""Maximum concurrent turns."""


class Slots:
    """Keeps the promises of `ports.TurnSlots`. `started` is emitted with the chat of a turn that was claimed in its
    first append, `freed` when a slot becomes free for an owner that had none left."""

    def __init__(
        self,
        instance_id: str,
        *,
        concurrency: int = CONCURRENCY,
        balance: Balance = Balance(),  # noqa: B008
    ) -> None:
        self.instance_id = instance_id
        self.concurrency = concurrency
        self.balance = balance
        self.is_draining = False
        """No more turns are claimed."""
        self.owner_max: int | None = None
        """Maximum concurrent turns of one owner, once there are several owners."""
        self.started: Signal[str, Chat] = Signal("turn_started")
        self.freed: Signal[[]] = Signal("slot_freed")
        self.running = RunningTurns()
        self._used: Counter[str] = Counter()
        self._waiters: dict[asyncio.Future[None], str] = {}
        """The callers of `reserve_when_free` that wait, in their order, with their owners."""

    @property
    def used(self) -> int:
        return self._used.total()

    @property
    def free_count(self) -> int:
        return self.concurrency - self.used

    @property
    def load(self) -> int:
        """The running turns that count for balancing. If no slot is free all of them count: no other instance may
        leave work to this one."""
        return self.used if self.free_count <= 0 else self.running.count(self.used)

    def may_claim(self) -> bool:
        """Whether a turn should start here, considering the load of the other instances."""
        return self.balance.may_claim(self.load)

    def has_free(self, owner_id: str) -> bool:
        return self.free_count > 0 and (self.owner_max is None or self._used[owner_id] < self.owner_max)

    def full_owners(self) -> list[str]:
        """The owners that have no slot left."""
        return [owner_id for owner_id in self._used if not self.has_free(owner_id)]

    def reserve_nowait(self, owner_id: str) -> str | None:
        if self.is_draining or not self.has_free(owner_id) or not self.may_claim():
            return None
        return self.reserve(owner_id)

    def reserve(self, owner_id: str) -> str:
        """Reserve a slot that `has_free` found; returns the instance's id."""
        self._used[owner_id] += 1
        return self.instance_id

    async def reserve_when_free(self, owner_id: str) -> None:
        """Reserve a slot; if none is free, wait for the next one, before turns that have not started."""
        if self.has_free(owner_id):  # every waiter that may have it has one
            self.reserve(owner_id)
            return
        free = asyncio.get_running_loop().create_future()
        self._waiters[free] = owner_id
        try:
            await free
        except asyncio.CancelledError:
            self._waiters.pop(free, None)
            if not free.cancelled():  # it was handed over at this moment
                self.release(owner_id)
            raise

    def release(self, owner_id: str) -> None:
        was_full = not self.has_free(owner_id)
        self._used[owner_id] -= 1
        if not self._used[owner_id]:
            del self._used[owner_id]
        for free, waiting_owner in tuple(self._waiters.items()):
            if free.done():  # cancelled; its task has not run yet
                del self._waiters[free]
            elif self.has_free(waiting_owner):
                del self._waiters[free]
                self.reserve(waiting_owner)
                free.set_result(None)
        if was_full and self.has_free(owner_id):
            self.freed.emit()

    def start(self, chat_id: str, chat: Chat) -> None:
        self.started.emit(chat_id, chat)
