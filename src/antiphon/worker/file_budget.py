"""How many bytes of stored files the turns of this instance may have in memory for models at once.

How it works
------------
A model call reserves the size of its files before it reads them, and waits while there is no room. Owners take turns:
the oldest call of each owner is next in rotation, and a call that does not fit yet is not overtaken, so a large call
is not starved by small ones. An owner whose share is in use is passed over. A call whose files are small neither
waits nor counts.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from typing import NamedTuple

from antiphon.errors import TooLarge
from antiphon.observe.metrics import METRICS

SMALL_BYTES = 64 * 1024
"""Up to this size the files of a call do not count, in bytes."""
WAIT_S = 60.0
"""How long a call waits for room, in seconds."""


class _Waiting(NamedTuple):
    size: int
    granted: asyncio.Future[None]


class FileBudget:
    """`reserve` and `release` room for files."""

    def __init__(self, bytes_max: int, *, wait_s: float = WAIT_S) -> None:
        self._bytes_max = bytes_max
        self._owner_max = bytes_max
        self._wait_s = wait_s
        self._used: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        """The waiting calls by owner; the owner whose turn it is comes first."""

    @property
    def used(self) -> int:
        """The bytes that are reserved now."""
        return self._used.total()

    def limit_each_owner(self) -> None:
        """There are several owners: one may use half of the room."""
        self._owner_max = max(1, self._bytes_max // 2)

    async def reserve(self, owner_id: str, size: int) -> int:
        """Reserve room, waiting for it if need be. Returns what to `release`, in bytes.

        Args:
            owner_id: The owner of the chat.
            size: The size of all files of one model call, in bytes.

        Raises:
            TooLarge: It is more than all calls together may have.
            TimeoutError: There was no room in time.
        """
        if size <= SMALL_BYTES:
            return 0
        if size > self._bytes_max:
            raise TooLarge("sum of the files of one model call (in bytes)", self._bytes_max)
        waiting = _Waiting(size, asyncio.get_running_loop().create_future())
        self._queues.setdefault(owner_id, deque()).append(waiting)
        self._grant()
        if not waiting.granted.done():
            METRICS.model_file_waits.inc()
        try:
            async with asyncio.timeout(self._wait_s):
                await waiting.granted
        except BaseException:
            self._withdraw(owner_id, waiting)
            raise
        return size

    def release(self, owner_id: str, size: int) -> None:
        """Give back reserved room."""
        self._used[owner_id] -= size
        self._used += Counter()  # drops owners without files
        METRICS.model_file_bytes.set(self.used)
        self._grant()

    def _withdraw(self, owner_id: str, waiting: _Waiting) -> None:
        """A call waits no longer."""
        if waiting.granted.done() and not waiting.granted.cancelled():
            self.release(owner_id, waiting.size)  # it was granted in the moment in which it was cancelled
            return
        queue = self._queues[owner_id]
        queue.remove(waiting)
        if not queue:
            del self._queues[owner_id]
        self._grant()

    def _grant(self) -> None:
        """Give room to the waiting calls, as long as the next one fits."""
        passed_over = 0
        while passed_over < len(self._queues):
            owner_id, queue = next(iter(self._queues.items()))
            size, granted = queue[0]
            if self._used[owner_id] and self._used[owner_id] + size > self._owner_max:
                self._queues.move_to_end(owner_id)
                passed_over += 1
                continue
            if self.used + size > self._bytes_max:
                break
            queue.popleft()
            if queue:
                self._queues.move_to_end(owner_id)
            else:
                del self._queues[owner_id]
            self._used[owner_id] += size
            granted.set_result(None)
            passed_over = 0
        METRICS.model_file_bytes.set(self.used)
