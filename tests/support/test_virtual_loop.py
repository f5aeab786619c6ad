"""The loop in virtual time: it jumps, it freezes and kills what belongs to a host, and nothing in it is by chance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from support.virtual_loop import Endless, Host, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


def test_an_hour_passes_at_once(loop: VirtualLoop) -> None:
    began = time.monotonic()
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() == pytest.approx(3600, abs=0.01)
    assert time.monotonic() - began < 60


def test_timeouts_follow_its_time(loop: VirtualLoop) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        done, _ = await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=5)
        assert not done

    loop.run_until_complete(main())
    assert loop.time() == pytest.approx(10, abs=0.01)


def test_timers_come_in_order_and_equal_ones_as_they_were_set(loop: VirtualLoop) -> None:
    seen: list[str] = []
    for name, when in [("b", 2.0), ("a", 1.0), ("c", 2.0)]:
        loop.call_at(when, seen.append, name)
    loop.call_at(1.5, seen.append, "never").cancel()
    loop.run_until_complete(asyncio.sleep(3))
    assert seen == ["a", "b", "c"]


def test_what_spins_without_waiting_sees_time_pass(loop: VirtualLoop) -> None:
    async def main() -> None:
        while loop.time() < 0.01:
            await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_there_are_no_threads(loop: VirtualLoop) -> None:
    import threading

    assert loop.run_until_complete(asyncio.to_thread(threading.get_ident)) == threading.get_ident()


def test_a_wait_for_what_never_comes_is_an_error(loop: VirtualLoop) -> None:
    with pytest.raises(Endless, match="nothing will ever happen"):
        loop.run_until_complete(asyncio.Event().wait())


async def waits() -> None:
    while True:
        await asyncio.sleep(1)


async def spins() -> None:
    while True:
        await asyncio.sleep(0)


@pytest.mark.parametrize(("what", "message"), [(waits, "s were not enough"), (spins, "steps without end")])
def test_what_has_no_end_is_ended_by_a_bound(
    loop: VirtualLoop, what: Callable[[], Coroutine[Any, Any, None]], message: str
) -> None:
    loop.bound(100, 10_000)
    with pytest.raises(Endless, match=message):
        loop.run_until_complete(what())
    loop.bound(100, 10_000)  # for what is to end now


def ticks(loop: VirtualLoop, host: Host) -> list[int]:
    """The seconds at which a task of that host was awake."""
    seen: list[int] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            seen.append(round(loop.time()))

    async def by_a_task_of_its_own() -> None:
        await asyncio.create_task(tick())

    loop.create_task(by_a_task_of_its_own(), context=host.context)
    return seen


def test_a_frozen_hosts_tasks_stand_still_and_go_on_when_it_wakes(loop: VirtualLoop) -> None:
    host = Host("a")
    seen, others = ticks(loop, host), ticks(loop, Host("b"))
    loop.call_at(2.5, loop.freeze, host)
    loop.call_at(5.9, loop.wake, host)
    loop.run_until_complete(asyncio.sleep(8.5))
    assert seen == [1, 2, 6, 7, 8]
    assert others == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_dead_hosts_tasks_do_nothing_more(loop: VirtualLoop) -> None:
    host = Host("a")
    seen = ticks(loop, host)
    loop.call_at(2.5, loop.kill, host)
    loop.run_until_complete(asyncio.sleep(8))
    assert seen == [1, 2]
    loop.bury(host)


def test_sets_of_tasks_have_the_same_order_in_every_run() -> None:
    def order() -> list[int]:
        loop = VirtualLoop()

        async def main() -> list[int]:
            coros: list[Coroutine[Any, Any, int]] = [asyncio.sleep(0, i) for i in range(100)]
            tasks = {asyncio.ensure_future(coro) for coro in coros}
            await asyncio.wait(tasks)
            return [task.result() for task in tasks]

        try:
            return loop.run_until_complete(main())
        finally:
            loop.close()

    assert order() == order()
