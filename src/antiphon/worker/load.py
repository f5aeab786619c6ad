"""How much an instance has to do, as it counts when work is spread: turns that are over in a moment do not.

To leave such a turn to another instance costs more than to have it, and where turns are short the instances' numbers
differ at every moment by chance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

LASTS_S = 0.5
"""A turn that runs for so long is one that lasts."""
WEIGHT = 0.05
"""How much each turn that ends adds to what is known of those before it."""


class Load:
    """Tell it of each turn that begins and ends."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun: dict[Hashable, float] = {}
        self._lasting_share = 1.0
        """Of the turns that ended lately; while none has, any may last."""

    def begin(self, turn: Hashable) -> None:
        self._begun[turn] = self._loop.time()

    def end(self, turn: Hashable) -> None:
        self._lasting_share += (self._lasts(self._begun.pop(turn)) - self._lasting_share) * WEIGHT

    def count(self, running: int) -> int:
        """Of so many turns (some may not have begun) those that last, and of the others as many as will, by
        experience."""
        lasting = sum(map(self._lasts, self._begun.values()))
        return lasting + round((running - lasting) * self._lasting_share)

    def _lasts(self, begun_at: float) -> bool:
        return self._loop.time() - begun_at >= LASTS_S
