"""The health of an instance: for readiness, metrics and the log."""

from __future__ import annotations

from collections.abc import Callable, Set

import structlog

from antiphon.observe.metrics import METRICS

log = structlog.get_logger(__name__)

Check = Callable[[], str | None]
"""Returns the last error of a part; None or an empty text while it works."""


class Health:
    """The checks of all parts. A failing `problem` makes the instance not ready; a failing `degradation` only makes
    it slower. `warnings` names options that are not safe."""

    def __init__(self) -> None:
        self.warnings: set[str] = set()
        self._problems: dict[str, Check] = {}
        self._degradations: dict[str, Check] = {}
        self._logged: Set[str] = frozenset()

    def add_problem(self, name: str, check: Check) -> None:
        self._problems[name] = check

    def add_degradation(self, name: str, check: Check) -> None:
        self._degradations[name] = check

    def warn(self, name: str, note: str) -> None:
        """Show and log an option that is not safe."""
        self.warnings.add(name)
        log.warning(name, note=note)

    def problems(self) -> dict[str, str]:
        """The errors of parts without which the instance cannot work."""
        return _failing(self._problems)

    def degradations(self) -> dict[str, str]:
        """The errors of parts without which the instance is only slower: hints and the relay of drafts."""
        return _failing(self._degradations)

    def update_gauge(self) -> None:
        METRICS.degraded.set(len(self.problems()) + len(self.degradations()))

    def log_changes(self) -> None:
        """Log when the failing parts change, and when all parts work again."""
        errors = self.problems() | self.degradations()
        if errors.keys() == self._logged:
            return
        self._logged = errors.keys()
        if errors:
            log.warning("degraded", **errors)
        else:
            log.info("recovered")


def _failing(checks: dict[str, Check]) -> dict[str, str]:
    return {name: error for name, check in checks.items() if (error := check())}
