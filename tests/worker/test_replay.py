"""Function agents that start again in the same turn: which steps are repeated, and which have a second effect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from antiphon import AgentError, Reasoning, ToolCall, Turn, tool
from antiphon.core.model import Needs, Status, WhenBusy
from antiphon.core.parts import Data, File, PartMetadata, Role, Source, Text, ToolResult
from antiphon.core.parts import ToolCall as ToolCallPart
from antiphon.ports import Message
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.worker.replay import Replay
from antiphon.worker.tools import RawTool, ToolContext
from support.waiting import wait_until

from .running import Talk, ask, running

pytestmark = pytest.mark.anyio

Ran = list[str]


def charging(ran: Ran, *, needs_approval: bool = False) -> Any:
    @tool(needs_approval=needs_approval)
    def charge(order: str = "") -> str:
        ran.append(order)
        return f"{order} #{len(ran)}"

    return charge


async def answer(instance: Instance, talk: Talk, value: Any = "yes") -> None:
    await talk.wait_status(Status.REQUIRES_ACTION)
    (call,) = await instance.chats.open_calls(talk.chat_id)
    await instance.chats.submit_result(talk.chat_id, call.tool_call_id, value, needs=Needs.ANSWER)


async def asked_once(steps: Callable[[Turn], AsyncIterator[Any]], ran: Ran | None = None) -> list[tuple[Any, ...]]:
    """The content of the agent's messages, without calls, of a turn that `steps` begins and a question ends."""

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        async for piece in steps(turn):
            yield piece
        yield f"Ans {await turn.ask('q?')}"

    async with running(agent, tools=(charging([] if ran is None else ran),)) as instance:
        talk = await ask(instance)
        await answer(instance, talk)
        await talk.wait_ended()
        history = [content for role, content in await talk.history() if role is Role.ASSISTANT]
        return [tuple(part for part in content if not isinstance(part, ToolCallPart)) for content in history]


# --- calls


async def test_a_call_with_the_same_id_in_a_later_turn_is_another_call() -> None:
    ran: Ran = []
    fails = [True]

    async def agent(turn: Turn) -> AsyncIterator[str]:
        result = await turn.call(ToolCall("charge", {"order": turn.text}, id="charge"))
        if turn.text == "B" and fails.pop():
            fails.append(False)
            raise AgentError("overloaded", "later", retryable=True)
        yield f"{result.result}"

    async with running(agent, tools=(charging(ran),)) as instance:
        talk = await ask(instance, "A")
        await talk.wait_ended()
        await talk.send("B")
        await talk.wait_ended()
        assert ran == ["A", "B"]
        assert (await talk.said())[-1] == "B #2"


async def test_an_approved_call_with_a_used_id_is_asked_for_once() -> None:
    ran: Ran = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        result = await turn.call(ToolCall("charge", {"order": turn.text}, id="pay"))
        yield f"{result.result}"

    async with running(agent, tools=(charging(ran, needs_approval=True),)) as instance:
        talk = await ask(instance, "A")
        for order in ("A", "B"):
            await talk.wait_status(Status.REQUIRES_ACTION)
            (call,) = await instance.chats.open_calls(talk.chat_id)
            await instance.chats.approve(talk.chat_id, call.tool_call_id)
            await talk.wait_ended()
            if order == "A":
                await talk.send("B")
        assert ran == ["A", "B"]


@pytest.mark.parametrize("ids", [("x", "x"), ("x", ""), ("", "x"), ("", ""), ("x", "y")])
async def test_each_call_gets_its_own_result_again(ids: tuple[str, str]) -> None:
    ran: Ran = []

    async def steps(turn: Turn) -> AsyncIterator[Any]:
        for order, call_id in zip("aa" if "" in ids else "ab", ids, strict=True):
            result = await turn.call(ToolCall("charge", {"order": order}, id=call_id))
            yield f"{result.result}. "

    said = await asked_once(steps, ran)
    assert len(ran) == 2
    texts = [part.text for content in said for part in content]
    assert texts == [f"{ran[0]} #1. ", f"{ran[1]} #2. ", "Ans yes"]


async def test_a_steering_message_that_continues_the_turn_starts_with_new_calls() -> None:
    ran: Ran = []
    talks: list[Talk] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        result = await turn.call(ToolCall("charge", {}))
        yield f"It is{result.result}. "
        if len(ran) == 1:
            await talks[0].send("and now?", WhenBusy.STEER)

    async with running(agent, tools=(charging(ran),)) as instance:
        done = await instance.chats.create()
        talks.append(Talk(instance, done.chat_id))
        await talks[0].send("how is it?")
        await talks[0].wait_ended()
        assert [text for text in await talks[0].said() if text] == ["It is #1. ", "It is #2. "]


async def test_steering_that_was_taken_is_taken_again_when_the_agent_starts_again() -> None:
    taken: list[list[str]] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "A "
        if not taken:
            await talk.send("left", WhenBusy.STEER)
            await wait_until(turn._io.has_steering)
        steering = await turn.take_steering()
        taken.append([part.text for message in steering for part in message.content if isinstance(part, Text)])
        yield "B "
        yield f"Ans {await turn.ask('q?')}"

    async with running(agent) as instance:
        talk = Talk(instance, (await instance.chats.create()).chat_id)
        await talk.send("go")
        await answer(instance, talk)
        await talk.wait_ended()
        assert taken == [["left"], ["left"]]
        assert await talk.said() == ["A ", "B ", "Ans yes"]


