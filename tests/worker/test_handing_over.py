"""Turns of a worker that is lost or drains continue on the next one, and nothing of it remains."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from antiphon import Agent, ToolCall, Turn, tool
from antiphon.bus.memory import MemoryBus
from antiphon.chats.hints import WANTED_CHANNEL
from antiphon.chats.owned import OwnedChats
from antiphon.chats.service import Service
from antiphon.clock import RandomIds
from antiphon.core import commands as c
from antiphon.core.facts import AttemptLost, AttemptReleased
from antiphon.core.model import Outcome, Status
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.bus import FaultyBus
from antiphon.testing.clock import FakeClock
from antiphon.testing.stored_chat import StoredChat
from support.waiting import DEADLINE_S, wait_until

from .agents import Gate, Steps, says_hello
from .doomed import WORDS, often, once
from .running import Talk, answers_of, ask, foreign_chat, running
from .stores import Renewals

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).parent.parent


# --- recovery at the start


async def killed(data: Path, how: str, **env: str) -> str:
    """The id of the chat that a process left behind when it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "worker.doomed",
        str(data),
        how,
        cwd=TESTS,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        while True:  # its log comes the same way
            line = (await process.stdout.readline()).decode().strip()
            assert line, "it ended too soon"
            if len(line) == 36 and line.count("-") == 4:
                break
        if not env:
            process.kill()
        assert await process.wait() == -signal.SIGKILL
    return line


async def test_the_turn_of_a_killed_process_is_run_again_from_its_beginning(tmp_path: Path) -> None:
    chat_id = await killed(tmp_path / "data", "streaming")
    async with running(says_hello, data=tmp_path / "data") as instance:
        talk = Talk(instance, chat_id)
        assert [fact.reason for fact in await talk.facts(AttemptLost)] == ["dead"]
        await talk.wait_ended()
        assert await talk.said() == ["hello"]
        assert await talk.endings() == [Outcome.ANSWERED]


async def test_the_text_of_a_killed_process_is_stored_with_on_worker_lost_keep(tmp_path: Path) -> None:
    chat_id = await killed(tmp_path / "data", "streaming")
    async with running(says_hello, data=tmp_path / "data", on_worker_lost="keep") as instance:
        talk = Talk(instance, chat_id)
        await talk.wait_ended()
        assert await talk.said() == [WORDS, "hello"]
        partial, answer = answers_of(await talk.entries())
        assert (partial.interrupted, answer.interrupted) == (True, False)


async def test_a_process_killed_while_ending_a_turn_leaves_an_ended_turn_with_its_flushed_text(
    tmp_path: Path,
) -> None:
    chat_id = await killed(tmp_path / "data", "interrupting", ANTIPHON_CRASH_AT="interrupt-before-finish")
    async with running(says_hello, data=tmp_path / "data") as instance:
        talk = Talk(instance, chat_id)
        assert (await talk.chat()).status is Status.WAITING
        assert await talk.said() == [WORDS]
        (partial,) = answers_of(await talk.entries())
        assert partial.interrupted
        assert partial.closes is not None
        assert partial.closes.upto == len(WORDS)
        assert await talk.endings() == [Outcome.INTERRUPTED]
        assert await talk.facts(AttemptLost) == []


async def test_the_outcome_of_a_non_idempotent_call_of_a_killed_process_is_unknown(tmp_path: Path) -> None:
    chat_id = await killed(tmp_path / "data", "calling")
    runs: list[str] = []

    @tool(name=once.name)
    async def once_again() -> None:
        runs.append("once")

    @tool(name=often.name, idempotent=True)
    async def often_again() -> str:
        runs.append("often")
        return "ran again"

    async with running(says_hello, data=tmp_path / "data", tools=(once_again, often_again)) as instance:
        talk = Talk(instance, chat_id)
        await talk.wait_ended()
        assert runs == ["often"]
        first, second = await talk.results()
        assert (first.tool_name, first.result["error"]) == ("once", "unknown")
        assert (second.tool_name, second.result) == ("often", "ran again")
        assert await talk.said() == [WORDS, "hello"]


# --- draining


