"""How many forks are made at a time."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.chats.fork_slots import FORKS_MAX, ForkSlots

pytestmark = pytest.mark.anyio


async def test_one_owner_with_many_forks_does_not_delay_another() -> None:
    slots = ForkSlots()
    running: list[str] = []
    done = asyncio.Event()

    async def fork(owner_id: str) -> None:
        async with slots.slot(owner_id):
            running.append(owner_id)
            await done.wait()

    tasks = [asyncio.create_task(fork(owner)) for owner in ["a"] * 5 + ["b", "c", "c"]]
    for _ in range(9):
        await asyncio.sleep(0)
    assert running == ["a", "b"]
    assert len(running) == FORKS_MAX
    tasks[1].cancel()
    done.set()
    await asyncio.wait(tasks)
    assert sorted(running) == ["a"] * 4 + ["b", "c", "c"]
    assert not slots._owners
