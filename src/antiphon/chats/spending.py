"""What owners spend: checks their budgets, and records usage that no fact has.

How it works
------------
The usage of a turn is added to its owner's day in the append that ends the turn (`counting.py`), so it is counted
once, whatever crashes or is repeated. A budget is compared with three sums:

1. The owner's day as the store has it. On a store that other instances write it may be `FRESH_S` old.
2. The turns in progress here, as far as they have reported usage. Those of other instances count when they end.
3. Nothing else: a model call under way is not known until it reports.

So an owner may exceed a budget by the model calls under way, and by the turns in progress at other instances.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable

import structlog

from antiphon.budgets import Budgets
from antiphon.chats.counting import DAY_US, day_of, day_rows
from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import NO_USAGE, Usage
from antiphon.errors import AntiphonError, BudgetExhausted, Invalid, Unavailable
from antiphon.observe.metrics import METRICS
from antiphon.ports import USAGE_DAYS_KEPT, Append, DayUsage, OutcomeUnknown, Store
from antiphon.prices import Prices, amount_text
from antiphon.wire.gotime import format_time_us

FRESH_S = 1.0
"""How long the sum of an owner's day is used without another read of a shared store, in seconds."""
OWNERS_MAX = 10_000
"""Maximum number of owners whose sums are cached; the least recently used one is read again."""
CLEAN_S = 3600.0
"""Between two deletions of usage that is older than USAGE_DAYS_KEPT, in seconds."""
CURRENCY = "currency"
"""The setting of the store with the currency of its costs."""

log = structlog.get_logger(__name__)


class Spending:
    """The spending of all owners, as far as this instance knows it."""

    def __init__(self, store: Store, *, prices: Prices, budgets: Budgets) -> None:
        self.prices = prices
        self.budgets = budgets
        self.error: str | None = None
        """Why old usage could not be deleted, for readiness."""
        self._store = store
        self._days: OrderedDict[str, tuple[int, float, Usage]] = OrderedDict()
        """The day, when it was read, and its sum, by owner."""
        self._in_progress: dict[str, dict[tuple[str, int], Usage]] = {}
        """What the attempts of this instance have used in their turns, by owner, chat and attempt."""
        self._changes = 0

    async def start(self) -> None:
        """Record the currency of the prices. Raises `Invalid` if the store has costs in another one."""
        if not self.prices.models:
            return
        stored = await self._store.read_setting(CURRENCY)
        if stored and stored != self.prices.currency:
            raise Invalid("prices.currency", f"the costs in this store are in {stored}, not {self.prices.currency}")
        if not stored:
            await self._store.write_setting(CURRENCY, self.prices.currency)

    async def currency(self) -> str:
        """The currency of the costs in the store; empty: there are none."""
        return self.prices.currency if self.prices.models else await self._store.read_setting(CURRENCY)

    # --- budgets

    async def check_send(self, owner_id: str) -> None:
        """`check` before a message is sent; a refusal is counted."""
        try:
            await self.check(owner_id)
        except BudgetExhausted as error:
            METRICS.limited.labels(error.limit_name).inc()
            raise

    async def check(self, owner_id: str) -> None:
        """Raises `BudgetExhausted` if the owner has used a budget of this day, `Unavailable` if that cannot be
        read."""
        if not self.budgets.has_budget:
            return
        now = self._store.clock.now_us()
        used = await self._sum_of_day(owner_id, day_of(now))
        for usage in self._in_progress.get(owner_id, {}).values():
            used = used + usage
        self._check(used, now)

    def _check(self, used: Usage, now: int) -> None:
        tokens_max, cost_max, cost = self.budgets.tokens_per_day, self.budgets.cost_micros_per_day, used.cost_micros
        ends_at = (day_of(now) + 1) * DAY_US
        if tokens_max is not None and used.tokens >= tokens_max:
            name, limit, amount = "tokens_per_day", tokens_max, used.tokens
            what = f"{amount:,} of {limit:,} tokens"
        elif cost_max is not None and (cost or 0) >= cost_max:
            name, limit, amount = "cost_per_day", cost_max, cost or 0
            what = f"{amount_text(amount)} of {amount_text(limit)} {self.prices.currency}"
        else:
            return
        raise BudgetExhausted(
            name,
            limit,
            amount,
            what=what,
            resets_at=format_time_us(ends_at),
            retry_after_ms=max((ends_at - now) // 1000, 1),
        )

    async def _sum_of_day(self, owner_id: str, day: int) -> Usage:
        cached = self._days.get(owner_id)
        if cached is not None and cached[0] == day and self._is_fresh(cached[1]):
            self._days.move_to_end(owner_id)
            return cached[2]
        changes, at = self._changes, time.monotonic()
        total = NO_USAGE
        for row in await self._store.read_usage(owner_id, day, day):
            total = total + row.usage
        if changes == self._changes:  # else an append of this process may be missing from what was read
            self._days[owner_id] = (day, at, total)
            self._days.move_to_end(owner_id)
            if len(self._days) > OWNERS_MAX:
                self._days.popitem(last=False)
        return total

    def _is_fresh(self, read_at: float) -> bool:
        return not self._store.is_shared or time.monotonic() - read_at < FRESH_S

    # --- what happens

    def report(self, owner_id: str, chat_id: str, attempt: int, usage: Usage) -> None:
        """Record what a turn in progress here has used so far."""
        if self.budgets.has_budget:
            self._in_progress.setdefault(owner_id, {})[chat_id, attempt] = usage

    def end(self, owner_id: str, chat_id: str, attempt: int) -> None:
        """The attempt has ended here."""
        attempts = self._in_progress.get(owner_id)
        if attempts is not None:
            attempts.pop((chat_id, attempt), None)
            if not attempts:
                del self._in_progress[owner_id]

    def on_append(self, append: Append) -> None:
        """The usage in an append is counted now: it is part of the owner's day, and of no turn in progress."""
        if not append.usage:
            return
        self._changed(append.chat.owner_id)
        for chat_id, attempt in tuple(self._in_progress.get(append.chat.owner_id, ())):
            if chat_id == append.chat_id and attempt != append.chat.attempt:
                self.end(append.chat.owner_id, chat_id, attempt)

    async def add(self, owner_id: str, used: Iterable[ModelUsage]) -> None:
        """Count usage for which there is no fact: of an attempt that lost its turn, or of a title that was not used.
        A failure is logged: the usage is then not counted, and never twice."""
        rows = day_rows(owner_id, day_of(self._store.clock.now_us()), used)
        if not rows:
            return
        try:
            await self._store.add_usage(rows)
        except (AntiphonError, OutcomeUnknown) as error:
            METRICS.unexpected.labels("usage_not_counted").inc()
            log.warning("usage_not_counted", error=str(error) or type(error).__name__)
        self._changed(owner_id)

    def _changed(self, owner_id: str) -> None:
        self._changes += 1
        self._days.pop(owner_id, None)

    # --- reading and cleaning

    async def read(self, owner_id: str, first_day: int, last_day: int) -> tuple[DayUsage, ...]:
        """The usage of an owner by day and model. Days since the Unix epoch, both included."""
        return await self._store.read_usage(owner_id, first_day, last_day)

    async def run(self) -> None:
        """Delete old usage regularly, until cancelled."""
        while True:
            self.error = None
            try:
                await self._store.delete_usage(day_of(self._store.clock.now_us()) - USAGE_DAYS_KEPT + 1)
            except Unavailable as error:
                self.error = str(error)
            await asyncio.sleep(CLEAN_S)
