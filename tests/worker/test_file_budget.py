"""The room for files that models get: a maximum for all turns of an instance, shared fairly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import Turn
from antiphon.core.model import Outcome
from antiphon.core.parts import FileReference
from antiphon.errors import TooLarge
from antiphon.worker.file_budget import SMALL_BYTES, FileBudget
from support.waiting import wait_until

from .running import Talk, running

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


async def reserved(budget: FileBudget, owner: str, size: int, granted: list[str]) -> None:
    await budget.reserve(owner, size)
    granted.append(owner)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_room_is_reserved_until_it_is_released() -> None:
    budget = FileBudget(10 * MIB)
    assert await budget.reserve("a", 6 * MIB) == 6 * MIB
    waiting = asyncio.create_task(budget.reserve("a", 5 * MIB))
    await settle()
    assert not waiting.done()
    budget.release("a", 6 * MIB)
    assert await waiting == 5 * MIB
    assert budget.used == 5 * MIB


async def test_small_files_neither_wait_nor_count() -> None:
    budget = FileBudget(MIB)
    await budget.reserve("a", MIB)
    assert await budget.reserve("a", SMALL_BYTES) == 0
    assert budget.used == MIB


async def test_what_never_fits_is_refused_and_what_does_not_fit_in_time_times_out() -> None:
    budget = FileBudget(MIB, wait_s=0.01)
    with pytest.raises(TooLarge):
        await budget.reserve("a", MIB + 1)
    await budget.reserve("a", MIB)
    with pytest.raises(TimeoutError):
        await budget.reserve("b", MIB)
    budget.release("a", MIB)
    assert await budget.reserve("b", MIB) == MIB, "the call that gave up holds nothing"


async def test_a_large_call_is_not_overtaken() -> None:
    budget, granted = FileBudget(10 * MIB), list[str]()
    await budget.reserve("a", 8 * MIB)
    tasks = [asyncio.create_task(reserved(budget, "large", 9 * MIB, granted))]
    await settle()
    tasks += [asyncio.create_task(reserved(budget, "small", MIB, granted)) for _ in range(3)]
    await settle()
    assert granted == []
    budget.release("a", 8 * MIB)
    await settle()
    assert granted == ["large", "small"]
    budget.release("large", 9 * MIB)
    await asyncio.gather(*tasks)


async def test_owners_take_turns() -> None:
    budget, granted = FileBudget(MIB), list[str]()
    await budget.reserve("x", MIB)
    tasks = [asyncio.create_task(reserved(budget, owner, MIB, granted)) for owner in ("a", "a", "a", "b", "b", "c")]
    await settle()
    budget.release("x", MIB)
    for _ in tasks:
        await settle()
        budget.release(granted[-1], MIB)
    await asyncio.gather(*tasks)
    assert granted == ["a", "b", "c", "a", "b", "a"]


async def test_each_of_several_owners_has_a_share() -> None:
    budget = FileBudget(10 * MIB)
    budget.limit_each_owner()
    assert await budget.reserve("a", 6 * MIB), "one call may be larger than the share"
    second = asyncio.create_task(budget.reserve("a", MIB))
    await settle()
    assert not second.done()
    assert await budget.reserve("b", 3 * MIB)
    budget.release("a", 6 * MIB)
    assert await second


async def test_a_cancelled_call_holds_nothing() -> None:
    budget = FileBudget(MIB)
    await budget.reserve("a", MIB)
    waiting = asyncio.create_task(budget.reserve("b", MIB))
    await settle()
    budget.release("a", MIB)  # granted, and cancelled before it runs
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.used == 0


# --- in turns


async def asked(instance: Any, *sizes: int) -> Talk:
    async def one(data: bytes) -> AsyncIterator[bytes]:
        yield data

    parts = []
    for number, size in enumerate(sizes):
        file = await instance.files.store(instance.owner_id, one(bytes([number]) * size))
        parts.append(FileReference(file_id=file.file_id))
    done = await instance.chats.create(content=parts)
    return Talk(instance, done.chat_id)


async def test_turns_wait_for_each_other_and_the_end_of_a_turn_makes_room() -> None:
    running_now, most = set[str](), 0
    go = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        nonlocal most
        await turn.load_files()
        running_now.add(turn.chat_id)
        most = max(most, len(running_now))
        await go.wait()
        running_now.discard(turn.chat_id)
        yield "done"

    async with running(agent, limits={"loaded_files_bytes": 2 * MIB}) as instance:
        talks = [await asked(instance, MIB) for _ in range(4)]
        await wait_until(lambda: len(running_now) == 2)
        go.set()
        for talk in talks:
            await talk.wait_ended()
            assert await talk.endings() == [Outcome.ANSWERED]
        assert instance.worker._env.file_budget.used == 0
    assert most == 2


async def test_a_call_that_is_larger_than_all_room_fails_with_the_reason() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.load_files()
        yield "done"

    async with running(agent, limits={"loaded_files_bytes": MIB}) as instance:
        talk = await asked(instance, MIB, MIB)
        chat = await talk.wait_ended()
        assert await talk.endings() == [Outcome.FAILED]
        assert chat.last_error is not None
        assert "--limit loaded_files_bytes" in chat.last_error.message
        assert await talk.retries() == []
