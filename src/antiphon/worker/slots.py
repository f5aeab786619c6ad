"""The places of a worker: how many turns may run here, for each owner and in all."""

from __future__ import annotations

from collections import Counter

from antiphon.core.model import Chat
from antiphon.ports import Balance
from antiphon.signal import Signal
from antiphon.worker.load import Load

CONCURRENCY = 64
"""Maximum concurrent turns."""


class Slots:
    """Implements `ports.TurnSlots`. `started` is emitted with the chat of a turn that was claimed in its first
    append, `freed` when a place becomes free for an owner that had none left."""

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
        """No more turns are accepted."""
        self.owner_max: int | None = None
        """Maximum concurrent turns of one owner, where there are several owners."""
        self.started: Signal[str, Chat] = Signal("turn_started")
        self.freed: Signal[[]] = Signal("place_freed")
        self.running = Load()
        self._used: Counter[str] = Counter()

    @property
    def used(self) -> int:
        return self._used.total()

    @property
    def free(self) -> int:
        return self.concurrency - self.used

    @property
    def load(self) -> int:
        """The turns that count when work is spread. When every place is used all of them count: no other instance may
        leave work to this one."""
        return self.used if self.free <= 0 else self.running.count(self.used)

    def may_claim(self) -> bool:
        """Whether a turn should start here, as far as the other instances are concerned."""
        return self.balance.may_claim(self.load)

    def has_place(self, owner_id: str) -> bool:
        return self.free > 0 and (self.owner_max is None or self._used[owner_id] < self.owner_max)

    def full_owners(self) -> list[str]:
        """The owners that have no place left."""
        return [owner_id for owner_id in self._used if not self.has_place(owner_id)]

    def reserve_nowait(self, owner_id: str) -> str | None:
        if self.is_draining or not self.has_place(owner_id) or not self.may_claim():
            return None
        return self.reserve(owner_id)

    def reserve(self, owner_id: str) -> str:
        """Reserve a place that `has_place` found; the instance's id."""
        self._used[owner_id] += 1
        return self.instance_id

    def release(self, owner_id: str) -> None:
        was_full = not self.has_place(owner_id)
        self._used[owner_id] -= 1
        if not self._used[owner_id]:
            del self._used[owner_id]
        if was_full:
            self.freed.emit()

    def start(self, chat_id: str, chat: Chat) -> None:
        self.started.emit(chat_id, chat)
