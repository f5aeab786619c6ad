"""The load for balancing: long turns count, and new ones by the share of long turns."""

from __future__ import annotations

import pytest

from antiphon.ports import Balance
from antiphon.worker.running_turns import RunningTurns
from support.waiting import wait_until

from .agents import Gate, says_hello
from .running import ask, running

pytestmark = pytest.mark.anyio

NEVER_S = 3600.0


def run_turns(turns: RunningTurns, count: int) -> None:
    for turn in range(count):
        turns.start(turn)
        turns.end(turn)


async def test_before_the_first_turn_ends_every_turn_counts() -> None:
    turns = RunningTurns()
    turns.start("a")
    assert turns.count(1) == 1
    assert turns.count(3) == 3, "also those that have a slot and have not started"


async def test_short_turns_do_not_count() -> None:
    turns = RunningTurns(long_turn_s=NEVER_S)
    run_turns(turns, 100)
    assert turns.count(40) == 0


async def test_a_long_turn_counts_among_short_ones() -> None:
    turns = RunningTurns(long_turn_s=NEVER_S)
    run_turns(turns, 100)
    turns._long_turn_s = 0.0
    turns.start("long")
    assert turns.count(40) == 1


async def test_if_half_of_the_turns_are_long_half_of_the_new_ones_count() -> None:
    turns = RunningTurns()
    for _ in range(100):
        for long_turn_s in (0.0, NEVER_S):
            turns._long_turn_s = long_turn_s
            run_turns(turns, 1)
    assert 15 <= turns.count(40) <= 25


class RecordingBalance(Balance):
    """Records the loads that it is called with."""

    def __init__(self) -> None:
        self.loads: list[int] = []

    def may_claim(self, load: int) -> bool:
        self.loads.append(load)
        return True


async def test_a_worker_with_short_turns_has_no_load() -> None:
    async with running(says_hello) as instance:
        balance = instance.slots.balance = RecordingBalance()
        for _ in range(100):
            talk = await ask(instance)
            await talk.wait_ended()
        assert balance.loads[-1] == 0


async def test_a_worker_with_long_turns_counts_all_of_them() -> None:
    gate = Gate()
    async with running(gate.agent) as instance:
        balance = instance.slots.balance = RecordingBalance()
        talks = [await ask(instance) for _ in range(3)]
        assert balance.loads == [0, 1, 2]
        assert instance.slots.load == 3
        gate.is_open.set()
        for talk in talks:
            await talk.wait_ended()
        await wait_until(lambda: not instance.slots.load)
