"""What owners have used: tokens and costs by day and model, and what they send in a minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.parts import NO_USAGE, Usage
from antiphon.core.values import Value

USAGE_DAYS_KEPT = 400
"""How many days of usage are kept."""
COUNT_MAX = 1 << 61
"""Maximum value of a stored sum; a larger one is stored as this, so that no sum exceeds 64 bits."""


class DayUsage(Value):
    """What one owner has used of one model in one day. `day` is the number of days since the Unix epoch, UTC, by the
    store's clock. `turns` are the turns whose first model this was."""

    owner_id: str
    day: int
    model: str
    calls: int = 0
    turns: int = 0
    usage: Usage = NO_USAGE
    """Without `total_tokens` and `context_limit`, which are not stored."""


class SendCount(Value):
    """How many messages and turns an append adds to its owner's count of a minute (since the Unix epoch, by the
    store's clock), and the maximum of each (None: no limit)."""

    owner_id: str
    minute: int
    messages: int
    turns: int
    messages_max: int | None = None
    turns_max: int | None = None


class UsageStore(Protocol):
    """The usage of owners. An append adds its own usage and its own sends in its transaction. Every method raises
    `Unavailable` if the store cannot be read or written."""

    async def add_usage(self, rows: Sequence[DayUsage]) -> None:
        """Add usage that no append has. It is not idempotent.

        Raises:
            OutcomeUnknown: It may have been added: do not repeat it.
        """
        ...

    async def read_usage(self, owner_id: str, first_day: int, last_day: int, *, limit: int) -> tuple[DayUsage, ...]:
        """The usage of an owner from one day to another, both included, by day and model; at most `limit` rows."""
        ...

    async def sum_usage(self, owner_id: str, day: int) -> Usage:
        """The tokens of an owner in a day, how many of them have a price, and their cost."""
        ...

    async def delete_usage(self, before_day: int) -> None:
        """Delete the usage of the days before one, of all owners."""
        ...
