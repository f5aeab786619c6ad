"""The database's time, as this process knows it between two looks (port Clock)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

STEP_US = 1_000_000
"""A database's clock that goes back by less is waited for, standing still; by more it is followed."""

LOOKS = 3


class DatabaseClock:
    """Goes on with the time since boot from what the database said last, so the wall clock of this machine plays no
    part. Decides nothing: leases, claims and deadlines are compared by the database itself."""

    def __init__(self) -> None:
        self._offset_us = time.time_ns() // 1000 - _boot_us()
        self._last_us = 0

    def now_us(self) -> int:
        now = _boot_us() + self._offset_us
        if self._last_us - STEP_US < now < self._last_us:
            return self._last_us
        self._last_us = now
        return now

    def monotonic(self) -> float:
        return time.monotonic()

    async def look(self, ask: Callable[[], Awaitable[int]]) -> None:
        """Ask the database a few times; the quickest answer counts, as if given in the middle of its round trip."""
        best: tuple[int, int] | None = None
        for _ in range(LOOKS):
            before = _boot_us()
            said = await ask()
            after = _boot_us()
            measured = (after - before, said - (before + after) // 2)
            best = min(best, measured) if best else measured
        assert best
        self._offset_us = best[1]


def _boot_us() -> int:
    return time.clock_gettime_ns(_BOOTTIME) // 1000
