"""Compares the sums of usage with the facts, for the doctor.

The sums of a day may be larger than the facts say: a deleted chat has lost its facts, and some usage never has a fact
(of an attempt that lost its turn, of a title that was not used). They are never smaller, because an append adds the
usage of its facts in its transaction. So a smaller sum is damage, and a larger one is not examined.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

from antiphon.chats.chat_check import Finding
from antiphon.chats.counting import day_of, sum_of
from antiphon.ports import COUNT_MAX, USAGE_DAYS_KEPT, DayUsage, Store

ROWS_MAX = 1 << 30
"""More rows of usage than an owner can have in the days that are kept."""
COUNTS = (
    *("input_tokens", "output_tokens", "reasoning_tokens", "cache_creation_tokens", "cache_read_tokens"),
    *("priced_tokens", "cost_micros"),
)
"""The counts of `Usage` that are summed."""


async def examine_usage(store: Store, by_facts: Iterable[DayUsage]) -> tuple[int, list[Finding]]:
    """Examine the sums of all days that are kept. The store may be in use: sums only grow, and they are read after
    the facts.

    Args:
        store: The store.
        by_facts: What the facts of all chats say, read before; several rows may have one key.

    Returns:
        The number of sums that were compared, and the findings.
    """
    first_day = day_of(store.clock.now_us()) - USAGE_DAYS_KEPT + 2  # one more may be deleted at midnight
    expected: dict[str, dict[tuple[int, str], DayUsage]] = {}
    for row in by_facts:
        if row.day >= first_day:
            rows = expected.setdefault(row.owner_id, {})
            before = rows.get((row.day, row.model))
            rows[row.day, row.model] = row if before is None else sum_of(before, row)
    findings = list[Finding]()
    for owner_id, rows in sorted(expected.items()):
        last_day = max(day for day, _ in rows)
        read = await store.read_usage(owner_id, first_day, last_day, limit=ROWS_MAX)
        stored = {(row.day, row.model): row for row in read}
        for key, row in sorted(rows.items()):
            findings += _faults(row, stored.get(key) or DayUsage(owner_id=owner_id, day=row.day, model=row.model))
    return sum(map(len, expected.values())), findings


def _faults(by_facts: DayUsage, stored: DayUsage) -> Iterator[Finding]:
    """One finding if a sum of an owner's day and model is smaller than its facts say."""
    wanted, counted = _counts(by_facts), _counts(stored)
    missing = [
        f"{counted[name]:,} {name.replace('_', ' ')} instead of {count:,}"
        for name, count in wanted.items()
        if counted[name] < min(count, COUNT_MAX)
    ]
    if missing:
        date = datetime.date(1970, 1, 1) + datetime.timedelta(days=by_facts.day)
        where = f"the usage of owner {by_facts.owner_id!r} on {date.isoformat()} of the model {by_facts.model!r}"
        what = f"{where} is less than the chats' facts say: {', '.join(missing)}; restore the table usage_days"
        yield Finding(chat_id="*", what=f"{what} from a backup, or expect budgets to count too little")


def _counts(row: DayUsage) -> dict[str, int]:
    counts = {name: getattr(row.usage, name) or 0 for name in COUNTS}
    return {"calls": row.calls, "turns": row.turns} | counts
