"""Bounds how many forks are made at a time: each holds a whole history in memory and writes it in one append."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FORKS_MAX = 2
"""Maximum number of forks that one instance makes at a time."""


class ForkSlots:
    """One fork at a time per owner, so that an owner with many requests does not delay the others' forks."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(FORKS_MAX)
        self._owners: dict[str, tuple[asyncio.Lock, int]] = {}
        """The lock of each owner with requests, and their number."""

    @asynccontextmanager
    async def slot(self, owner_id: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        lock, count = self._owners.get(owner_id, (asyncio.Lock(), 0))
        self._owners[owner_id] = (lock, count + 1)
        try:
            async with lock, self._slots:
                yield
        finally:
            lock, count = self._owners.pop(owner_id)
            if count > 1:
                self._owners[owner_id] = (lock, count - 1)
