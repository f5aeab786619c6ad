"""The budgets and rate limits of an owner: what one owner may use in a day, and may send in a minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.prices import micros_of

AMOUNT_MAX = 1 << 53
"""Maximum value of a budget or rate limit."""
LIMIT_NAMES = ("tokens_per_day", "cost_per_day", "turns_per_minute", "messages_per_minute")


class Budgets(Value):
    """What one owner may use and send. None: without a limit. Days and minutes are UTC, by the
    store's clock."""

    tokens_per_day: int | None = None
    """Input and output tokens of all models."""
    cost_micros_per_day: int | None = None
    """The cost of what has a price, in millionths of the currency's unit (`cost_per_day` is in units)."""
    turns_per_minute: int | None = None
    """Messages that start a turn or are queued for one, and turns that are run again."""
    messages_per_minute: int | None = None
    """Messages of every kind, edits of the history included."""

    @property
    def has_budget(self) -> bool:
        """Whether anything is limited per day."""
        return self.tokens_per_day is not None or self.cost_micros_per_day is not None

    @property
    def has_rate(self) -> bool:
        """Whether anything is limited per minute."""
        return self.turns_per_minute is not None or self.messages_per_minute is not None

    @staticmethod
    def make(given: Mapping[str, Any]) -> Budgets:
        """From the names in `LIMIT_NAMES`: whole numbers above 0; `cost_per_day` is an amount of the currency.
        Raises `Invalid`, with the name."""
        values: dict[str, int] = {}
        for name, amount in given.items():
            where = f"budgets.{name}"
            if name not in LIMIT_NAMES:
                raise Invalid(where, f"unknown budget; the budgets are {', '.join(LIMIT_NAMES)}")
            if name == "cost_per_day":
                values["cost_micros_per_day"] = micros_of(where, amount)
            elif type(amount) is not int or not 0 < amount <= AMOUNT_MAX:
                raise Invalid(where, "a whole number above 0")
            else:
                values[name] = amount
        if values.get("cost_micros_per_day") == 0:
            raise Invalid("budgets.cost_per_day", "an amount above 0")
        return Budgets(**values)
