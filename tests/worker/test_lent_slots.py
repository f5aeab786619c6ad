"""Slots of turns that wait for child chats."""

from __future__ import annotations

import asyncio
import random

import pytest

from antiphon.errors import TooMany
from antiphon.worker.lent_slots import LentSlots
from antiphon.worker.slots import Slots

pytestmark = pytest.mark.anyio

TURN = ("c", 1)


async def test_a_slot_is_free_while_its_turn_waits_and_reserved_afterwards() -> None:
    slots = Slots("i", concurrency=1)
    slots.reserve("o")
    async with LentSlots(slots).lend(TURN, "o"):
        assert slots.reserve_nowait("o") == "i"
        assert slots.reserve_nowait("o") is None
        slots.release("o")
    assert slots.used == 1


async def test_a_turn_that_waits_twice_lends_one_slot_until_the_last_wait_ends() -> None:
    slots = Slots("i", concurrency=2)
    slots.reserve("o")
    lent = LentSlots(slots)
    async with lent.lend(TURN, "o"):
        async with lent.lend(TURN, "o"):
            assert slots.used == 0
        assert slots.used == 0
    assert (slots.used, len(lent)) == (1, 0)


async def test_an_abandoned_attempt_and_the_next_one_of_its_chat_lend_a_slot_each() -> None:
    slots = Slots("i", concurrency=2)
    slots.reserve("o")
    slots.reserve("o")
    lent = LentSlots(slots)
    async with lent.lend(TURN, "o"), lent.lend(("c", 2), "o"):
        assert slots.used == 0
    assert (slots.used, len(lent)) == (2, 0)


async def test_a_turn_that_stops_waiting_gets_the_next_free_slot_before_others() -> None:
    slots = Slots("i", concurrency=1)
    slots.reserve("o")
    freed: list[int] = []
    slots.freed.subscribe(lambda: freed.append(slots.used))
    returned = asyncio.Event()

    async def wait() -> None:
        async with LentSlots(slots).lend(TURN, "o"):
            slots.reserve("o")  # another turn has it
        returned.set()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    assert not returned.is_set()
    slots.release("o")
    await task
    assert (slots.used, freed[1:]) == (1, []), "no claim is made for a slot that is handed over"


async def test_a_cancelled_turn_holds_its_slot_until_its_attempt_ends() -> None:
    slots = Slots("i", concurrency=1)
    lent = LentSlots(slots)
    for is_returning in (False, True):
        slots.reserve("o")
        gate = asyncio.Event()

        async def wait(gate: asyncio.Event = gate) -> None:
            async with lent.lend(TURN, "o"):
                slots.reserve("o")
                await gate.wait()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        if is_returning:
            gate.set()
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (slots.used, len(lent)) == (2, 0)
        slots.release("o")  # by the end of the attempt, and of the other turn
        slots.release("o")
    assert slots.used == 0


async def test_too_many_waiting_turns_are_refused() -> None:
    slots = Slots("i", concurrency=2)
    slots.reserve("o")
    lent = LentSlots(slots, lent_max=1)
    async with lent.lend(("a", 1), "o"):
        with pytest.raises(TooMany):
            async with lent.lend(("b", 1), "o"):
                pass
        async with lent.lend(("a", 1), "o"):
            pass


async def test_random_waits_and_cancellations_keep_the_count() -> None:
    random_source = random.Random(7)
    slots = Slots("i", concurrency=3)
    lent = LentSlots(slots)

    async def attempt(name: str) -> None:
        await slots.reserve_when_free("o")
        try:
            for _ in range(random_source.randint(1, 4)):
                async with asyncio.TaskGroup() as waits:
                    for _ in range(random_source.randint(1, 3)):
                        waits.create_task(wait(name))
                assert slots.used <= 3
        finally:
            slots.release("o")

    async def wait(name: str) -> None:
        async with lent.lend((name, 1), "o"):
            for _ in range(random_source.randint(0, 5)):
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(attempt(str(i))) for i in range(60)]
    for _ in range(30):
        await asyncio.sleep(0)
        random_source.choice(tasks).cancel()
    async with asyncio.timeout(30):
        done = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in done} == {type(None), asyncio.CancelledError}
    assert (slots.used, len(lent)) == (0, 0)


async def test_a_slot_that_becomes_free_while_its_waiter_is_cancelled_is_not_lost() -> None:
    slots = Slots("i", concurrency=1)
    slots.reserve("o")
    waiter = asyncio.create_task(slots.reserve_when_free("o"))
    await asyncio.sleep(0)
    waiter.cancel()
    slots.release("o")
    await asyncio.gather(waiter, return_exceptions=True)
    assert slots.used == 0


async def test_a_wait_that_ends_while_another_is_cancelled_takes_one_slot() -> None:
    slots = Slots("i", concurrency=1)
    slots.reserve("o")
    lent = LentSlots(slots)
    first_ends = asyncio.Event()

    async def first() -> None:
        async with lent.lend(TURN, "o"):
            slots.reserve("o")  # another turn has the slot
            await first_ends.wait()

    async def second() -> None:
        async with lent.lend(TURN, "o"):
            await asyncio.Event().wait()

    ending = asyncio.create_task(first())
    await asyncio.sleep(0.01)
    first_ends.set()
    await asyncio.sleep(0.01)  # it waits for a free slot
    cancelled = asyncio.create_task(second())
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    slots.release("o")  # the other turn ends
    await ending
    assert (slots.used, len(lent)) == (1, 0)
