"""The running turns of an instance, counted for balancing: short turns do not count.

Leaving a short turn to another instance costs more than running it, and where turns are short the numbers of the
instances differ by chance at every moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

LONG_TURN_S = 0.5
"""How long a turn must run to count as a long one, in seconds."""
WEIGHT = 0.05
"""The weight of each turn that ends in the moving average of the share of long turns."""


class RunningTurns:
    """Call `start` and `end` for every turn."""

    def __init__(self, *, long_turn_s: float = LONG_TURN_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._long_turn_s = long_turn_s
        self._started_at: dict[Hashable, float] = {}
        self._long_share = 1.0
        """The share of long turns among those that ended recently. Before the first one every turn counts."""

    def start(self, turn: Hashable) -> None:
        self._started_at[turn] = self._loop.time()

    def end(self, turn: Hashable) -> None:
        self._long_share += (self._is_long(self._started_at.pop(turn)) - self._long_share) * WEIGHT

    def count(self, running: int) -> int:
        """Of `running` turns (some may not have started) the long ones, and the expected number of long ones among
        the others."""
        long = sum(map(self._is_long, self._started_at.values()))
        return long + round((running - long) * self._long_share)

    def _is_long(self, started_at: float) -> bool:
        return self._loop.time() - started_at >= self._long_turn_s
