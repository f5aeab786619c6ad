"""The database's time, estimated in this process between two synchronizations (port Clock)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

STEP_US = 1_000_000
"""If the database's clock is set back by less than this, `now_us` stands still until it is reached again; if by more,
`now_us` goes back with it."""

SAMPLES = 3
"""Queries of the database's time in one synchronization."""


class DatabaseClock:
    """The last time that the database reported, plus the time since then by this machine's monotonic clock; the wall
    clock is not used. Nothing is decided by it: the database itself compares leases, claims and deadlines."""

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

    async def synchronize(self, read_time: Callable[[], Awaitable[int]]) -> None:
        """Query the database's time a few times. The fastest response is used, as the time in the middle of its round
        trip."""
        best: tuple[int, int] | None = None
        for _ in range(SAMPLES):
            before = _boot_us()
            reported = await read_time()
            after = _boot_us()
            measured = (after - before, reported - (before + after) // 2)
            best = min(best, measured) if best else measured
        assert best
        self._offset_us = best[1]


def _boot_us() -> int:
    return time.clock_gettime_ns(_BOOTTIME) // 1000
