"""Calls of a turn: side by side, at most once, and with a person's leave where they need it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from antiphon import Agent, ToolCall, Turn, tool
from antiphon.core import commands as c
from antiphon.core.facts import ActionRequired, ActionResolved, AttemptStarted, CallOpened
from antiphon.core.model import Outcome, Status
from antiphon.core.parts import Role, Text, ToolResult
from antiphon.core.parts import ToolCall as ToolCallPart
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.stored_chat import StoredChat
from antiphon.wire.codec import encode_content
from antiphon.worker.blocking_turn import BlockingTurn
from support.waiting import wait_until

from .running import Talk, answered, ask, messages_of, results_of, running

pytestmark = pytest.mark.anyio


# --- several at once


async def test_results_are_committed_as_they_arrive_and_returned_in_order() -> None:
    gates = [asyncio.Event() for _ in range(3)]
    given: list[tuple[ToolResult, ...]] = []

    @tool
    async def wait(n: int) -> int:
        await gates[n].wait()
        return n

    async def agent(turn: Turn) -> AsyncIterator[str]:
        given.append(await turn.call(*(ToolCall("wait", {"n": n}, id=f"call {n}") for n in range(3))))
        yield "done"

    async with running(agent, tools=(wait,)) as instance:
        talk = await ask(instance)
        for count, n in enumerate((2, 0, 1), start=1):
            await wait_until(lambda count=count: has_results(talk, count - 1))
            gates[n].set()
            await wait_until(lambda count=count: has_results(talk, count))
        await talk.wait_ended()
        assert [result.result for result in await talk.results()] == [2, 0, 1]
        assert [result.result for result in given[0]] == [0, 1, 2]


async def has_results(talk: Talk, count: int) -> bool:
    return len(await talk.results()) == count


async def test_what_a_provider_must_get_back_is_stored_with_its_call() -> None:
    @tool
    def add(a: int) -> int:
        return a

    async def agent(turn: Turn) -> AsyncIterator[str]:
        signed = ToolCall("add", {"a": 1}, "c1", {"p": {"signature": "s"}})
        await turn.call(signed, ToolCall("add", {"a": 2}, "c2"))
        yield "done"

    async with running(agent, tools=(add,)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        calls = [part for _, content in await talk.history() for part in content if isinstance(part, ToolCallPart)]
        assert [call.provider_metadata for call in calls] == [{"p": {"signature": "s"}}, None]


async def test_at_most_sixteen_calls_run_concurrently() -> None:
    running_now = most = 0

    @tool
    async def work() -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        for _ in range(3):
            await asyncio.sleep(0)
        running_now -= 1

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.call(*(ToolCall("work") for _ in range(40)))
        yield ""

    assert len(results_of(await answered(agent, tools=(work,)))) == 40
    assert most == 16


async def test_repeated_and_missing_ids_are_replaced() -> None:
    @tool
    async def echo(n: int) -> int:
        return n

    async def agent(turn: Turn) -> AsyncIterator[str]:
        first = await turn.call(*(ToolCall("echo", {"n": n}, id="same") for n in range(3)))
        second = await turn.call(ToolCall("echo", {"n": 3}, id="same"))
        third = await turn.call(ToolCall("echo", {"n": 4}), ToolCall("echo", {"n": 5}))
        yield " ".join(str(result.result) for result in (*first, second, *third))

    async with running(agent, tools=(echo,)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        await talk.send("again")
        await talk.wait_ended()
        assert await talk.said() == ["", "", "", "0 1 2 3 4 5"] * 2
        ids = [result.tool_call_id for result in await talk.results()]
        assert ids[:4] == ["same", "same#2", "same#3", "same#4"]
        assert ids[6:10] == ["same#5", "same#6", "same#7", "same#8"]
        assert len(set(ids)) == 12


async def test_a_call_with_arguments_that_json_cannot_hold_fails_and_never_runs() -> None:
    runs: list[Any] = []

    @tool
    async def note(value: Any = None) -> None:
        runs.append(value)

    async def agent(turn: Turn) -> AsyncIterator[str]:
        with contextlib.suppress(TypeError, NotImplementedError):
            await turn.call(ToolCall("note", {"value": object()}))
        await turn.call(ToolCall("note", {"value": "a\ud800"}))
        yield "done"

    entries = await answered(agent, tools=(note,))
    assert runs == ["a�"]
    assert len(results_of(entries)) == 1


async def test_a_plain_agent_runs_tools_and_its_earlier_text_precedes_them() -> None:
    @tool
    def double(n: int) -> int:
        return 2 * n

    def agent(turn: BlockingTurn) -> Iterator[str]:
        for n in range(100):
            yield f"{n} "
        result = turn.call(ToolCall("double", {"n": 4}))
        yield f"= {result.result}"

    entries = await answered(agent, tools=(double,))
    said = [content for role, content in messages_of(entries) if role is Role.ASSISTANT]
    assert isinstance(said[0][0], Text)
    assert said[0][0].text == "".join(f"{n} " for n in range(100))
    assert isinstance(said[0][1], ToolCallPart)
    assert said[1] == (Text("= 8"),)


# --- at most once


class LeftBehind:
    """A chat that an earlier worker left in the middle of its calls; `runs` are those of the tools from then on."""

    def __init__(self) -> None:
        self.clock = FakeClock(tick_us=1)
        self.store = MemoryStore(clock=self.clock)
        self.runs: list[str] = []

    async def make(self, *calls: tuple[str, bool]) -> StoredChat:
        """`calls` are (name, idempotent) of a message that was committed before the worker died."""
        owner_id = await self.store.create_owner("admin", is_admin=True)
        chat = await StoredChat(self.store, "c").create(owner_id=owner_id, said="hello")
        await chat.start("an instance that died")
        parts = [ToolCallPart(f"id {n}", name) for n, (name, _) in enumerate(calls)]
        await chat.do(
            c.CommitMessage(
                attempt=chat.chat.attempt,
                draft=chat.chat.draft,
                content=encode_content(parts),
                upto=1,
                calls=tuple(
                    CallOpened(tool_call_id=f"id {n}", tool_name=name, is_idempotent=is_idempotent)
                    for n, (name, is_idempotent) in enumerate(calls)
                ),
            )
        )
        return chat

    def agent(self) -> Agent:
        @tool
        async def once() -> str:
            self.runs.append("once")
            return "ran"

        @tool(idempotent=True)
        async def often() -> str:
            self.runs.append("often")
            return "ran"

        return Agent(tools=[once, often])


async def test_a_call_that_a_lost_worker_began_is_not_repeated_and_its_outcome_is_unknown() -> None:
    left = LeftBehind()
    await left.make(("once", False), ("often", True))
    async with running(left.agent(), store=left.store) as instance:
        talk = Talk(instance, "c")
        await talk.wait_ended()
        unknown, ran = await talk.results()
        assert (unknown.tool_call_id, unknown.is_error, unknown.result["error"]) == ("id 0", True, "unknown")
        assert (ran.tool_call_id, ran.result) == ("id 1", "ran")
        assert left.runs == ["often"]
        assert await talk.endings() == [Outcome.ANSWERED]


async def test_calls_not_begun_by_a_released_attempt_are_run_by_the_next_one() -> None:
    left = LeftBehind()
    chat = await left.make(("once", False), ("once", False))
    await chat.do(
        c.ReleaseAttempt(attempt=chat.chat.attempt, draft=chat.chat.draft, calls_not_begun=("id 0", "id 1"))
    )
    async with running(left.agent(), store=left.store) as instance:
        talk = Talk(instance, "c")
        await talk.wait_ended()
        assert [(result.tool_call_id, result.result) for result in await talk.results()] == [
            ("id 0", "ran"),
            ("id 1", "ran"),
        ]
        assert left.runs == ["once", "once"]


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_a_left_call_does_not_run_without_the_approval_that_its_tool_needs(is_allowed: bool) -> None:
    """Its tool was unknown when the call was stored (its MCP server had not started), so it was stored as one that
    needs nothing."""
    left = LeftBehind()
    chat = await left.make(("delete", False))
    await chat.do(c.ReleaseAttempt(attempt=chat.chat.attempt, draft=chat.chat.draft, calls_not_begun=("id 0",)))

    @tool(needs_approval=lambda args: not is_allowed)
    async def delete() -> str:
        left.runs.append("delete")
        return "gone"

    async with running(Agent(tools=[delete]), store=left.store) as instance:
        talk = Talk(instance, "c")
        await talk.wait_ended()
        (result,) = await talk.results()
        if is_allowed:
            assert (result.result, left.runs) == ("gone", ["delete"])
        else:
            assert (result.is_error, result.result["error"], left.runs) == (True, "not_approved", [])


# --- asking a person


class Danger:
    """A tool that asks first, and one that does not."""

    def __init__(self) -> None:
        self.runs: list[str] = []

        @tool(needs_approval=True)
        async def delete(name: str) -> str:
            """Delete a file."""
            self.runs.append(f"delete {name}")
            return f"{name} is gone"

        @tool
        async def inspect() -> str:
            self.runs.append("inspect")
            return "three files"

        self.agent = Agent(tools=[delete, inspect])


DELETE = '/call delete {"name": "a"}\n/say done'


async def test_a_call_that_needs_approval_runs_once_it_is_approved() -> None:
    danger = Danger()
    async with running(danger.agent) as instance:
        talk = await ask(instance, DELETE)
        chat = await talk.wait_status(Status.REQUIRES_ACTION)
        (required,) = await talk.facts(ActionRequired)
        (needed,) = required.calls
        assert (needed.tool_name, needed.args, needed.needs) == ("delete", {"name": "a"}, "approval")
        assert required.deadline > chat.created_at
        assert chat.attempt == 0
        await wait_until(lambda: not len(instance.worker))
        assert danger.runs == []
        await talk.change(c.Approve(tool_call_id=needed.tool_call_id))
        await talk.wait_ended()
        assert danger.runs == ["delete a"]
        assert [result.result for result in await talk.results()] == ["a is gone"]
        assert [(fact.tool_call_id, fact.outcome) for fact in await talk.facts(ActionResolved)] == [
            (needed.tool_call_id, "approved")
        ]
        assert (await talk.said())[-1] == "done"
        assert len(await talk.facts(AttemptStarted)) == 2


async def test_a_denied_call_does_not_run_and_the_turn_continues() -> None:
    danger = Danger()
    async with running(danger.agent) as instance:
        talk = await ask(instance, DELETE)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (required,) = await talk.facts(ActionRequired)
        await talk.change(c.Deny(tool_call_id=required.calls[0].tool_call_id, reason="Not that one."))
        await talk.wait_ended()
        assert danger.runs == []
        (result,) = await talk.results()
        assert (result.is_error, result.result["error"]) == (True, "denied")
        assert "Not that one." in result.result["message"]
        assert (await talk.said())[-1] == "done"


async def test_a_call_without_a_decision_expires_and_the_turn_continues() -> None:
    danger, clock = Danger(), FakeClock(tick_us=1)
    async with running(danger.agent, clock=clock) as instance:
        talk = await ask(instance, DELETE)
        await talk.wait_status(Status.REQUIRES_ACTION)
        clock.advance(24 * 3600 - 60)
        await asyncio.sleep(0)
        assert (await talk.chat()).status is Status.REQUIRES_ACTION
        clock.advance(120)
        await talk.wait_ended()
        (result,) = await talk.results()
        assert (result.is_error, result.result["error"]) == (True, "expired")
        assert danger.runs == []


async def test_a_call_without_approval_runs_while_another_waits_for_it() -> None:
    danger = Danger()
    async with running(danger.agent) as instance:
        talk = await ask(instance, '/call inspect {}\n/call delete {"name": "a"}\n/say done')
        await talk.wait_status(Status.REQUIRES_ACTION)
        assert danger.runs == ["inspect"]
        assert [result.tool_name for result in await talk.results()] == ["inspect"]
        (required,) = await talk.facts(ActionRequired)
        assert [call.tool_name for call in required.calls] == ["delete"]
        await talk.change(c.Approve(tool_call_id=required.calls[0].tool_call_id))
        await talk.wait_ended()
        assert danger.runs == ["inspect", "delete a"]
        assert [result.result for result in await talk.results()] == ["three files", "a is gone"]


async def test_each_of_several_calls_is_approved_separately() -> None:
    danger = Danger()
    async with running(danger.agent) as instance:
        talk = await ask(instance, "\n".join(f'/call delete {{"name": "{name}"}}' for name in "abc"))
        await talk.wait_status(Status.REQUIRES_ACTION)
        (required,) = await talk.facts(ActionRequired)
        first, second, third = (call.tool_call_id for call in required.calls)
        await talk.change(c.Approve(tool_call_id=second))
        await talk.change(c.Deny(tool_call_id=first))
        assert (await talk.chat()).status is Status.REQUIRES_ACTION
        await talk.change(c.Approve(tool_call_id=third))
        await talk.wait_ended()
        assert danger.runs == ["delete b", "delete c"]
        by_id = {result.tool_call_id: result.is_error for result in await talk.results()}
        assert by_id == {first: True, second: False, third: False}
