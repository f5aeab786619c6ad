"""`turn.deps`: what an application's function makes for each turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from antiphon import Agent, AgentError, ToolCall, ToolContext, Turn, tool
from antiphon.core.model import Outcome, Status
from antiphon.errors import Invalid

from .running import Talk, ask, metric, running

pytestmark = pytest.mark.anyio


def owner_of(turn: Turn) -> dict[str, Any]:
    return {"owner": turn.owner, "labels": turn.labels, "text": turn.text}


@tool
def who(context: ToolContext) -> Any:
    """Whose turn it is."""
    return context.deps


async def asks_who(turn: Turn) -> AsyncIterator[str]:
    result = await turn.call(ToolCall("who"))
    assert result.result == turn.deps
    yield f"{turn.deps['text']} {turn.deps['labels']}"


async def test_a_function_makes_them_for_each_turn_of_its_owner() -> None:
    async with running(asks_who, deps=owner_of, tools=(who,)) as instance:
        talk = await ask(instance, "hi", labels={"team": "a"})
        await talk.wait_ended()
        await talk.send("again")
        await talk.wait_ended()
        assert await talk.said() == ["", "hi {'team': 'a'}", "", "again {'team': 'a'}"]
        assert [result.result["owner"] for result in await talk.results()] == [instance.owner_id] * 2


async def test_the_built_in_agent_gives_them_to_its_tools() -> None:
    async def make(turn: Turn) -> str:
        await asyncio.sleep(0)
        return f"deps of {turn.turn_id}"

    async with running(Agent(model="rehearsal", tools=[who], deps=make)) as instance:
        talk = await ask(instance, "/call who {}")
        await talk.wait_ended()
        assert [result.result for result in await talk.results()] == ["deps of 2"]


async def test_a_generator_function_cleans_up_after_the_turn_however_it_ends() -> None:
    log: list[str] = []

    async def make(turn: Turn) -> AsyncIterator[str]:
        log.append(f"open {turn.text}")
        try:
            yield turn.text
        finally:
            log.append(f"close {turn.text}")

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield f"{turn.deps}"
        if turn.text == "fail":
            raise ValueError("no")
        if turn.text == "stall":
            await asyncio.sleep(60)

    async with running(agent, deps=make) as instance:
        talk = await ask(instance, "answer")
        await talk.wait_ended()
        await talk.send("fail")
        await talk.wait_ended()
        await talk.send("stall")
        await talk.wait_preview("stall")
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED, Outcome.FAILED, Outcome.INTERRUPTED]
        assert log == ["open answer", "close answer", "open fail", "close fail", "open stall", "close stall"]


async def test_a_slow_clean_up_is_neither_cut_off_nor_an_abandoned_task() -> None:
    log: list[str] = []
    abandoned = metric("abandoned_tasks")

    async def make(turn: Turn) -> AsyncIterator[str]:
        yield "made"
        await asyncio.sleep(1)
        log.append(turn.text)

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield turn.deps
        if turn.text == "stall":
            await asyncio.sleep(60)

    async with running(agent, deps=make) as instance:
        talk = await ask(instance, "answer")
        await talk.wait_ended()
        await talk.send("stall")
        await talk.wait_preview("made")
        await talk.interrupt()
        await talk.wait_ended()
        assert log == ["answer", "stall"]
    assert metric("abandoned_tasks") == abandoned


async def test_a_call_that_an_earlier_attempt_left_has_them() -> None:
    @tool(needs_approval=True)
    def pay(context: ToolContext) -> Any:
        return context.deps

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield f"{(await turn.call(ToolCall('pay'))).result}"

    async with running(agent, deps=lambda turn: f"deps of {turn.owner}", tools=(pay,)) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (call,) = await instance.chats.open_calls(talk.chat_id)
        await instance.chats.approve(talk.chat_id, call.tool_call_id)
        await talk.wait_ended()
        assert (await talk.said())[-1] == f"deps of {instance.owner_id}"


async def test_a_failure_to_make_them_is_the_turns_and_may_be_retried() -> None:
    tries: list[str] = []

    def make(turn: Turn) -> str:
        tries.append(turn.text)
        if len(tries) == 1:
            raise AgentError("overloaded", "no connection", retryable=True, retry_after_s=0.2)
        if turn.text == "broken":
            raise ValueError("no such owner")
        return "made"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield turn.deps

    async with running(agent, deps=make) as instance:
        talk = await ask(instance, "hi")
        await talk.wait_ended()
        assert (await talk.said(), tries) == (["made"], ["hi", "hi"])
        await talk.send("broken")
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert chat.last_error.message == "The agent failed (ValueError)."


async def test_an_error_of_the_clean_up_does_not_fail_the_turn() -> None:
    async def make(turn: Turn) -> AsyncIterator[str]:
        yield "made"
        raise OSError("the connection is gone")

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield turn.deps

    async with running(agent, deps=make) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]


async def test_two_owners_never_have_each_others() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        for _ in range(20):
            assert turn.deps["owner"] == turn.owner
            await asyncio.sleep(0.001)
        yield turn.deps["owner"]

    async with running(agent, deps=owner_of) as instance:
        other_id = await instance.owner_id_of("other")
        other = instance.chats_of(other_id)
        talks = [await ask(instance) for _ in range(5)]
        done = [await other.create(chat_id=instance.ids.uuid(), content="hi") for _ in range(5)]
        others = [Talk(instance, one.chat_id) for one in done]
        for talk in (*talks, *others):
            await talk.wait_ended()
        assert {text for talk in talks for text in await talk.said()} == {instance.owner_id}
        assert {text for talk in others for text in await talk.said()} == {other_id}


async def test_an_agent_in_a_file_gets_those_of_its_modules_function(tmp_path: Any) -> None:
    app = tmp_path / "app_with_deps.py"
    app.write_text(
        "def deps(turn):\n    return f'deps of {turn.text}'\n\nasync def agent(turn):\n    yield turn.deps\n"
    )
    async with running(f"{app}:agent") as instance:
        talk = await ask(instance, "hi")
        await talk.wait_ended()
        assert await talk.said() == ["deps of hi"]


async def test_a_value_instead_of_a_function_is_refused() -> None:
    with pytest.raises(Invalid, match="a function that gets the turn"):
        async with running(Agent(deps={"db": 1})):  # type: ignore[arg-type]
            pass


async def test_a_plain_function_has_them_as_well() -> None:
    def agent(turn: Any) -> Iterator[str]:
        yield turn.deps["text"]

    async with running(agent, deps=owner_of) as instance:
        talk = await ask(instance, "hi")
        await talk.wait_ended()
        assert await talk.said() == ["hi"]


async def test_an_approved_call_runs_once_when_making_them_has_failed_for_long() -> None:
    """The attempt releases the turn for the delay: it has not begun the call, so the next one may."""
    failures = [AgentError("overloaded", "no database", retryable=True, retry_after_s=5.5)]
    ran: list[str] = []

    @tool(needs_approval=True)
    def pay() -> str:
        ran.append("paid")
        return "paid"

    def make(turn: Turn) -> str:
        if is_approved and failures:
            raise failures.pop()
        return "made"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield f"{(await turn.call(ToolCall('pay'))).result}"

    is_approved: list[bool] = []
    async with running(agent, deps=make, tools=(pay,)) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (call,) = await instance.chats.open_calls(talk.chat_id)
        is_approved.append(True)
        await instance.chats.approve(talk.chat_id, call.tool_call_id)
        await talk.wait_kind("attempt_released")
        await talk.wait_ended()
        assert ((await talk.said())[-1], ran) == ("paid", ["paid"])


async def test_the_state_of_the_agent_cannot_be_used_in_the_function() -> None:
    async with running(asks_who, deps=lambda turn: turn.state, tools=(who,)) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert chat.last_error.message == "The agent failed (RuntimeError)."
