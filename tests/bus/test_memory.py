"""The bus in memory keeps the promises of its port; a failing handler does not affect the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.testing.bus_suite import BUS_CHECKS, BusCase, BusCheck, Recorder
from antiphon.testing.store_suite import check_name

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("check", BUS_CHECKS, ids=check_name)
async def test_bus(check: BusCheck) -> None:
    bus = MemoryBus()
    await check(BusCase(bus, bus))


async def test_a_failing_handler_does_not_affect_the_others() -> None:
    bus, heard, failures = MemoryBus(), Recorder(), []

    def fail(message: bytes | None) -> None:
        raise ZeroDivisionError

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failures.append(context["exception"])

    asyncio.get_running_loop().set_exception_handler(note)
    bus.subscribe("a", fail)
    bus.subscribe("a", heard)
    bus.publish_nowait("a", b"one")
    assert await heard.wait(1) == [b"one"]
    assert [type(error) for error in failures] == [ZeroDivisionError]


async def test_a_bus_without_subscribers_stores_nothing() -> None:
    bus = MemoryBus()
    subscriptions = [bus.subscribe(f"channel {i}", Recorder()) for i in range(100)]
    for unsubscribe in subscriptions:
        unsubscribe()
    assert not bus._subscriptions