async def test_arguments_that_are_stored_as_text_are_recognised() -> None:
    schema: Any = {}
    for _ in range(80):
        schema = {"x": schema}

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield f"Ans {await turn.ask('q?', schema)}"

    async with running(agent) as instance:
        talk = await ask(instance)
        await answer(instance, talk)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "Ans yes"


async def test_an_edited_result_is_the_tools_own_for_the_agent() -> None:
    ran: Ran = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        result = await turn.call(ToolCall("charge", {"order": "a"}))
        yield f"{result.result} {await turn.ask('q?')}"

    async with running(agent, tools=(charging(ran, needs_approval=True),)) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (call,) = await instance.chats.open_calls(talk.chat_id)
        await instance.chats.approve(talk.chat_id, call.tool_call_id, args={"order": "b"})
        await wait_until(lambda: ran)
        await talk.wait(lambda chat: any(one.needs is Needs.ANSWER for one in chat.calls))
        await answer(instance, talk)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "b #1 yes"


async def test_a_turn_that_is_longer_than_the_history_fails_instead_of_running_tools_again() -> None:
    ran: Ran = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        for batch in range(9):
            await turn.call(*(ToolCall("charge", {"order": f"{batch}-{n}"}) for n in range(120)))
        yield f"Ans {await turn.ask('q?')}"

    async with running(agent, tools=(charging(ran),)) as instance:
        talk = await ask(instance)
        await answer(instance, talk)
        chat = await talk.wait_ended()
        assert chat.status is Status.ERROR
        assert chat.last_error is not None
        assert "cannot be started again" in chat.last_error.message
        assert len(ran) == 1080


# --- pieces


PIECES: dict[str, list[Any]] = {
    "a source": ["See: ", Source("", "https://example.org/", "E"), "well "],
    "a file": [File("image/png", "aGk="), "well "],
    "empty reasoning": [Reasoning(""), "a", Reasoning(""), "b"],
    "reasoning between": [Reasoning("hm"), "a", Reasoning("so"), "b"],
    "text values": [Text("a"), "b", Text("")],
    "a surrogate": ["a\ud83d", "b"],
    "other cuts": ["one two three"],
}


@pytest.mark.parametrize("name", PIECES)
async def test_pieces_before_a_question_are_stored_once(name: str) -> None:
    runs: list[int] = []

    async def steps(turn: Turn) -> AsyncIterator[Any]:
        runs.append(1)
        pieces = PIECES[name]
        for piece in pieces if name != "other cuts" or len(runs) == 1 else list(pieces[0]):
            yield piece

    first, last = await asked_once(steps)
    assert last == (Text("Ans yes"),)
    assert len(first) >= 1


async def test_pieces_that_differ_are_all_stored() -> None:
    runs: list[int] = []

    async def steps(turn: Turn) -> AsyncIterator[Any]:
        runs.append(1)
        yield "Hello "
        yield f"run {len(runs)}. "

    assert await asked_once(steps) == [(Text("Hello run 1. "),), (Text("Hello run 2. Ans yes"),)]


def test_a_long_text_is_compared_in_linear_time() -> None:
    text = "abcd" * 100_000
    messages = [
        Message(id=2, role=Role.USER, content=(Text("go"),)),
        Message(id=3, role=Role.ASSISTANT, content=(Text(text), ToolCallPart("c", "t", {}))),
        Message(id=4, role=Role.TOOL, content=(ToolResult("c", "t", 1),)),
    ]
    replay = Replay(messages, 2)
    assert all(replay.admit(text[start : start + 4]) == [] for start in range(0, len(text), 4))
    assert replay.match_calls([("", "t", {})]) == (ToolResult("c", "t", 1),)
    assert replay.admit("more") == ["more"]


# --- tools of a run


async def test_a_call_of_a_tool_that_only_the_run_has_is_finished_by_the_next_run() -> None:
    ran: Ran = []

    async def pay(args: Any, context: ToolContext) -> str:
        ran.append(args["order"])
        return "paid"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        local = RawTool(name="pay", description="", parameters={}, function=pay, needs_approval=True)
        await turn.use_tools(local)
        result = await turn.call(ToolCall("pay", {"order": "a"}))
        yield f"It is {result.result}."

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (call,) = await instance.chats.open_calls(talk.chat_id)
        await instance.chats.approve(talk.chat_id, call.tool_call_id)
        await talk.wait_ended()
        assert ran == ["a"]
        assert (await talk.said())[-1] == "It is paid."


async def test_a_call_whose_tool_is_not_there_any_more_gets_an_error_result() -> None:
    runs: list[int] = []

    async def pay(args: Any, context: ToolContext) -> str:
        return "paid"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        runs.append(1)
        if len(runs) == 1:
            await turn.use_tools(
                RawTool(name="pay", description="", parameters={}, function=pay, needs_approval=True)
            )
            await turn.call(ToolCall("pay", {}))
        yield "without it"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (call,) = await instance.chats.open_calls(talk.chat_id)
        await instance.chats.approve(talk.chat_id, call.tool_call_id)
        await talk.wait_ended()
        assert [result.is_error for result in await talk.results()] == [True]
        assert (await talk.said())[-1] == "without it"


async def test_metadata_and_whole_parts_are_repeated_without_being_written_twice() -> None:
    async def steps(turn: Turn) -> AsyncIterator[Any]:
        yield Reasoning("Hm. ")
        yield PartMetadata({"p": {"signature": "s"}})
        yield Data({"n": 1})
        yield PartMetadata({"p": {"id": "d"}})
        yield "Then. "

    first, last = await asked_once(steps)
    assert [type(part) for part in first] == [Reasoning, Data, Text]
    assert last == (Text("Ans yes"),)
