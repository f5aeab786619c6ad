"""What an append adds to its owner's usage of a day, and to what the owner sends in a minute. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from antiphon.budgets import Budgets
from antiphon.core import facts as f
from antiphon.core.model import WhenBusy
from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import Role
from antiphon.ports import DayUsage, SendCount

DAY_US = 24 * 3600 * 1_000_000
MINUTE_US = 60 * 1_000_000


def day_of(at: int) -> int:
    """The day of a time in microseconds, as the number of days since the Unix epoch."""
    return at // DAY_US


def day_rows(owner_id: str, day: int, used: Iterable[ModelUsage], *, turns: int = 0) -> tuple[DayUsage, ...]:
    """What was used in a day, by model. The turns are counted with the first model."""
    rows: list[DayUsage] = []
    for one in used:
        rows.append(
            DayUsage(
                owner_id=owner_id,
                day=day,
                model=one.model,
                calls=one.calls,
                turns=turns if not rows else 0,
                usage=one.usage,
            )
        )
    return tuple(rows)


def usage_of_append(owner_id: str, entries: Sequence[f.Entry]) -> tuple[DayUsage, ...]:
    """The usage of the turns that the facts end, of the turn in progress of a deleted chat, and of titles."""
    sums: dict[tuple[int, str], DayUsage] = {}
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, f.TurnEnded | f.ChatDeleted | f.TitleChanged) and fact.used:
            turns = 0 if isinstance(fact, f.TitleChanged) else 1
            for row in day_rows(owner_id, day_of(entry.recorded.at), fact.used, turns=turns):
                before = sums.get((row.day, row.model))
                sums[row.day, row.model] = row if before is None else sum_of(before, row)
    return tuple(sums.values())


def sum_of(a: DayUsage, b: DayUsage) -> DayUsage:
    """The sum of two rows of one owner, day and model."""
    return DayUsage(
        owner_id=a.owner_id,
        day=a.day,
        model=a.model,
        calls=a.calls + b.calls,
        turns=a.turns + b.turns,
        usage=a.usage + b.usage,
    )


def sends_of_append(owner_id: str, entries: Sequence[f.Entry], budgets: Budgets) -> SendCount | None:
    """The messages and turns that the facts add; None: the owner's sends are not limited, or there are none. A queued
    message counts when it is queued, not when it is delivered. The history that a chat is created with does not
    count, only the turn that then runs."""
    if not budgets.has_rate:
        return None
    messages = turns = 0
    if _is_import(entries):
        entries = entries[_last_turn(entries) :]
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, f.MessageQueued):
            messages += 1
            turns += fact.when_busy is not WhenBusy.STEER
        elif isinstance(fact, f.MessageAppended) and fact.role is Role.USER and not fact.queued_id:
            messages += 1
            turns += 1
        elif isinstance(fact, f.TurnRestarted):
            turns += 1
    if not messages and not turns:
        return None
    return SendCount(
        owner_id=owner_id,
        minute=entries[-1].recorded.at // MINUTE_US,
        messages=messages,
        turns=turns,
        messages_max=budgets.messages_per_minute,
        turns_max=budgets.turns_per_minute,
    )


def _is_import(entries: Sequence[f.Entry]) -> bool:
    """Whether a chat is created with a history: only then an answer is older than the facts after it."""
    has_answer = any(isinstance(e.fact, f.MessageAppended) and e.fact.role is not Role.USER for e in entries)
    return has_answer and isinstance(entries[0].fact, f.ChatCreated)


def _last_turn(entries: Sequence[f.Entry]) -> int:
    """The index of the message that begins the last turn of a history."""
    begins = (i for i, e in enumerate(entries) if isinstance(e.fact, f.MessageAppended) and e.fact.turn_id == e.seq)
    return max(begins, default=0)
