"""The query and the bodies of the route of usage."""

from __future__ import annotations

from typing import Annotated

import msgspec

from antiphon.core.values import Value

Day = Annotated[str, msgspec.Meta(max_length=10, description="a day in UTC, as 2026-11-30")]


class UsageQuery(Value):
    """`from` and `to` are days in UTC, both included; by default the last 30. `owner` is the name of another owner
    (admins only)."""

    from_: Day = msgspec.field(default="", name="from")
    to: Day = ""
    owner: Annotated[str, msgspec.Meta(max_length=128)] = ""


class UsageTotal(Value):
    """The input includes the tokens that were read from a cache or written to one, the output those of reasoning.
    `cost_micros` is in millionths of the currency's unit; null: nothing has a price. `unpriced_tokens` are not part
    of it. A turn counts once, for the first model that it used."""

    calls: int
    turns: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    cost_micros: int | None
    unpriced_tokens: int


class UsageRow(UsageTotal):
    """What was used of one model in one day."""

    day: str
    model: str


class BudgetAnswer(Value):
    """A budget of the day, in tokens or in millionths of the currency's unit."""

    name: str
    limit: int
    used: int
    resets_at: str


class UsageAnswer(Value):
    """`currency` is that of the prices, or null."""

    owner_id: str
    currency: str | None
    first_day: str
    last_day: str
    rows: list[UsageRow]
    total: UsageTotal
    budgets: list[BudgetAnswer]
