"""What an instance makes of the others: to whom work is left, and who is asked before its attempts are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from antiphon.cluster.membership import LOAD_CHANNEL, Replicas

from antiphon.bus.memory import MemoryBus
from antiphon.cluster import membership as r
from antiphon.cluster.bus_link import BusLink
from antiphon.errors import Unavailable
from antiphon.ports import InstanceRecord
from antiphon.store.memory.presence import MemoryPresence
from antiphon.testing.clock import FakeClock
from support.waiting import wait_until

pytestmark = pytest.mark.anyio

ME, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


class Here:
    """One instance and its view of another, whose row says what a test wants."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.attempts: list[tuple[str, int]] = []
        self.presence = MemoryPresence(self.clock, lambda _: tuple(self.attempts))
        self.bus = MemoryBus()
        self.answers = False
        self.pinged = 0
        self.expired: list[str] = []
        self.failing: set[str] = set()
        self.cluster = Replicas(
            InstanceRecord(instance_id=ME),
            presence=self.presence,
            link=BusLink(self.bus, ME),
            bus=self.bus,
            ping=self._ping,
            expire=self._expire,
            running=lambda: 0,
            load=lambda: 0,
        )

    async def _ping(self, instance_id: str, timeout_s: float) -> bool:
        self.pinged += 1
        return self.answers

    async def _expire(self, chat_id: str, attempt: int, reason: str) -> None:
        if chat_id in self.failing:
            raise Unavailable("of a newer version")
        self.expired.append(chat_id)
        self.attempts.remove((chat_id, attempt))

    async def see(self, **other: Any) -> None:
        await self.presence.register(InstanceRecord(instance_id=OTHER, **other))
        await self.cluster.look()


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    monkeypatch.setattr(r, "ABSENT_S", 0.0)
    here = Here()
    await here.cluster.start()
    yield here
    await here.cluster.aclose()


async def test_work_is_left_to_one_that_has_less_and_takes_it(here: Here) -> None:
    await here.see(running=1, capacity=8)
    assert not here.cluster.may_take(3)
    assert here.cluster.delay_s("c", 3) > 0


@pytest.mark.parametrize("other", [{"running": 1, "capacity": 1}, {"is_draining": True}])
async def test_nothing_is_left_to_one_that_is_full_or_drains(here: Here, other: dict[str, Any]) -> None:
    await here.see(**other)
    assert here.cluster.may_take(3)
    assert here.cluster.delay_s("c", 3) == 0


async def test_nothing_is_left_to_one_that_stands_still_though_its_lock_is_held(here: Here) -> None:
    await here.see(capacity=8)
    here.clock.advance(6)
    await here.presence.heartbeat(ME, running=0)
    await here.cluster.look()
    assert here.cluster.may_take(3)


async def test_a_load_that_was_told_counts_until_the_row_has_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.see(running=0)
    assert not here.cluster.may_take(9)
    here.bus.publish_nowait(LOAD_CHANNEL, f"{OTHER} 9".encode())
    await wait_until(lambda: here.cluster.may_take(9))
    await here.cluster.look()
    assert here.cluster.may_take(9)
    monkeypatch.setattr(r, "BEAT_S", -r.LOOK_S * 2)
    assert not here.cluster.may_take(9)


async def test_one_that_was_dead_once_and_took_work_again_is_asked_again(here: Here) -> None:
    await here.see()
    here.presence.kill(OTHER)
    await here.cluster.look()
    here.attempts = [("before", 3)]
    await here.cluster.look()
    await wait_until(lambda: here.expired == ["before"])
    here.answers = True
    here.attempts = [("after", 7)]
    await here.cluster.look()
    await wait_until(lambda: here.pinged == 2)
    await asyncio.sleep(0)
    assert here.expired == ["before"]


async def test_an_attempt_that_cannot_be_expired_does_not_hold_up_the_others(here: Here) -> None:
    await here.see()
    here.presence.kill(OTHER)
    await here.cluster.look()
    here.attempts, here.failing = [("newer", 3), ("b", 4)], {"newer"}
    await here.cluster.look()
    await wait_until(lambda: here.expired == ["b"])
