"""Slots of turns that wait for child chats: they are lent to other turns until the wait ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from antiphon.errors import TooMany
from antiphon.worker.slots import Slots

LENT_MAX = 1_000
"""Maximum number of turns of one instance that wait for child chats."""

Holder = tuple[str, int]
"""An attempt: the id of its chat and its number. An abandoned attempt may run beside the next one of its chat."""


class _Loan:
    """The slot of one attempt. `waits` counts what it waits for: the slot is back once it is 0."""

    __slots__ = ("is_lent", "lock", "waits")

    def __init__(self) -> None:
        self.waits = 0
        self.is_lent = False
        self.lock = asyncio.Lock()


class LentSlots:
    """Lends the slots of waiting turns."""

    def __init__(self, slots: Slots, *, lent_max: int = LENT_MAX) -> None:
        self._slots = slots
        self._lent_max = lent_max
        self._loans: dict[Holder, _Loan] = {}

    def __len__(self) -> int:
        return len(self._loans)

    def __contains__(self, holder: Holder) -> bool:
        """Whether the attempt waits."""
        return holder in self._loans

    @asynccontextmanager
    async def lend(self, holder: Holder, owner_id: str) -> AsyncIterator[None]:
        """Lend the slot of an attempt during the block. An attempt may wait for several things at once; at the end of
        the last one this waits for a free slot.

        Raises:
            TooMany: Too many turns of this instance wait.
        """
        loan = self._loans.get(holder)
        if loan is None:
            if len(self._loans) >= self._lent_max:
                raise TooMany("turns that wait for child chats", self._lent_max)
            loan = self._loans[holder] = _Loan()
        loan.waits += 1
        try:
            if not loan.is_lent:
                loan.is_lent = True
                self._slots.release(owner_id)
            yield
        except BaseException:
            self._return_nowait(holder, loan, owner_id)
            raise
        loan.waits -= 1
        try:
            async with loan.lock:
                if loan.is_lent and not loan.waits:
                    await self._slots.reserve_when_free(owner_id)
                    loan.is_lent = bool(loan.waits)
                    if loan.is_lent:  # it waits for something else by now
                        self._slots.release(owner_id)
        except BaseException:
            loan.waits += 1
            self._return_nowait(holder, loan, owner_id)
            raise
        self._forget(holder, loan)

    def _return_nowait(self, holder: Holder, loan: _Loan, owner_id: str) -> None:
        """Take the slot back at once, even if none is free: the attempt ends and releases it."""
        loan.waits -= 1
        if loan.is_lent and not loan.waits and not loan.lock.locked():  # else another wait is taking it back
            loan.is_lent = False
            self._slots.reserve(owner_id)
        self._forget(holder, loan)

    def _forget(self, holder: Holder, loan: _Loan) -> None:
        if not loan.waits and not loan.is_lent and self._loans.get(holder) is loan:
            del self._loans[holder]
