"""An interrupt stores what was written, ends the turn whatever the agent does, and never affects the next turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from antiphon import AgentError, ToolCall, Turn, Usage, tool
from antiphon.bus.memory import MemoryBus
from antiphon.chats.owned import OwnedChats
from antiphon.chats.service import Service
from antiphon.clock import RandomIds
from antiphon.core import commands as c
from antiphon.core.facts import InterruptRequested, MessageAppended, TurnEnded, kind_of
from antiphon.core.model import Outcome, Status, WhenBusy
from antiphon.core.parts import Role, Text, ToolCallArgs, ToolCallOpened
from antiphon.models.openai import OpenAIModel
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.model_server import FOREVER, Answer, FakeModelServer
from antiphon.worker.agent import Agent
from antiphon.worker.blocking_turn import BlockingTurn
from antiphon.worker.tools import ToolContext
from support.waiting import wait_until

from .running import Talk, answers_of, ask, messages_of, metric, running
from .stores import Gated

pytestmark = pytest.mark.anyio


async def stalling(turn: Turn) -> AsyncIterator[str]:
    """Speaks and falls silent."""
    turn.add_usage(input_tokens=3)
    yield "some words"
    await asyncio.sleep(3600)


async def stop_while_it_says(talk: Talk, text: str) -> None:
    await talk.wait_preview(text)
    await talk.interrupt()
    await talk.wait_ended()


# --- what is kept


async def test_the_partial_answer_and_its_usage_are_stored() -> None:
    async with running(stalling) as instance:
        talk = await ask(instance)
        await stop_while_it_says(talk, "some words")
        (partial,) = answers_of(await talk.entries())
        assert partial.interrupted
        assert partial.usage == Usage(input_tokens=3)
        assert partial.closes is not None
        assert partial.closes.upto == len("some words")
        assert await talk.said() == ["some words"]
        (ended,) = await talk.facts(TurnEnded)
        assert (ended.outcome, ended.usage) == (Outcome.INTERRUPTED, Usage(input_tokens=3))


async def test_usage_reported_during_the_end_is_counted() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        try:
            yield "words"
            await asyncio.sleep(3600)
        finally:
            turn.add_usage(output_tokens=9)

    async with running(agent) as instance:
        talk = await ask(instance)
        await stop_while_it_says(talk, "words")
        (ended,) = await talk.facts(TurnEnded)
        assert ended.usage == Usage(output_tokens=9)


async def test_before_the_first_piece_nothing_is_committed() -> None:
    is_running = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        is_running.set()
        await asyncio.sleep(3600)
        yield ""

    async with running(agent) as instance:
        talk = await ask(instance)
        await is_running.wait()
        await talk.interrupt()
        await talk.wait_ended()
        assert answers_of(await talk.entries()) == []
        assert await talk.endings() == [Outcome.INTERRUPTED]


async def test_a_call_of_a_model_that_has_not_answered_ends_at_once() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(stall_headers_s=FOREVER))
        model = OpenAIModel("m", api_key="k", base_url=server.base_url)
        async with running(Agent(model=model)) as instance:
            talk = await ask(instance)
            await server.wait_until(lambda: bool(server.requests))
            await talk.interrupt()
            await talk.wait_ended()
            await server.wait_until(lambda: server.requests[0].is_abandoned)
            assert await talk.endings() == [Outcome.INTERRUPTED]
            assert answers_of(await talk.entries()) == []
        await model.aclose()


async def test_a_call_of_a_model_that_is_answering_ends_and_its_text_is_stored() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(token_count=100, stall_after=3))
        model = OpenAIModel("m", api_key="k", base_url=server.base_url)
        async with running(Agent(model=model)) as instance:
            talk = await ask(instance)
            await stop_while_it_says(talk, "c1t3 ")
            assert await talk.said() == ["c1t1 c1t2 c1t3 "]
            await server.wait_until(lambda: server.requests[0].is_abandoned)
        await model.aclose()


async def test_an_unfinished_call_is_dropped_and_named() -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield "I will add. "
        yield ToolCallOpened("id", "add")
        yield ToolCallArgs('{"a": 1')
        yield "tail"
        await asyncio.sleep(3600)

    async with running(agent) as instance:
        talk = await ask(instance)
        await stop_while_it_says(talk, "tail")
        (partial,) = answers_of(await talk.entries())
        assert [(call.tool_call_id, call.tool_name) for call in partial.dropped] == [("id", "add")]
        assert messages_of(await talk.entries())[-1][1] == (Text("I will add. "), Text("tail"))
        assert await talk.results() == []


async def test_a_second_interrupt_changes_nothing() -> None:
    async with running(stalling) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        chat = await talk.chat()
        await asyncio.gather(*(instance.chats.interrupt(talk.chat_id, chat.turn_id) for _ in range(5)))
        await talk.wait_ended()
        await instance.chats.interrupt(talk.chat_id, chat.turn_id)
        assert len(await talk.facts(InterruptRequested)) == 1
        assert await talk.endings() == [Outcome.INTERRUPTED]


# --- in the middle of other things


@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_during_a_tool_each_call_gets_exactly_one_cancelled_result(is_async: bool) -> None:
    begun: list[str] = []
    may_end = threading.Event()

    @tool
    async def wait_async(context: ToolContext) -> str:
        begun.append(context.tool_call_id)
        await asyncio.sleep(3600)
        return "done"

    @tool
    def wait_plain(context: ToolContext) -> str:
        begun.append(context.tool_call_id)
        may_end.wait(30)
        return "done"

    name = "wait_async" if is_async else "wait_plain"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "Running. "
        await turn.call(*(ToolCall(name) for _ in range(3)))

    async with running(agent, tools=(wait_async, wait_plain)) as instance:
        talk = await ask(instance)
        await wait_until(lambda: len(begun) == 3)
        await talk.interrupt()
        await talk.wait_ended()
        may_end.set()
        results = await talk.results()
        assert sorted(result.tool_call_id for result in results) == sorted(begun)
        assert {result.result["error"] for result in results} == {"cancelled"}
        assert await talk.endings() == [Outcome.INTERRUPTED]
        assert await talk.said() == ["Running. "]
        await wait_until(lambda: not thread_names("antiphon-tool"))
        assert await talk.results() == results


async def test_results_before_the_interrupt_are_stored() -> None:
    is_waiting = asyncio.Event()

    @tool
    async def quick() -> str:
        return "quick"

    @tool
    async def slow() -> None:
        is_waiting.set()
        await asyncio.sleep(3600)

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.call(ToolCall("quick", id="q"), ToolCall("slow", id="s"))
        yield ""

    async with running(agent, tools=(quick, slow)) as instance:
        talk = await ask(instance)
        await is_waiting.wait()
        await wait_until(lambda: results_now(talk))
        await talk.interrupt()
        await talk.wait_ended()
        first, second = await talk.results()
        assert (first.tool_call_id, first.result, first.is_error) == ("q", "quick", False)
        assert (second.tool_call_id, second.result["error"]) == ("s", "cancelled")


async def results_now(talk: Talk) -> bool:
    return bool(await talk.results())


async def test_a_tool_that_ignores_its_cancellation_is_abandoned() -> None:
    is_waiting, may_end = asyncio.Event(), asyncio.Event()

    @tool
    async def stubborn() -> str:
        is_waiting.set()
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.call(ToolCall("stubborn"))
        yield ""

    async with running(agent, tools=(stubborn,)) as instance:
        abandoned = metric("abandoned_tasks")
        talk = await ask(instance)
        await is_waiting.wait()
        await talk.interrupt()
        await talk.wait_ended()
        before = await talk.entries()
        assert works_left()
        assert metric("abandoned_tasks") == abandoned + 1
        may_end.set()
        await wait_until(lambda: not works_left())
        assert await talk.entries() == before
        assert [result.result["error"] for result in await talk.results()] == ["cancelled"]


async def test_an_interrupt_during_the_delay_before_a_retry_ends_the_turn() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        turn.add_usage(output_tokens=1)
        yield "of a try that failed"
        raise AgentError("server", retry_after_s=4)

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_kind("retry_scheduled")
        await talk.interrupt()
        await talk.wait_ended()
        assert answers_of(await talk.entries()) == []
        (ended,) = await talk.facts(TurnEnded)
        assert (ended.outcome, ended.usage) == (Outcome.INTERRUPTED, Usage(output_tokens=1))


async def test_an_interrupt_during_a_long_delay_without_an_attempt_ends_the_turn() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        raise AgentError("server", retry_after_s=600)
        yield ""

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_kind("attempt_released")
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.INTERRUPTED]


async def test_an_interrupt_during_a_required_action_ends_the_turn() -> None:
    @tool(needs_approval=True)
    async def dangerous() -> None:
        raise AssertionError("it ran")

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "May I? "
        await turn.call(ToolCall("dangerous"))

    async with running(agent, tools=(dangerous,)) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        await talk.interrupt()
        await talk.wait_ended()
        (result,) = await talk.results()
        assert result.result["error"] == "cancelled"
        assert await talk.endings() == [Outcome.INTERRUPTED]


async def test_of_an_interrupt_and_a_required_action_at_the_same_time_one_wins() -> None:
    """The interrupt comes while the calls are being committed: it ends the turn, or an action is required."""

    @tool(needs_approval=True)
    async def dangerous() -> None:
        raise AssertionError("it ran")

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.call(ToolCall("dangerous"))
        yield ""

    async with running(agent, tools=(dangerous,)) as instance:
        for _ in range(20):
            talk = await ask(instance)
            chat = await talk.chat()
            await instance.chats.interrupt(talk.chat_id, chat.turn_id)
            await talk.wait_ended()
            assert await talk.endings() == [Outcome.INTERRUPTED]
            calls = [call for answer in answers_of(await talk.entries()) for call in answer.calls]
            assert len(await talk.results()) == len(calls)


async def test_an_interrupt_appended_together_with_calls_prevents_them() -> None:
    go_on, runs = asyncio.Event(), []

    @tool
    async def note() -> None:
        runs.append("note")

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "words"
        await go_on.wait()
        await turn.call(ToolCall("note"), ToolCall("note"))

    store = Gated(MemoryStore(clock=FakeClock(tick_us=1)))
    async with running(agent, tools=(note,), store=store) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        store.is_open.clear()
        waiting = [asyncio.create_task(talk.change(c.Rename(title="held up")))]
        await some_turns_of_the_loop()
        go_on.set()
        await some_turns_of_the_loop()
        waiting.append(asyncio.create_task(talk.interrupt()))
        await some_turns_of_the_loop()
        store.is_open.set()
        await asyncio.gather(*waiting)
        await talk.wait_ended()
        entries = await talk.entries()
        calls = next(entry for entry in entries if isinstance(entry.fact, MessageAppended) and entry.fact.calls)
        assert calls.more
        assert kind_of(entries[calls.seq].fact) == "interrupt_requested"
        assert runs == []
        assert [result.result["error"] for result in await talk.results()] == ["cancelled"] * 2


async def test_queued_calls_of_an_interrupted_turn_never_begin() -> None:
    runs, go_on = [], asyncio.Event()

    @tool
    async def work(n: int) -> None:
        runs.append(n)
        if n < 16:
            await go_on.wait()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.call(*(ToolCall("work", {"n": n}) for n in range(40)))
        yield ""

    async with running(agent, tools=(work,)) as instance:
        talk = await ask(instance)
        await wait_until(lambda: len(runs) == 16)
        go_on.set()
        await talk.interrupt()
        begun = len(runs)
        await talk.wait_ended()
        assert len(runs) == begun
        results = await talk.results()
        assert len(results) == len({result.tool_call_id for result in results}) == 40


async def some_turns_of_the_loop() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# --- agents that do not end


async def test_an_agent_that_ignores_its_cancellation_is_abandoned_and_counted() -> None:
    may_end = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "before "
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue
        yield "after"
        await turn.call(ToolCall("nothing"))

    async with running(agent) as instance:
        abandoned = metric("abandoned_tasks")
        talk = await ask(instance)
        await stop_while_it_says(talk, "before")
        assert metric("abandoned_tasks") == abandoned + 1
        before = await talk.entries()
        may_end.set()
        await wait_until(lambda: not works_left())
        assert await talk.entries() == before
        assert await talk.said() == ["before "]
        assert instance.drafts.get(talk.chat_id) is None


async def test_an_agent_that_ignores_it_and_yields_more_is_closed_at_its_next_piece() -> None:
    is_closed = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    continue
        finally:
            is_closed.set()

    async with running(agent) as instance:
        abandoned = metric("abandoned_tasks")
        talk = await ask(instance)
        await stop_while_it_says(talk, "word")
        await is_closed.wait()
        await wait_until(lambda: not works_left())
        assert metric("abandoned_tasks") == abandoned
        assert await talk.endings() == [Outcome.INTERRUPTED]


async def test_a_plain_agent_that_blocks_is_abandoned_and_its_later_pieces_are_dropped() -> None:
    may_end = threading.Event()
    is_closed = threading.Event()

    def agent(turn: BlockingTurn) -> Iterator[str]:
        try:
            yield "before "
            may_end.wait(30)
            yield "after"
            raise AssertionError("it continued")
        finally:
            is_closed.set()

    async with running(agent) as instance:
        abandoned = metric("abandoned_tasks")
        talk = await ask(instance)
        await stop_while_it_says(talk, "before")
        assert metric("abandoned_tasks") == abandoned + 1
        before = await talk.entries()
        may_end.set()
        await wait_until(is_closed.is_set)
        await wait_until(lambda: not thread_names("antiphon-agent"))
        assert await talk.entries() == before
        assert await talk.said() == ["before "]


async def test_a_plain_agent_interrupted_in_a_tool_call_ends_with_its_turn() -> None:
    is_waiting = asyncio.Event()
    is_cancelled = asyncio.Event()
    caught: list[BaseException] = []

    @tool
    async def slow() -> None:
        is_waiting.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            is_cancelled.set()
            raise

    def agent(turn: BlockingTurn) -> Iterator[str]:
        try:
            turn.call(ToolCall("slow"))
        except Exception as error:
            caught.append(error)
            yield "never mind"

    async with running(agent, tools=(slow,)) as instance:
        talk = await ask(instance)
        await is_waiting.wait()
        await talk.interrupt()
        await talk.wait_ended()
        await is_cancelled.wait()
        await wait_until(lambda: not thread_names("antiphon-agent"))
        assert caught == []
        assert [result.result["error"] for result in await talk.results()] == ["cancelled"]


# --- agents that want to know


async def test_an_agent_can_wait_for_an_interrupt_concurrently() -> None:
    seen: list[bool] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        async def clean_up() -> None:
            await turn.wait_interrupted()
            seen.append(turn.is_interrupted)

        assert not turn.is_interrupted
        cleaning = asyncio.create_task(clean_up())
        try:
            yield "words"
            await asyncio.sleep(3600)
        finally:
            await cleaning
            turn.add_usage(output_tokens=1)

    async with running(agent) as instance:
        talk = await ask(instance)
        await stop_while_it_says(talk, "words")
        assert seen == [True]
        (ended,) = await talk.facts(TurnEnded)
        assert ended.usage == Usage(output_tokens=1)


async def test_a_plain_agent_can_poll_for_an_interrupt_and_end_by_itself() -> None:
    polled = threading.Event()

    def agent(turn: BlockingTurn) -> Iterator[str]:
        yield "words"
        while not turn.is_interrupted:
            polled.wait(0.001)
        turn.add_usage(output_tokens=1)

    async with running(agent) as instance:
        abandoned = metric("abandoned_tasks")
        talk = await ask(instance)
        await stop_while_it_says(talk, "words")
        (ended,) = await talk.facts(TurnEnded)
        assert ended.usage == Usage(output_tokens=1)
        assert metric("abandoned_tasks") == abandoned


async def test_a_plain_agent_can_wait_for_an_interrupt() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        yield "words"
        turn.wait_interrupted()
        turn.add_usage(output_tokens=1)

    async with running(agent) as instance:
        talk = await ask(instance)
        await stop_while_it_says(talk, "words")
        (ended,) = await talk.facts(TurnEnded)
        assert ended.usage == Usage(output_tokens=1)
        await wait_until(lambda: not thread_names("antiphon-agent"))


async def test_a_plain_agent_that_waits_for_an_interrupt_is_released_when_its_turn_is_replaced() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        yield "words"
        if turn.turn_id == 2:
            turn.wait_interrupted()
            raise AssertionError("the turn was not interrupted")

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        await instance.chats.edit(talk.chat_id, 2, "another question")
        await talk.wait_ended()
        await wait_until(lambda: not thread_names("antiphon-agent"))
        assert await talk.endings() == [Outcome.REPLACED, Outcome.ANSWERED]


# --- what comes after it


async def test_an_interrupt_never_affects_the_next_turn_or_the_queue() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        assert not turn.is_interrupted
        yield f"turn {len([m for m in turn.messages if m.role is Role.USER])}"
        if turn.turn_id == 2:
            await asyncio.sleep(3600)

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("turn 1")
        for text in ("two", "three", "four"):
            await talk.send(text)
        await talk.interrupt()
        await instance.chats.interrupt(talk.chat_id, 2)
        await talk.wait_ended()
        assert await talk.said() == ["turn 1", "turn 2", "turn 3", "turn 4"]
        assert await talk.endings() == [Outcome.INTERRUPTED] + [Outcome.ANSWERED] * 3


async def test_a_late_interrupt_of_an_earlier_turn_does_nothing() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "words"
        if turn.turn_id > 2:
            await asyncio.sleep(3600)

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        await talk.send("again")
        await talk.wait_preview("words")
        assert await instance.chats.interrupt(talk.chat_id, 2) == (False, (await talk.chat()).seq)
        assert (await talk.chat()).status is Status.RUNNING
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED, Outcome.INTERRUPTED]


async def test_a_message_that_interrupts_becomes_the_next_turn_before_the_queue() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        (text,) = turn.messages[-1].content
        assert isinstance(text, Text)
        yield f"answer to {text.text}"
        if turn.turn_id == 2:
            await asyncio.sleep(3600)

    async with running(agent) as instance:
        talk = await ask(instance, "one")
        await talk.wait_preview("answer to one")
        await talk.send("queued")
        await talk.send("now", WhenBusy.INTERRUPT)
        await talk.wait_ended()
        assert await talk.said() == ["answer to one", "answer to now", "answer to queued"]


async def test_an_interrupt_ends_the_turn_if_every_hint_is_lost() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1), is_shared=True)
    async with running(stalling, store=store) as instance:
        talk = await ask(instance)
        await talk.wait_preview("some words")
        other_instance = OwnedChats(
            Service(store=store, bus=MemoryBus(), ids=RandomIds()), instance.owner_id, store=store
        )
        await other_instance.interrupt(talk.chat_id, (await talk.chat()).turn_id)
        await talk.wait_ended()
        assert await talk.said() == ["some words"]
        assert await talk.endings() == [Outcome.INTERRUPTED]


async def test_an_edit_stops_the_turn_and_stores_nothing_of_it() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield f"answer to {turn.turn_id}"
        if turn.turn_id == 2:
            await asyncio.sleep(3600)

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("answer to 2")
        await instance.chats.edit(talk.chat_id, 2, "another question")
        chat = await talk.wait_ended()
        assert await talk.said() == [f"answer to {chat.last_turn_id}"]
        assert await talk.endings() == [Outcome.REPLACED, Outcome.ANSWERED]


async def test_a_deleted_chat_stops_its_turn() -> None:
    async with running(stalling) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        await talk.change(c.Delete())
        await wait_until(lambda: not len(instance.worker))
        assert instance.drafts.get(talk.chat_id) is None
        assert (await talk.kinds()) == ["chat_deleted"]


async def test_messages_of_an_interrupted_turn_are_marked_for_the_next() -> None:
    seen: list[list[bool]] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        seen.append([message.is_interrupted for message in turn.messages])
        yield "words"
        if turn.turn_id == 2:
            await asyncio.sleep(3600)

    async with running(agent) as instance:
        talk = await ask(instance)
        await stop_while_it_says(talk, "words")
        await talk.send("and?")
        await talk.wait_ended()
        assert seen == [[False], [False, True, False]]
        assert [fact.interrupted for fact in await talk.facts(MessageAppended)] == [False, True, False, False]


def works_left() -> list[asyncio.Task[Any]]:
    """The tasks in which agents run."""
    return [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "Attempt._work"]


def thread_names(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]
