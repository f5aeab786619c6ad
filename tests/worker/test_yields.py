"""What an agent yields is kept in its message, or the turn fails and says why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon import Agent, File, Reasoning, Source, Text, ToolCall, Turn, tool
from antiphon.core import parts as p
from antiphon.core.facts import TurnEnded
from antiphon.core.parts import PartMetadata, Role, ToolCallArgs, ToolCallOpened
from antiphon.core.view import View
from support.waiting import wait_until

from .running import ask, running

pytestmark = pytest.mark.anyio

SOURCE = Source(source_id="s1", url="https://example.org", title="An example")
OTHER = Source(url="https://example.com")
IMAGE = File("image/png", "iVBORw==", name="a.png")


async def test_sources_and_files_are_parts_of_the_message_in_their_order() -> None:
    async def agent(turn: Turn):
        yield "See "
        yield SOURCE
        yield OTHER
        yield "and"
        yield File("image/png", "data:image/png;base64,iVBO Rw==", name="a.png")
        yield Reasoning("hm")

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        expected = (Text("See "), SOURCE, OTHER, Text("and"), IMAGE, Reasoning("hm"))
        assert await talk.history() == [(Role.USER, (Text("hello"),)), (Role.ASSISTANT, expected)]


async def test_a_plain_agent_may_yield_sources_and_files() -> None:
    def agent(turn: Any):
        yield SOURCE
        yield IMAGE

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert (await talk.history())[-1] == (Role.ASSISTANT, (SOURCE, IMAGE))


async def test_watchers_see_sources_and_files_live_and_an_interrupt_stores_them() -> None:
    async def agent(turn: Turn):
        yield "one"
        yield SOURCE
        yield IMAGE
        await asyncio.sleep(3600)

    async with running(agent) as instance:
        talk = await ask(instance)
        view, late = View(), View()
        async for event in instance.chats.watch(talk.chat_id, after="0"):
            view.apply(event)
            if len(view.draft.content()) == 3:
                break
        async for event in instance.chats.watch(talk.chat_id):
            late.apply(event)
            break
        assert view.draft.content() == late.draft.content() == (Text("one"), SOURCE, IMAGE)
        await instance.chats.interrupt(talk.chat_id, 2)
        await talk.wait_ended()
        assert (await talk.history())[-1] == (Role.ASSISTANT, (Text("one"), SOURCE, IMAGE))


async def yield_call(turn: Turn):
    yield "before"
    yield ToolCall("add", {})


async def yield_result(turn: Turn):
    yield p.ToolResult("c", "add", 3)


async def yield_call_part(turn: Turn):
    yield p.ToolCall("c", "add", {})


async def yield_dict(turn: Turn):
    yield {"type": "text"}


async def yield_none(turn: Turn):
    yield None


async def yield_bad_file(turn: Turn):
    yield File("image/png", "%%%")


async def yield_empty_file(turn: Turn):
    yield File("image/png", "", file_id="f")


async def yield_large_file(turn: Turn):
    yield File("image/png", "A" * 600_000)


async def yield_bad_metadata(turn: Turn):
    yield "text"
    yield PartMetadata({"p": object()})


async def leave_a_streamed_call(turn: Turn):
    yield "text"
    yield ToolCallOpened("c", "add")
    yield ToolCallArgs("{}")


def yield_call_in_a_thread(turn: Any):
    yield ToolCall("add", {})


@pytest.mark.parametrize(
    ("agent", "sentence"),
    [
        (yield_call, "yielded a ToolCall. Run tools with `await turn.call"),
        (yield_call_in_a_thread, "yielded a ToolCall. Run tools with `await turn.call"),
        (yield_bad_metadata, "yielded metadata that is no JSON object"),
        (yield_call_part, "yielded a ToolCall. Run tools with"),
        (yield_result, "yielded a ToolResult. Run tools with"),
        (yield_dict, "yielded dict; it may yield text (str), Reasoning, Source, File, Data and stored files"),
        (yield_none, "yielded NoneType"),
        (yield_bad_file, "data is not base64"),
        (yield_empty_file, "by id are not supported"),
        (yield_large_file, "at most 524,288 characters"),
        (leave_a_streamed_call, "a call of 'add' that did not run: write `await turn.run_streamed_calls()`"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_file_that_cannot_be_stored_fails_the_turn_with_a_reason(agent: Any, sentence: str) -> None:
    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        (ended,) = await talk.facts(TurnEnded)
        assert ended.error is not None
        assert sentence in ended.error.message


async def test_streamed_calls_are_stored_with_their_results() -> None:
    @tool
    def add(a: int) -> int:
        return a + 1

    async def agent(turn: Turn):
        yield ToolCallOpened("c", "add")
        yield ToolCallArgs('{"a": 1}')
        (result,) = await turn.run_streamed_calls()
        yield f"{result.result}"

    async with running(agent, tools=[add]) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert [result.result for result in await talk.results()] == [2]


async def test_the_calls_of_the_built_in_agent_are_stored() -> None:
    @tool
    def add(a: int) -> int:
        return a + 1

    async with running(Agent(tools=[add])) as instance:
        talk = await ask(instance, '/call add {"a": 1}')
        await talk.wait_ended()
        assert await wait_until(lambda: talk.results())
