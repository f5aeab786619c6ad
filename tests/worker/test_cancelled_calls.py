"""An agent that stops waiting for its calls or its child chats: they get an error result, and the turn goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon import ToolCall, ToolContext, Turn, tool
from antiphon.core.model import Outcome
from antiphon.errors import AttemptFailed
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock

from .running import ask, running
from .stores import Gated
from .test_child_chats import children_of

pytestmark = pytest.mark.anyio

SHORT_S = 0.05


@tool
async def hang() -> None:
    """Never end."""
    await asyncio.Event().wait()


@tool
async def answer() -> int:
    """Answer at once."""
    return 42


@tool(needs_approval=True)
async def pay() -> None:
    """Wait for a person."""


async def test_calls_that_the_agent_stops_waiting_for_get_an_error_result_and_the_turn_goes_on() -> None:
    async def agent(turn: Turn) -> Any:
        try:
            async with asyncio.timeout(SHORT_S):
                await turn.call(ToolCall("answer"), ToolCall("hang"), ToolCall("pay"))
        except TimeoutError:
            yield "too slow, "
        yield str((await turn.call(ToolCall("answer"))).result)

    async with running(agent, tools=(answer, hang, pay)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]
        results = {result.tool_name: result.result for result in (await talk.results())[:3]}
        assert results["answer"] == 42
        assert {results[name]["error"] for name in ("hang", "pay")} == {"cancelled"}
        assert await talk.said() == ["", "too slow, ", "42"]


async def test_a_cancelled_wait_for_a_call_takes_nothing_from_another_one() -> None:
    may_end = asyncio.Event()

    @tool
    async def first() -> str:
        """Wait for the test."""
        await may_end.wait()
        return "first"

    async def agent(turn: Turn) -> Any:
        running_call = asyncio.create_task(turn.call(ToolCall("first")))
        await asyncio.sleep(0)
        queued_call = asyncio.create_task(turn.call(ToolCall("answer")))
        await asyncio.sleep(SHORT_S)
        queued_call.cancel()
        await asyncio.wait({queued_call})
        may_end.set()
        yield str((await running_call).result)

    async with running(agent, tools=(first, answer)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert [result.result for result in await talk.results()] == ["first"]
        assert await talk.said() == ["", "first"]


async def test_a_call_that_is_cancelled_while_it_is_stored_does_not_run() -> None:
    store = Gated(MemoryStore(clock=FakeClock(tick_us=1)))

    async def agent(turn: Turn) -> Any:
        store.is_open.clear()
        call = asyncio.create_task(turn.call(ToolCall("answer")))
        await asyncio.sleep(SHORT_S)
        call.cancel()
        await asyncio.sleep(SHORT_S)
        store.is_open.set()
        await asyncio.wait({call})
        yield "after"

    async with running(agent, tools=(answer,), store=store) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert [result.result["error"] for result in await talk.results()] == ["cancelled"]
        assert (await talk.said(), await talk.endings()) == (["", "after"], [Outcome.ANSWERED])


async def test_a_child_that_the_agent_stops_waiting_for_is_interrupted() -> None:
    tries, begun = 0, asyncio.Event()

    async def agent(turn: Turn) -> Any:
        nonlocal tries
        if turn.parent_chat_id:
            begun.set()
            yield "begun"
            await asyncio.Event().wait()
        tries += 1
        waiting = asyncio.create_task(turn.spawn("child"))
        if tries == 1:
            await begun.wait()
            waiting.cancel()
            await asyncio.wait({waiting})
            raise AttemptFailed("network", retryable=True)
        yield (await waiting).outcome

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        (child,) = await children_of(talk)
        await child.wait_ended()
        assert await child.endings() == [Outcome.INTERRUPTED]
        assert [result.result["error"] for result in await talk.results()] == ["cancelled"]
        assert (await talk.said())[-1] == "interrupted"
        assert instance.slots.used == 0


@pytest.mark.parametrize("stop", ["timeout of the tool", "cancelled by the agent"])
async def test_a_tool_that_ignores_its_end_starts_no_child_afterwards(stop: str) -> None:
    ended: list[str] = []

    @tool(timeout_s=SHORT_S if stop.startswith("timeout") else None)
    async def stubborn(context: ToolContext) -> None:
        """Ignore the cancellation."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await context.spawn("late")
            except asyncio.CancelledError:
                ended.append("refused")
                raise

    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield "child"
            return
        try:
            async with asyncio.timeout(None if stop.startswith("timeout") else SHORT_S):
                await turn.call(ToolCall("stubborn"))
        except TimeoutError:
            pass
        yield "done"

    async with running(agent, tools=(stubborn,)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "done"
        assert ended == ["refused"]
        assert await children_of(talk) == []
