"""What counts when work is spread: turns that last, and of the new ones as many as will by experience."""

from __future__ import annotations

import pytest

from antiphon.ports import Balance
from antiphon.worker import load as l
from antiphon.worker.load import Load
from support.waiting import wait_until

from .agents import Gate, says_hello
from .running import ask, running

pytestmark = pytest.mark.anyio

MOMENT, FOR_EVER = 0.0, 3600.0


def have(load: Load, turns: int) -> None:
    for turn in range(turns):
        load.begin(turn)
        load.end(turn)


async def test_while_nothing_is_known_every_turn_counts() -> None:
    load = Load()
    load.begin("a")
    assert load.count(1) == 1
    assert load.count(3) == 3, "also those that have a place and have not begun"


async def test_turns_that_are_over_in_a_moment_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load()
    monkeypatch.setattr(l, "LASTS_S", FOR_EVER)
    have(load, 100)
    assert load.count(40) == 0
    monkeypatch.setattr(l, "LASTS_S", MOMENT)
    load.begin("lasts")
    assert load.count(40) == 1, "but one that lasts does"


async def test_where_half_of_the_turns_last_half_of_the_new_ones_count(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load()
    for _ in range(100):
        for lasts_s in (MOMENT, FOR_EVER):
            monkeypatch.setattr(l, "LASTS_S", lasts_s)
            have(load, 1)
    assert 15 <= load.count(40) <= 25


class Asked(Balance):
    """Notes with which load it is asked."""

    def __init__(self) -> None:
        self.loads: list[int] = []

    def may_claim(self, load: int) -> bool:
        self.loads.append(load)
        return True


async def test_a_worker_that_has_short_turns_is_not_busy() -> None:
    async with running(says_hello) as instance:
        balance = instance.slots.balance = Asked()
        for _ in range(100):
            talk = await ask(instance)
            await talk.wait_ended()
        assert balance.loads[-1] == 0


async def test_a_worker_whose_turns_last_counts_them_all() -> None:
    gate = Gate()
    async with running(gate.agent) as instance:
        balance = instance.slots.balance = Asked()
        talks = [await ask(instance) for _ in range(3)]
        assert balance.loads == [0, 1, 2]
        assert instance.slots.load == 3
        gate.is_open.set()
        for talk in talks:
            await talk.wait_ended()
        await wait_until(lambda: not instance.slots.load)
