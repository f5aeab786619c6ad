"""Turns that wait for a client: tools that clients run, approvals, and questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from antiphon import Agent, AgentError, Reasoning, ToolCall, Turn, tool
from antiphon.chats.client_tools import ClientTool
from antiphon.core import commands as c
from antiphon.core.facts import ActionRequired, ActionResolved
from antiphon.core.model import Needs, Outcome, Status
from antiphon.core.parts import ToolResult
from antiphon.errors import Invalid, NotAllowedNow, NotFound, TooLarge
from antiphon.options import Limits
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.wire.stream import OpenCall

from .running import Talk, ask, running

pytestmark = pytest.mark.anyio

PICK = ClientTool(name="pick", description="Pick a file.", parameters={"type": "object"})


async def waiting(instance: Instance, talk: Talk) -> tuple[OpenCall, ...]:
    """The calls that the turn waits for."""
    await talk.wait_status(Status.REQUIRES_ACTION)
    return await instance.chats.open_calls(talk.chat_id)


# --- tools that clients run


async def test_a_client_runs_its_tool_and_the_turn_continues_with_the_result() -> None:
    async with running() as instance:
        done = await instance.chats.create(content='/call pick {"x": 1}\n/say done', tools=[PICK])
        talk = Talk(instance, done.chat_id)
        (call,) = await waiting(instance, talk)
        assert (call.tool_name, call.args, call.needs) == ("pick", {"x": 1}, Needs.RESULT)
        await instance.chats.submit_result(talk.chat_id, call.tool_call_id, {"file": "a.txt"})
        await talk.wait_ended()
        assert await talk.results() == [ToolResult(call.tool_call_id, "pick", {"file": "a.txt"})]
        assert (await talk.facts(ActionResolved))[0].by == instance.owner_id


async def test_an_agent_gets_the_tools_of_clients() -> None:
    names: list[str] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        names.append(", ".join(item.name for item in turn.tools))
        yield "ok"

    async with running(agent) as instance:
        done = await instance.chats.create(content="hi", tools=[PICK])
        talk = Talk(instance, done.chat_id)
        await talk.wait_ended()
        await instance.chats.set_tools(talk.chat_id, [ClientTool(name="other")])
        await talk.send("again")
        await talk.wait_ended()
        await instance.chats.set_tools(talk.chat_id, [])
        await talk.send("again")
        await talk.wait_ended()
    assert names == ["pick", "other", ""]


async def test_the_first_result_wins_and_a_wrong_call_is_refused() -> None:
    async with running() as instance:
        done = await instance.chats.create(content="/call pick {}", tools=[PICK])
        talk = Talk(instance, done.chat_id)
        (call,) = await waiting(instance, talk)
        submit = instance.chats.submit_result
        with pytest.raises(NotFound):
            await submit(talk.chat_id, "another", 1)
        with pytest.raises(NotFound):
            await submit(talk.chat_id, call.tool_call_id, 1, needs=Needs.ANSWER)
        with pytest.raises(NotFound):
            await instance.chats.approve(talk.chat_id, call.tool_call_id)
        answers = await asyncio.gather(
            *(submit(talk.chat_id, call.tool_call_id, n) for n in range(3)), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["Done", "NotAllowedNow", "NotAllowedNow"]
        await talk.wait_ended()
        assert len(await talk.results()) == 1


async def test_a_tool_of_the_server_is_not_replaced_by_that_of_a_client() -> None:
    @tool
    def pick() -> str:
        return "the server's"

    async with running(Agent(), tools=(pick,)) as instance:
        done = await instance.chats.create(content="/call pick {}", tools=[PICK])
        talk = Talk(instance, done.chat_id)
        await talk.wait_ended()
        assert [result.result for result in await talk.results()] == ["the server's"]


async def test_a_result_may_be_an_error_and_the_deadline_gives_one() -> None:
    async with running(limits=Limits(action_s=0.05)) as instance:
        done = await instance.chats.create(content="/call pick {}", tools=[PICK])
        talk = Talk(instance, done.chat_id)
        await talk.wait_ended()
        assert [result.is_error for result in await talk.results()] == [True]
    async with running() as instance:
        done = await instance.chats.create(content="/call pick {}", tools=[PICK])
        talk = Talk(instance, done.chat_id)
        (call,) = await waiting(instance, talk)
        await instance.chats.submit_result(talk.chat_id, call.tool_call_id, "no such file", is_error=True)
        await talk.wait_ended()
        assert [(result.result, result.is_error) for result in await talk.results()] == [("no such file", True)]


@pytest.mark.parametrize(
    "tools",
    [
        [ClientTool(name="")],
        [ClientTool(name="a b")],
        [ClientTool(name="a"), ClientTool(name="a")],
        [ClientTool(name="x" * 65)],
    ],
    ids=["no name", "a space", "twice", "too long"],
)
async def test_a_tool_with_an_invalid_name_is_refused(tools: list[ClientTool]) -> None:
    async with running() as instance:
        with pytest.raises(Invalid, match="name"):
            await instance.chats.create(tools=tools)


async def test_tools_and_values_are_bounded() -> None:
    deep: Any = []
    for _ in range(80):
        deep = [deep]
    async with running() as instance:
        chats = instance.chats
        with pytest.raises(TooLarge):
            await chats.create(tools=[ClientTool(name=f"t{n}") for n in range(129)])
        with pytest.raises(TooLarge):
            await chats.create(tools=[ClientTool(name="t", description="x" * 70_000)])
        with pytest.raises(Invalid, match="deep"):
            await chats.create(tools=[ClientTool(name="t", parameters={"x": deep})])
        done = await chats.create(content="/call pick {}", tools=[PICK])
        talk = Talk(instance, done.chat_id)
        (call,) = await waiting(instance, talk)
        with pytest.raises(Invalid, match="deep"):
            await chats.submit_result(talk.chat_id, call.tool_call_id, deep)
        with pytest.raises(TooLarge):
            await chats.submit_result(talk.chat_id, call.tool_call_id, "x" * 5_000_000)
        assert (await talk.chat()).status is Status.REQUIRES_ACTION, "nothing was lost"


# --- approvals


def paying(ran: list[int], needs_approval: bool | Callable[[Any], bool] = True) -> Any:
    @tool(needs_approval=needs_approval)
    def pay(amount: int) -> str:
        ran.append(amount)
        return f"paid {amount}"

    return pay


async def test_a_person_may_approve_other_arguments() -> None:
    ran: list[int] = []
    async with running(Agent(tools=[paying(ran)])) as instance:
        talk = await ask(instance, '/call pay {"amount": 100}')
        (call,) = await waiting(instance, talk)
        with pytest.raises(TooLarge):
            await instance.chats.approve(talk.chat_id, call.tool_call_id, args={"amount": "9" * 70_000})
        await instance.chats.approve(talk.chat_id, call.tool_call_id, args={"amount": 5})
        await talk.wait_ended()
        assert ran == [5]
        (result,) = await talk.results()
        assert result.result == {"arguments_set_by_a_person": {"amount": 5}, "result": "paid 5"}
        assert (await talk.facts(ActionResolved))[0].args == {"amount": 5}


async def test_a_tool_that_is_always_allowed_needs_no_approval_in_this_chat() -> None:
    ran: list[int] = []
    async with running(Agent(tools=[paying(ran)])) as instance:
        talk = await ask(instance, '/call pay {"amount": 1}\n/call pay {"amount": 2}')
        calls = await waiting(instance, talk)
        assert len(calls) == 2
        await instance.chats.approve(talk.chat_id, calls[0].tool_call_id, always=True)
        await talk.wait_ended()
        assert sorted(ran) == [1, 2], "the other call of the tool was approved with it"
        await talk.send('/call pay {"amount": 3}')
        await talk.wait_ended()
        assert sorted(ran) == [1, 2, 3]
        other = await ask(instance, '/call pay {"amount": 4}')
        await waiting(instance, other)
        assert sorted(ran) == [1, 2, 3], "another chat is asked"


@pytest.mark.parametrize(("amount", "is_asked"), [(5, False), (500, True)])
async def test_a_policy_decides_by_the_arguments(amount: int, is_asked: bool) -> None:
    ran: list[int] = []
    async with running(Agent(tools=[paying(ran, lambda args: args["amount"] > 100)])) as instance:
        talk = await ask(instance, f'/call pay {{"amount": {amount}}}')
        if is_asked:
            (call,) = await waiting(instance, talk)
            await instance.chats.approve(talk.chat_id, call.tool_call_id)
        await talk.wait_ended()
        assert ran == [amount]
        assert len(await talk.facts(ActionRequired)) == is_asked


async def test_a_policy_that_fails_asks() -> None:
    async with running(Agent(tools=[paying([], lambda args: args["no such"] > 1)])) as instance:
        talk = await ask(instance, '/call pay {"amount": 1}')
        assert len(await waiting(instance, talk)) == 1


# --- questions


async def test_an_agent_asks_a_person_and_continues_with_the_answer() -> None:
    ran: list[str] = []

    @tool
    def charge(order: str) -> str:
        ran.append(order)
        return "charged"

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield Reasoning("hm")
        yield "One moment. "
        result = await turn.call(ToolCall("charge", {"order": "a"}))
        yield f"{result.result}. "
        answer = await turn.ask("Send a receipt?", {"type": "boolean"})
        yield f"Receipt: {answer}."

    async with running(agent, tools=(charge,)) as instance:
        talk = await ask(instance)
        (call,) = await waiting(instance, talk)
        assert (call.needs, call.question) == (Needs.ANSWER, "Send a receipt?")
        assert call.args == {"question": "Send a receipt?", "schema": {"type": "boolean"}}
        await instance.chats.submit_result(talk.chat_id, call.tool_call_id, True, needs=Needs.ANSWER)
        await talk.wait_ended()
        assert ran == ["a"], "the tool ran once"
        assert await talk.said() == ["One moment. ", "charged. ", "Receipt: True."], "no word is repeated"


async def test_equal_questions_are_asked_one_after_the_other() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        answers = [await turn.ask("More?") for _ in range(3)]
        yield f"{answers}"

    async with running(agent) as instance:
        talk = await ask(instance)
        for answer in ("a", "b", "c"):
            (call,) = await waiting(instance, talk)
            await instance.chats.submit_result(talk.chat_id, call.tool_call_id, answer, needs=Needs.ANSWER)
            await talk.wait(
                lambda chat, call=call: (
                    chat.status is not Status.REQUIRES_ACTION or chat.call(call.tool_call_id) is None
                )
            )
        await talk.wait_ended()
        assert (await talk.said())[-1] == "['a', 'b', 'c']"


async def test_a_plain_generator_asks_as_well() -> None:
    def agent(turn: Any) -> Iterator[str]:
        yield "Well: "
        yield str(turn.ask("Yes?"))

    async with running(agent) as instance:
        talk = await ask(instance)
        (call,) = await waiting(instance, talk)
        await instance.chats.submit_result(talk.chat_id, call.tool_call_id, "yes", needs=Needs.ANSWER)
        await talk.wait_ended()
        assert await talk.said() == ["Well: ", "yes"]


async def test_an_agent_that_says_something_else_after_the_answer_writes_all_of_it() -> None:
    runs: list[int] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        runs.append(1)
        yield f"Run {len(runs)}. "
        yield str(await turn.ask("Yes?"))

    async with running(agent) as instance:
        talk = await ask(instance)
        (call,) = await waiting(instance, talk)
        await instance.chats.submit_result(talk.chat_id, call.tool_call_id, "yes", needs=Needs.ANSWER)
        await talk.wait_ended()
        assert await talk.said() == ["Run 1. ", "Run 2. yes"]


async def test_a_question_without_an_answer_raises_for_the_agent() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        try:
            await turn.ask("Yes?")
        except AgentError as error:
            yield f"then not: {error.kind}"

    async with running(agent, limits=Limits(action_s=0.05)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["", "then not: unknown"]


async def test_a_question_can_be_interrupted() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield str(await turn.ask("Yes?"))

    async with running(agent) as instance:
        talk = await ask(instance)
        await waiting(instance, talk)
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.INTERRUPTED]
        with pytest.raises(NotAllowedNow):
            await instance.chats.change(talk.chat_id, c.Approve(tool_call_id="x"))


async def test_an_agent_that_fails_after_a_tool_runs_again_without_the_tool() -> None:
    ran: list[str] = []
    runs: list[int] = []

    @tool
    def charge(order: str) -> str:
        ran.append(order)
        return "charged"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        runs.append(1)
        yield "One moment. "
        result = await turn.call(ToolCall("charge", {"order": "a"}), ToolCall("charge", {"order": "a"}))
        if len(runs) == 1:
            raise AgentError("overloaded", "later", retryable=True)
        yield f"{[item.result for item in result]}"

    async with running(agent, tools=(charge,)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert ran == ["a", "a"], "two equal calls are two calls, and each ran once"
        assert await talk.said() == ["One moment. ", "['charged', 'charged']"]
