"""Usage of a framework that reports running totals, as the usage of a turn."""

from __future__ import annotations

from antiphon.worker.turn import Turn


class UsageMeter:
    """Adds what a run has used since the last report."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._reported: dict[str, int] = {}

    def report(self, **totals: int | None) -> None:
        """Add the difference to the last report to the turn's usage.

        Args:
            totals: The tokens of the whole run so far, by the field of `Usage`. None: not reported.
        """
        counts = {name: total - self._reported.get(name, 0) for name, total in totals.items() if total}
        self._reported |= {name: total for name, total in totals.items() if total}
        if any(counts.values()):
            self._turn.add_usage(**counts)