async def test_draining_lets_a_running_step_finish() -> None:
    gate = Gate()
    async with running(gate.agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        draining = asyncio.create_task(instance.worker.drain(30))
        await asyncio.sleep(0)  # it has begun
        gate.is_open.set()
        await draining
        assert await talk.said() == ["words and more"]
        assert await talk.endings() == [Outcome.ANSWERED]
        assert await talk.facts(AttemptReleased) == []


async def test_draining_claims_nothing_new() -> None:
    bus = MemoryBus()
    async with running(says_hello, bus=bus) as instance:
        await instance.worker.drain(0)
        for talk in (await ask(instance), await foreign_chat(instance)):
            bus.publish_nowait(WANTED_CHANNEL, talk.chat_id.encode())
            await asyncio.sleep(0)
            chat = await talk.chat()
            assert (chat.status, chat.attempt) == (Status.RUNNING, 0)
        assert instance.slots.reserve_nowait("anyone") is None


async def test_a_step_that_does_not_finish_is_released_and_the_next_instance_answers(tmp_path: Path) -> None:
    gate = Gate("words of the first")
    async with running(gate.agent, data=tmp_path / "data") as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        await instance.worker.drain(0.05)
        assert gate.closed == 1
        (released,) = await talk.facts(AttemptReleased)
        assert released.calls_not_begun == ()
        assert (await talk.chat()).status is Status.RUNNING
    async with running(says_hello, data=tmp_path / "data") as instance:
        talk = Talk(instance, talk.chat_id)
        await talk.wait_ended()
        assert await talk.said() == ["hello"]
        assert await talk.facts(AttemptLost) == []


async def test_calls_that_have_not_begun_are_handed_over_and_run_by_the_next_instance(tmp_path: Path) -> None:
    runs: list[str] = []

    @tool
    async def work() -> str:
        runs.append("work")
        return "worked"

    model = Steps(("work", "work"))
    async with running(Agent(model=model, tools=[work]), data=tmp_path / "data") as instance:
        talk = await ask(instance)
        await model.asked(1)
        draining = asyncio.create_task(instance.worker.drain(30))
        await asyncio.sleep(0)  # it has begun
        model.go_on.release()
        await draining
        (released,) = await talk.facts(AttemptReleased)
        assert released.calls_not_begun == ("work 1.0", "work 1.1")
        assert runs == []
    later = Steps("done")
    later.go_on.release()
    async with running(Agent(model=later, tools=[work]), data=tmp_path / "data") as instance:
        talk = Talk(instance, talk.chat_id)
        await talk.wait_ended()
        assert runs == ["work", "work"]
        assert [result.result for result in await talk.results()] == ["worked", "worked"]
        assert (await talk.said())[-1] == "done"
        assert len(await later.asked(1)) == 4


async def test_no_model_call_begins_while_draining() -> None:
    is_begun, results = asyncio.Event(), asyncio.Event()

    @tool
    async def work() -> str:
        is_begun.set()
        await results.wait()
        return "worked"

    model = Steps(("work",), "never")
    async with running(Agent(model=model, tools=[work])) as instance:
        talk = await ask(instance)
        model.go_on.release()
        await is_begun.wait()
        draining = asyncio.create_task(instance.worker.drain(30))
        await asyncio.sleep(0)  # it has begun
        results.set()
        await draining
        assert [result.result for result in await talk.results()] == ["worked"]
        assert len(model.requests) == 1
        (released,) = await talk.facts(AttemptReleased)
        assert released.calls_not_begun == ()


async def test_an_interrupt_while_draining_takes_effect() -> None:
    gate = Gate()
    async with running(gate.agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        draining = asyncio.create_task(instance.worker.drain(30))
        await talk.interrupt()
        await draining
        assert await talk.said() == ["words"]
        assert await talk.endings() == [Outcome.INTERRUPTED]


async def test_an_instance_that_stops_abandons_an_agent_that_does_not_end() -> None:
    may_end = asyncio.Event()

    async def stubborn(turn: Turn) -> AsyncIterator[str]:
        yield "words"
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    store = Renewals(MemoryStore(clock=FakeClock(tick_us=1)))
    async with running(stubborn, store=store) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
    async with running(says_hello, store=store) as instance:
        talk = Talk(instance, talk.chat_id)
        await talk.wait_ended()
        assert len(await talk.facts(AttemptReleased)) == 1
        assert await talk.said() == ["hello"]
    may_end.set()


async def test_a_lost_attempt_that_is_followed_by_another_here_stops_without_a_hint() -> None:
    begun = asyncio.Event()
    stopped: list[int] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "words"
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.append(turn.turn_id)

    store = MemoryStore(clock=FakeClock(tick_us=1), is_shared=True)
    async with running(agent, store=store, bus=FaultyBus(MemoryBus(), Random(1), drop=1.0)) as instance:
        talk = await ask(instance)
        await begun.wait()
        turn_id = (await talk.chat()).turn_id
        other_instance = OwnedChats(
            Service(store=store, bus=MemoryBus(), ids=RandomIds()), instance.owner_id, store=store
        )
        await other_instance.edit(talk.chat_id, turn_id, "something else")
        await wait_until(lambda: turn_id in stopped)
        await wait_until(lambda: len(instance.worker) == 1)
        assert (await talk.chat()).turn_id != turn_id


async def test_an_attempt_whose_lease_another_instance_holds_is_stopped_by_the_next_renewal() -> None:
    begun = asyncio.Event()
    stopped = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "words"
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    store = MemoryStore(clock=FakeClock(tick_us=1), is_shared=True)
    async with running(agent, store=store, bus=FaultyBus(MemoryBus(), Random(1), drop=1.0)) as instance:
        talk = await ask(instance)
        await begun.wait()
        instance.worker.pause()
        chat = await talk.chat()
        other = StoredChat(store, talk.chat_id)
        await other.load()
        await other.do(c.ExpireAttempt(attempt=chat.attempt, reason="dead"), c.StartAttempt(instance_id="other"))
        await asyncio.wait_for(stopped.wait(), DEADLINE_S)
        assert (await talk.chat()).attempt == other.chat.attempt, "the other instance's attempt runs on"


# --- what it leaves


async def test_two_hundred_turns_leave_no_task_thread_or_descriptor(tmp_path: Path) -> None:
    @tool
    async def quick() -> str:
        return "quick"

    @tool
    def plain() -> str:
        return "plain"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "Working. "
        await turn.call(ToolCall("quick"), ToolCall("plain"))
        yield "Done."

    async with running(agent, data=tmp_path / "data", tools=(quick, plain)) as instance:

        async def some_turns(count: int) -> None:
            talks = [await ask(instance) for _ in range(count)]
            for talk in talks:
                chat = await talk.chat()
                await talk.watch() if count % 2 else await instance.chats.interrupt(talk.chat_id, chat.turn_id)
            for talk in talks:
                await talk.wait_ended()

        async def is_as_before() -> bool:
            gc.collect()
            return all(now <= then for now, then in zip(counts(instance), before, strict=True))

        await some_turns(8)
        await some_turns(9)
        await wait_until(lambda: not len(instance.worker))
        before = counts(instance)
        for _ in range(5):
            await some_turns(20)
            await some_turns(21)
        await wait_until(is_as_before)


def thread_count() -> int:
    """Without the event loop's own pool, which grows to its bound and stays."""
    return sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())


def counts(instance: Instance) -> tuple[int, ...]:
    """What must not grow: tasks, threads, descriptors, drafts, readers, watchers, attempts."""
    return (
        len(asyncio.all_tasks()),
        thread_count(),
        len(os.listdir("/proc/self/fd")),
        len(instance.drafts),
        instance.watch.reader_count,
        len(instance.watch),
        len(instance.worker),
    )


async def test_a_closed_instance_leaves_no_task_thread_or_descriptor(tmp_path: Path) -> None:
    async with running(says_hello, data=tmp_path / "first") as instance:
        await (await ask(instance)).wait_ended()
    tasks, threads, descriptors = len(asyncio.all_tasks()), thread_count(), len(os.listdir("/proc/self/fd"))
    gate = Gate()
    async with running(gate.agent, data=tmp_path / "second") as instance:
        for _ in range(5):
            await ask(instance)
        await wait_until(lambda: gate.running_now == 5)
        talk = await ask(instance)
        await talk.change(c.Delete())
    gc.collect()
    await wait_until(lambda: len(asyncio.all_tasks()) <= tasks and thread_count() <= threads)
    assert len(os.listdir("/proc/self/fd")) <= descriptors
