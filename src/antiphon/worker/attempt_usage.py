"""The usage of one attempt: what its model calls report, until a fact has it.

A command carries the usage that no fact has yet. It is taken out when the command is sent, and comes back if the
command is refused. So usage is in one fact at most, also when the attempt's task is cancelled while its command is
under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from antiphon.core.model_usage import MODEL_NAME_MAX, ModelUsage, added, total_of
from antiphon.core.parts import NO_USAGE, Usage
from antiphon.prices import Prices


class AttemptUsage:
    """The reports that no fact has yet, added up by model. One command at a time carries them."""

    def __init__(self, prices: Prices, on_report: Callable[[Usage], None]) -> None:
        """
        Args:
            prices: By which a report gets its cost.
            on_report: Called with `total` after each report.
        """
        self._prices = prices
        self._on_report = on_report
        self._pending: list[ModelUsage] = []
        self._fixed = 0
        """How many of them the next command carries; what is reported meanwhile is not added to these."""
        self.total = NO_USAGE
        """The usage of the whole attempt."""
        self.is_uncertain = False
        """The store has not said whether the last command that carried usage was written."""
        self._model = ""

    def start_call(self, model: str, provider: str) -> None:
        """A call of that model begins. What is reported without a model's name is its usage."""
        self._model = full_name(model, provider)
        self._add(ModelUsage(model=self._model, calls=1))

    def report(self, usage: Usage, model: str) -> None:
        """Add what a call has used. `model` is the one that it belongs to if no call was started."""
        name = self._model or model[:MODEL_NAME_MAX]
        self.report_of(name, usage)

    def report_of(self, model: str, usage: Usage) -> None:
        """Add what a call of that model has used."""
        priced = self._prices.priced(model, usage)
        self.total = self.total + priced
        self._add(ModelUsage(model=model[:MODEL_NAME_MAX], usage=priced))
        self._on_report(self.total)

    def _add(self, one: ModelUsage) -> None:
        self._pending[self._fixed :] = added(self._pending[self._fixed :], (one,))

    def pending(self) -> tuple[ModelUsage, ...]:
        """What no fact has, for the next command."""
        self._fixed = len(self._pending)
        return tuple(self._pending)

    def remove(self, used: Sequence[ModelUsage]) -> None:
        """A command with `used`, which `pending` has returned, is under way, or was written."""
        del self._pending[: len(used)]
        self._fixed = 0

    def give_back(self, used: Sequence[ModelUsage]) -> None:
        """The command was not written: no fact has `used`."""
        self._pending[:0] = used
        self._fixed = len(used)


def full_name(model: str, provider: str) -> str:
    """The name of a model by which it has a price: `<provider>:<model>`; `rehearsal` stands for itself."""
    is_full = not provider or provider == model or model.startswith(f"{provider}:")
    return (model if is_full else f"{provider}:{model}")[:MODEL_NAME_MAX]


def carried(used: Sequence[ModelUsage]) -> dict[str, Any]:
    """The fields of a command that carries these reports."""
    return {"usage": total_of(used), "used": added(used)}
