"""Slots of turns that wait for child chats: they are lent to other turns until the wait ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from antiphon.errors import TooMany
from antiphon.worker.slots import Slots

LENT_MAX = 1_000
"""Maximum number of turns of one instance that wait for child chats."""


class _Loan:
    """The slot of one turn. `waits` counts what the turn waits for: the slot is back once it is 0."""

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
        self._loans: dict[str, _Loan] = {}

    def __len__(self) -> int:
        return len(self._loans)

    def __contains__(self, chat_id: str) -> bool:
        """Whether the turn of the chat waits."""
        return chat_id in self._loans

    @asynccontextmanager
    async def lend(self, chat_id: str, owner_id: str) -> AsyncIterator[None]:
        """Lend the slot of a chat's turn during the block. A turn may wait for several things at once; at the end of
        the last one this waits for a free slot.

        Raises:
            TooMany: Too many turns of this instance wait.
        """
        loan = self._loans.get(chat_id)
        if loan is None:
            if len(self._loans) >= self._lent_max:
                raise TooMany("turns that wait for child chats", self._lent_max)
            loan = self._loans[chat_id] = _Loan()
        loan.waits += 1
        try:
            if not loan.is_lent:
                loan.is_lent = True
                self._slots.release(owner_id)
            yield
        except BaseException:
            self._return_nowait(chat_id, loan, owner_id)
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
            self._return_nowait(chat_id, loan, owner_id)
            raise
        self._forget(chat_id, loan)

    def _return_nowait(self, chat_id: str, loan: _Loan, owner_id: str) -> None:
        """Take the slot back at once, even if none is free: the attempt ends and releases it."""
        loan.waits -= 1
        if loan.is_lent and not loan.waits and not loan.lock.locked():  # else another wait is taking it back
            loan.is_lent = False
            self._slots.reserve(owner_id)
        self._forget(chat_id, loan)

    def _forget(self, chat_id: str, loan: _Loan) -> None:
        if not loan.waits and not loan.is_lent and self._loans.get(chat_id) is loan:
            del self._loans[chat_id]
