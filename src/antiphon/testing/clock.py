"""A clock that a test sets by hand (port Clock)."""

from __future__ import annotations

START_US = 1_700_000_000_000_000


class FakeClock:
    """Wall clock and monotonic time advance together, by `advance` only.

    Args:
        now_us: The time at the start, in microseconds since the Unix epoch.
        tick_us: How much each reading advances the clock, in microseconds, so that no two readings are equal.
    """

    def __init__(self, now_us: int = START_US, *, tick_us: int = 0) -> None:
        self._start_us = self._now_us = now_us
        self._tick_us = tick_us

    def now_us(self) -> int:
        self._now_us += self._tick_us
        return self._now_us

    def monotonic(self) -> float:
        return (self.now_us() - self._start_us) / 1_000_000

    def advance(self, seconds: float) -> None:
        """Advance the clock by `seconds`."""
        assert seconds >= 0, "time does not run backwards"
        self._now_us += round(seconds * 1_000_000)
