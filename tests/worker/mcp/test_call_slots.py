"""The calls that run on one MCP server at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from antiphon.worker.tools.mcp.call_slots import CallSlots

pytestmark = pytest.mark.anyio


def slots(wait_s: float = 30.0) -> CallSlots:
    return CallSlots(calls_max=3, owner_calls_max=2, wait_s=wait_s)


async def test_an_owner_cannot_take_the_slots_of_all() -> None:
    made = slots(wait_s=0.05)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(made.slot("a"))
        with pytest.raises(TimeoutError):
            await stack.enter_async_context(made.slot("a"))
        await stack.enter_async_context(made.slot("b"))
        with pytest.raises(TimeoutError):
            await stack.enter_async_context(made.slot("c"))
    async with made.slot("a"), made.slot("b"), made.slot("c"):
        pass


async def test_a_call_that_waits_runs_when_another_has_ended_or_was_cancelled() -> None:
    made = slots()
    ran: list[int] = []

    async def call(number: int) -> None:
        async with made.slot("a"):
            ran.append(number)
            await asyncio.sleep(60 if number == 0 else 0)

    async with asyncio.TaskGroup() as group:
        stuck = group.create_task(call(0))
        for number in range(1, 10):
            group.create_task(call(number))
        while len(ran) < 10:
            await asyncio.sleep(0)
        stuck.cancel()
    assert ran == list(range(10))
    assert not made._running


async def test_a_call_that_is_cancelled_while_it_waits_keeps_no_slot() -> None:
    made = slots()
    async with made.slot("a"), made.slot("a"):
        waiting = asyncio.ensure_future(made.slot("a").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    async with made.slot("a"), made.slot("a"):
        pass
