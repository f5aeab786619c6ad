"""A clock that stands still until it is told to go on (port Clock)."""

from __future__ import annotations

START_US = 1_700_000_000_000_000


class FakeClock:
    """Both of its times move together, by `advance` only. `tick_us`: how far each look at it moves them."""

    def __init__(self, now_us: int = START_US, *, tick_us: int = 0) -> None:
        self._start_us = self._now_us = now_us
        self._tick_us = tick_us

    def now_us(self) -> int:
        self._now_us += self._tick_us
        return self._now_us

    def monotonic(self) -> float:
        return (self.now_us() - self._start_us) / 1_000_000

    def advance(self, seconds: float) -> None:
        assert seconds >= 0, "time does not go back"
        self._now_us += round(seconds * 1_000_000)
