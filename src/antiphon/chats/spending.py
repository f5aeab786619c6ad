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
from antiphon.core.parts import Usage
from antiphon.core.values import Value
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


class BudgetState(Value):
    """A budget of a day: its name, its value and how much of it is used (tokens, or millionths of the currency's
    unit), and when the next day begins (RFC 3339)."""

    name: str
    limit: int
    used: int
    resets_at: str


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
        for budget in await self.budgets_of(owner_id):
            if budget.used >= budget.limit:
                raise BudgetExhausted(
                    budget.name,
                    budget.limit,
                    budget.used,
                    what=self._words(budget),
                    resets_at=budget.resets_at,
                    retry_after_ms=-(-(DAY_US - self._store.clock.now_us() % DAY_US) // 1000),
                )

    async def budgets_of(self, owner_id: str) -> tuple[BudgetState, ...]:
        """The budgets of this day, and how much of each the owner has used."""
        budgets = self.budgets
        if not budgets.has_budget:
            return ()
        day = self.today()
        used = await self._sum_of_day(owner_id, day)
        for usage in self._in_progress.get(owner_id, {}).values():
            used = used + usage
        amounts = (
            ("tokens_per_day", budgets.tokens_per_day, used.tokens),
            ("cost_per_day", budgets.cost_micros_per_day, used.cost_micros or 0),
        )
        resets_at = format_time_us((day + 1) * DAY_US)
        return tuple(
            BudgetState(name=name, limit=limit, used=amount, resets_at=resets_at)
            for name, limit, amount in amounts
            if limit is not None
        )

    def _words(self, budget: BudgetState) -> str:
        if budget.name == "tokens_per_day":
            return f"{budget.used:,} of {budget.limit:,} tokens"
        return f"{amount_text(budget.used)} of {amount_text(budget.limit)} {self.prices.currency}"

    def today(self) -> int:
        """The current day of the store's clock, as the number of days since the Unix epoch."""
        return day_of(self._store.clock.now_us())

    async def _sum_of_day(self, owner_id: str, day: int) -> Usage:
        cached = self._days.get(owner_id)
        if cached is not None and cached[0] == day and self._is_fresh(cached[1]):
            self._days.move_to_end(owner_id)
            return cached[2]
        changes, at = self._changes, time.monotonic()
        total = await self._store.sum_usage(owner_id, day)
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
        rows = day_rows(owner_id, self.today(), used)
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

    async def read(self, owner_id: str, first_day: int, last_day: int, *, limit: int) -> tuple[DayUsage, ...]:
        """The usage of an owner by day and model. Days since the Unix epoch, both included."""
        return await self._store.read_usage(owner_id, first_day, last_day, limit=limit)

    async def run(self) -> None:
        """Delete old usage regularly, until cancelled."""
        while True:
            self.error = None
            try:
                await self._store.delete_usage(self.today() - USAGE_DAYS_KEPT + 1)
            except Unavailable as error:
                self.error = str(error)
            await asyncio.sleep(CLEAN_S)
