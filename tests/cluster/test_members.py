"""How an instance uses the membership list: it leaves turns to others, and expires the attempts of dead instances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.cluster.bus_link import BusLink
from antiphon.cluster.failure_detector import FailureDetector
from antiphon.cluster.members import LOAD_CHANNEL, ClusterTiming, Members
from antiphon.errors import Unavailable
from antiphon.ports import InstanceRecord
from antiphon.store.memory.presence import MemoryPresence
from antiphon.testing.clock import FakeClock
from support.waiting import wait_until

pytestmark = pytest.mark.anyio

ME, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


class Here:
    """One instance and its membership list with another instance, whose row a test sets."""

    def __init__(self, timing: ClusterTiming) -> None:
        self.clock = FakeClock()
        self.attempts: list[tuple[str, int]] = []
        self.presence = MemoryPresence(self.clock, lambda _: tuple(self.attempts))
        self.bus = MemoryBus()
        self.answers = False
        self.pinged = 0
        self.expired: list[str] = []
        self.failing: set[str] = set()
        self.members = Members(
            InstanceRecord(instance_id=ME),
            presence=self.presence,
            link=BusLink(self.bus, ME),
            bus=self.bus,
            timing=timing,
        )
        self.detector = FailureDetector(self.members, presence=self.presence, ping=self._ping, expire=self._expire)

    async def _ping(self, instance_id: str, timeout_s: float) -> bool:
        self.pinged += 1
        return self.answers

    async def _expire(self, chat_id: str, attempt: int, reason: str) -> None:
        if chat_id in self.failing:
            raise Unavailable("of a newer version")
        self.expired.append(chat_id)
        self.attempts.remove((chat_id, attempt))

    async def refresh_with(self, **other: Any) -> None:
        await self.presence.register(InstanceRecord(instance_id=OTHER, **other))
        await self.members.refresh()


@asynccontextmanager
async def open_here(**timing: float) -> AsyncIterator[Here]:
    here = Here(ClusterTiming(absent_s=0.0, **timing))
    await here.members.register()
    await here.members.refresh()
    yield here
    here.detector.close()
    await here.members.deregister()


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    async with open_here() as here:
        yield here


async def test_turns_are_left_to_a_less_busy_instance(here: Here) -> None:
    await here.refresh_with(running=1, capacity=8)
    assert not here.members.may_claim(3)
    assert here.members.delay_s("c", 3) > 0


@pytest.mark.parametrize("other", [{"running": 1, "capacity": 1}, {"is_draining": True}])
async def test_no_turn_is_left_to_a_full_or_draining_instance(here: Here, other: dict[str, Any]) -> None:
    await here.refresh_with(**other)
    assert here.members.may_claim(3)
    assert here.members.delay_s("c", 3) == 0


async def test_no_turn_is_left_to_an_instance_without_heartbeats(here: Here) -> None:
    await here.refresh_with(capacity=8)
    here.clock.advance(6)
    await here.presence.heartbeat(ME, running=0)
    await here.members.refresh()
    assert here.members.may_claim(3)


async def test_a_published_load_counts_before_the_row_has_it(here: Here) -> None:
    await here.refresh_with(running=0)
    assert not here.members.may_claim(9)
    here.bus.publish_nowait(LOAD_CHANNEL, f"{OTHER} 9".encode())
    await wait_until(lambda: here.members.may_claim(9))
    await here.members.refresh()
    assert here.members.may_claim(9)


async def test_an_old_published_load_does_not_count() -> None:
    async with open_here(heartbeat_s=-1.0, refresh_s=0.0) as here:
        await here.refresh_with(running=0)
        here.bus.publish_nowait(LOAD_CHANNEL, f"{OTHER} 9".encode())
        await wait_until(lambda: OTHER in here.members._loads)
        assert not here.members.may_claim(9)


async def test_an_instance_that_returned_is_pinged_again_when_it_is_absent_again(here: Here) -> None:
    await here.refresh_with()
    here.presence.kill(OTHER)
    await here.members.refresh()
    here.attempts = [("before", 3)]
    await here.members.refresh()
    await wait_until(lambda: here.expired == ["before"])
    here.answers = True
    here.attempts = [("after", 7)]
    await here.members.refresh()
    await wait_until(lambda: here.pinged == 2)
    await asyncio.sleep(0)
    assert here.expired == ["before"]


async def test_an_attempt_that_cannot_be_expired_does_not_block_the_others(here: Here) -> None:
    await here.refresh_with()
    here.presence.kill(OTHER)
    await here.members.refresh()
    here.attempts, here.failing = [("newer", 3), ("b", 4)], {"newer"}
    await here.members.refresh()
    await wait_until(lambda: here.expired == ["b"])
