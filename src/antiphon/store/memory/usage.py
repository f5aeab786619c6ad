"""The usage of owners in the store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from antiphon.core.parts import NO_USAGE, Usage
from antiphon.ports import Appended, DayUsage, SendCount
from antiphon.store.memory.state import MemoryState
from antiphon.store.rows import over_limit, summed_usage, usage_columns, usage_of


class MemoryUsage(MemoryState):
    """Keeps the promises of `ports.UsageStore`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._usage: dict[tuple[str, int, str], DayUsage] = {}
        self._sent: dict[str, tuple[int, int, int]] = {}
        """The minute in which an owner has last sent, and its messages and turns in it."""

    async def add_usage(self, rows: Sequence[DayUsage]) -> None:
        await asyncio.sleep(0)  # as with `append`
        await self.check()
        self._add_usage(rows)

    async def read_usage(self, owner_id: str, first_day: int, last_day: int, *, limit: int) -> tuple[DayUsage, ...]:
        found = (row for row in self._usage.values() if row.owner_id == owner_id and first_day <= row.day <= last_day)
        return tuple(sorted(found, key=lambda row: (row.day, row.model)))[:limit]

    async def sum_usage(self, owner_id: str, day: int) -> Usage:
        rows = [row.usage for row in self._usage.values() if (row.owner_id, row.day) == (owner_id, day)]
        return summed_usage(sum(rows, NO_USAGE))

    async def delete_usage(self, before_day: int) -> None:
        await self.check()
        self._usage = {key: row for key, row in self._usage.items() if row.day >= before_day}

    def _add_usage(self, rows: Sequence[DayUsage]) -> None:
        for row in rows:
            key = (row.owner_id, row.day, row.model)
            before, more = self._usage.get(key), usage_of(usage_columns(row))
            self._usage[key] = more if before is None else _sum(before, more)

    def _refused_send(self, sends: SendCount) -> Appended | None:
        return over_limit(sends, *self._sent_in(sends))

    def _count_send(self, sends: SendCount) -> None:
        messages, turns = self._sent_in(sends)
        minute = max(sends.minute, self._sent.get(sends.owner_id, (0, 0, 0))[0])
        self._sent[sends.owner_id] = (minute, messages + sends.messages, turns + sends.turns)

    def _sent_in(self, sends: SendCount) -> tuple[int, int]:
        minute, messages, turns = self._sent.get(sends.owner_id, (0, 0, 0))
        return (messages, turns) if minute >= sends.minute else (0, 0)


def _sum(a: DayUsage, b: DayUsage) -> DayUsage:
    total = DayUsage(
        owner_id=a.owner_id,
        day=a.day,
        model=a.model,
        calls=a.calls + b.calls,
        turns=a.turns + b.turns,
        usage=a.usage + b.usage,
    )
    return usage_of(usage_columns(total))
