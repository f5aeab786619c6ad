"""Tasks that call the client library of NATS end, though it ignores a cancellation now and then."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.bus.nats_client import end_tasks

pytestmark = pytest.mark.anyio


async def test_a_task_that_ignores_a_cancellation_is_cancelled_again() -> None:
    ignored = 0

    async def work() -> None:
        nonlocal ignored
        while ignored < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ignored += 1
        await asyncio.Event().wait()

    async def fail() -> None:
        raise RuntimeError

    tasks = [asyncio.create_task(work()), asyncio.create_task(fail())]
    await asyncio.sleep(0)
    await end_tasks(tasks, again_s=0.01)
    assert ignored == 2
    assert tasks[0].cancelled()
