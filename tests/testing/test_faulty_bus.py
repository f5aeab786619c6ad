"""The bus that loses, repeats, delays and reorders."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.testing.bus import COPIES_MAX, FaultyBus
from antiphon.testing.bus_suite import BUS_CHECKS, BusCase, BusCheck, Recorder
from antiphon.testing.store_suite import check_name

pytestmark = pytest.mark.anyio


def numbered(count: int) -> list[bytes | None]:
    return [b"%d" % i for i in range(count)]


async def send(count: int, **faults: Any) -> tuple[FaultyBus, Recorder]:
    """A bus with these faults after publishing `count` messages, and its recorder."""
    bus, heard = FaultyBus(MemoryBus(), Random(7), **faults), Recorder()
    bus.subscribe("a", heard)
    for message in numbered(count):
        bus.publish_nowait("a", message or b"")
    return bus, heard


@pytest.mark.parametrize("check", BUS_CHECKS, ids=check_name)
async def test_without_faults_it_is_a_bus(check: BusCheck) -> None:
    inner = MemoryBus()
    await check(BusCase(FaultyBus(inner, Random(0)), FaultyBus(inner, Random(1))))


async def test_it_drops() -> None:
    bus, heard = await send(200, drop=0.25)
    await heard.wait(200 - bus.dropped)
    assert 25 < bus.dropped < 75
    bus, heard = await send(50, drop=1.0)
    await asyncio.sleep(0)
    assert (bus.dropped, heard.messages) == (50, [])


async def test_it_doubles_up_to_five_times() -> None:
    bus, heard = await send(200, double=0.5)
    await heard.wait(200 + bus.doubled)
    counts = Counter(heard.messages)
    assert set(counts) == set(numbered(200)), "none is lost"
    assert set(counts.values()) == set(range(1, COPIES_MAX + 1))
    assert sum(count > 1 for count in counts.values()) == bus.doubled


async def test_it_reorders_and_loses_nothing() -> None:
    bus, heard = await send(300, reorder=0.3, hold_s=0.05)
    await heard.wait(300)
    assert heard.messages != numbered(300)
    assert sorted(heard.messages, key=repr) == sorted(numbered(300), key=repr)
    assert bus.reordered


async def test_what_is_held_back_goes_on_by_itself() -> None:
    bus, heard = await send(3, reorder=1.0, hold_s=0.05)
    assert await heard.wait(3) == numbered(3)
    bus.close()


async def test_it_delays_and_so_reorders() -> None:
    bus, heard = await send(100, delay_s_max=0.01)
    assert heard.messages == []
    await heard.wait(100)
    assert heard.messages != numbered(100)
    bus.close()


async def test_closed_it_forgets_what_it_held() -> None:
    bus, heard = await send(10, delay_s_max=60.0, reorder=0.5)
    bus.close()
    await asyncio.sleep(0)
    assert heard.messages == []


async def test_a_seed_repeats_its_faults() -> None:
    faults = {"drop": 0.2, "double": 0.3, "reorder": 0.3}
    (first, heard), (second, heard_again) = await send(100, **faults), await send(100, **faults)
    assert (first.dropped, first.doubled, first.reordered) == (second.dropped, second.doubled, second.reordered)
    await heard.wait(80)
    await heard_again.wait(80)
    assert heard.messages == heard_again.messages
    first.close()
    second.close()
