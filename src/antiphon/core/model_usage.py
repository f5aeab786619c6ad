"""The usage of a turn by model: which model was called how often, with how many tokens and at what cost."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.core.parts import NO_USAGE, Usage
from antiphon.core.values import Value

MODELS_MAX = 16
"""Maximum number of models that a turn's usage names. The usage of further models is added to `OTHER_MODELS`."""
OTHER_MODELS = "other"
MODEL_NAME_MAX = 200
"""Maximum length of a model's name in the usage, in characters; a longer one is cut."""


class ModelUsage(Value):
    """What one model has used: the number of calls that were started, and the sum of what they reported."""

    model: str
    calls: int = 0
    usage: Usage = NO_USAGE


def added(*parts: Iterable[ModelUsage]) -> tuple[ModelUsage, ...]:
    """The sum by model, in the order in which the models were first used."""
    sums: dict[str, ModelUsage] = {}
    for one in (one for part in parts for one in part):
        name = one.model if one.model in sums or len(sums) < MODELS_MAX else OTHER_MODELS
        before = sums.get(name)
        calls, usage = (before.calls, before.usage) if before else (0, NO_USAGE)
        sums[name] = ModelUsage(model=name, calls=calls + one.calls, usage=usage + one.usage)
    return tuple(sums.values())


def total_of(used: Iterable[ModelUsage]) -> Usage:
    """The sum over all models."""
    total = NO_USAGE
    for one in used:
        total = total + one.usage
    return total
