"""Agents of pydantic-ai, unchanged, against a scripted model server: tools, approvals, stops and crashes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from antiphon import Turn
from antiphon.core.model import Outcome, Status
from antiphon.core.parts import File, FileReference, Reasoning, Role, Source, Text, ToolCall, ToolResult
from antiphon.ports import Message
from antiphon.testing.model_server import FOREVER, Answer, FakeCall, FakeModelServer
from antiphon.testing.responses_answers import ENCRYPTED
from worker.running import ask, running

if TYPE_CHECKING:  # imported when the first test of the file runs
    from pydantic import BaseModel
    from pydantic_ai import Agent, RunContext
    from pydantic_ai import messages as m
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from antiphon.adapters.pydantic_ai import serve
    from antiphon.adapters.pydantic_ai_history import to_model_messages

pytestmark = pytest.mark.anyio

Ran = list[tuple[str, int]]
DRAWN = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@asynccontextmanager
async def banking(ran: Ran, **options: Any) -> AsyncIterator[tuple[FakeModelServer, Agent[str, Any]]]:
    async with FakeModelServer() as server:
        provider = OpenAIProvider(base_url=server.base_url, api_key="k")
        bank: Agent[str, Any] = Agent(
            OpenAIChatModel("m", provider=provider), deps_type=str, system_prompt="You are a bank.", **options
        )

        @bank.tool
        async def charge(ctx: RunContext[str], amount: int) -> str:
            ran.append((ctx.deps, amount))
            return f"charged {amount}"

        @bank.tool_plain(requires_approval=True)
        def refund(amount: int) -> str:
            ran.append(("refund", amount))
            return f"refunded {amount}"

        @bank.tool_plain
        def fail() -> str:
            raise RuntimeError("broken")

        yield server, bank


async def test_its_tools_are_committed_before_they_run_and_its_prompt_is_sent() -> None:
    ran: Ran = []
    async with banking(ran) as (server, bank):
        server.plan(Answer(text="Charging. ", calls=(FakeCall("charge", {"amount": 5}),)), Answer(text="Done."))
        async with running(serve(bank, deps=lambda turn: f"chat {turn.turn_id}")) as instance:
            talk = await ask(instance)
            chat = await talk.wait_ended()
            assert await talk.said() == ["Charging. ", "Done."]
            assert [result.result for result in await talk.results()] == ["charged 5"]
            assert chat.usage.input_tokens == 20
        assert ran == [("chat 2", 5)]
        for seen in server.requests:
            assert seen.body["messages"][0] == {"role": "system", "content": "You are a bank."}


async def test_a_tool_that_needs_approval_waits_and_the_run_continues_from_the_history() -> None:
    ran: Ran = []
    async with banking(ran) as (server, bank):
        calls = (FakeCall("charge", {"amount": 5}), FakeCall("refund", {"amount": 700}))
        server.plan(Answer(calls=calls), Answer(text="All done."))
        async with running(serve(bank, deps=lambda turn: "ada")) as instance:
            talk = await ask(instance)
            await talk.wait_status(Status.REQUIRES_ACTION)
            (call,) = await instance.chats.open_calls(talk.chat_id)
            assert (call.tool_name, call.args) == ("refund", {"amount": 700})
            await instance.chats.approve(talk.chat_id, call.tool_call_id, args={"amount": 7})
            await talk.wait_ended()
            assert (await talk.said())[-1] == "All done."
        assert ran == [("ada", 5), ("refund", 7)]
        assert len(server.requests) == 2, "no answer was paid for twice"


async def test_a_denied_call_and_a_tool_that_fails_reach_the_model() -> None:
    async with banking([]) as (server, bank):
        server.plan(Answer(calls=(FakeCall("fail", {}), FakeCall("refund", {"amount": 1}))), Answer(text="Sorry."))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            await talk.wait_status(Status.REQUIRES_ACTION)
            (call,) = await instance.chats.open_calls(talk.chat_id)
            await instance.chats.deny(talk.chat_id, call.tool_call_id, "too much")
            await talk.wait_ended()
            assert await talk.endings() == [Outcome.ANSWERED]
        sent = [message for message in server.requests[-1].body["messages"] if message["role"] == "tool"]
        assert "broken" in sent[0]["content"]
        assert "too much" in sent[1]["content"]


async def test_a_stop_ends_the_model_call_and_keeps_what_was_written() -> None:
    async with banking([]) as (server, bank):
        server.plan(Answer(text="one two three", stall_after=2, stall_s=FOREVER))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            await talk.wait_preview("one two")
            await talk.interrupt()
            await talk.wait_ended()
            assert await talk.endings() == [Outcome.INTERRUPTED]
            assert (await talk.said())[0].startswith("one two")
        await server.wait_until(lambda: server.requests[0].is_abandoned)


async def test_reasoning_is_shown_and_goes_back_with_its_encrypted_content() -> None:
    async with banking([]) as (server, bank):
        server.plan(Answer(reasoning="hm", calls=(FakeCall("refund", {"amount": 3}),)), Answer(text="Done."))
        bank.model = OpenAIResponsesModel("gpt-5", provider=OpenAIProvider(base_url=server.base_url, api_key="k"))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            await talk.wait_status(Status.REQUIRES_ACTION)
            assert isinstance(thought := (await talk.history())[1][1][0], Reasoning)
            assert thought.text == "hm"
            (call,) = await instance.chats.open_calls(talk.chat_id)
            await instance.chats.approve(talk.chat_id, call.tool_call_id)
            await talk.wait_ended()
        items = [item for item in server.requests[-1].body["input"] if item.get("type") == "reasoning"]
        assert [item["encrypted_content"] for item in items] == [ENCRYPTED]


async def test_an_output_that_is_not_text_is_json() -> None:
    class Order(BaseModel):
        item: str
        count: int

    async with banking([], output_type=Order) as (server, bank):
        server.plan(Answer(calls=(FakeCall("final_result", {"item": "tea", "count": 2}),)))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            assert await talk.said() == ['{"item":"tea","count":2}']


async def test_two_chats_at_once_have_their_own_dependencies() -> None:
    ran: Ran = []
    async with banking(ran) as (server, bank):
        first, second = Answer(calls=(FakeCall("charge", {"amount": 1}),)), Answer(text="ok")
        server._default = lambda seen: second if seen.body["messages"][-1]["role"] == "tool" else first
        async with running(serve(bank, deps=lambda turn: turn.text)) as instance:
            talks = [await ask(instance, name) for name in ("ada", "bob", "eve")]
            for talk in talks:
                await talk.wait_ended()
    assert sorted(ran) == [("ada", 1), ("bob", 1), ("eve", 1)]


def test_a_history_keeps_files_calls_and_results() -> None:
    history = [
        Message(
            id=2,
            role=Role.USER,
            content=(
                Text("see"),
                File("image/png", "aGk="),
                FileReference("a.py", 1, 2, "x"),
                Source("", "https://example.org/", "E"),
            ),
        ),
        Message(id=3, role=Role.ASSISTANT, content=(Reasoning("hm"), Text("so"), ToolCall("c", "add", {"x": 1}))),
        Message(id=4, role=Role.TOOL, content=(ToolResult("c", "add", {"y": 2}, is_error=True),)),
        Message(id=5, role=Role.ASSISTANT, content=()),
        Message(id=6, role=Role.SYSTEM, content=(Text("be brief"),)),
    ]
    first, answer, last = to_model_messages(history)
    assert isinstance(first, m.ModelRequest)
    (prompt,) = first.parts
    assert isinstance(prompt, m.UserPromptPart)
    assert [getattr(piece, "data", piece) for piece in prompt.content] == [
        "see",
        b"hi",
        "a.py, lines 1 to 2:\nx",
        "E https://example.org/",
    ]
    assert [type(part) for part in answer.parts] == [m.ThinkingPart, m.TextPart, m.ToolCallPart]
    result, system = last.parts
    assert isinstance(result, m.ToolReturnPart)
    assert (result.content, result.outcome) == ({"y": 2}, "failed")
    assert isinstance(system, m.SystemPromptPart)


async def test_a_later_turn_sends_the_image_that_a_tool_has_stored() -> None:
    async with FakeModelServer() as server:
        provider = OpenAIProvider(base_url=server.base_url, api_key="k")
        artist: Agent[Turn, Any] = Agent(OpenAIResponsesModel("m", provider=provider), deps_type=Turn)

        @artist.tool
        async def draw(ctx: RunContext[Turn]) -> Any:
            stored = await ctx.deps.store_file(b"\x89PNG\r\n\x1a\n", name="a.png")
            return {"drawn": {"type": "file-reference", "file_id": stored.file_id}}

        server.plan(Answer(calls=(FakeCall("draw", {}),)), Answer(text="Drawn."), Answer(text="Seen."))
        async with running(serve(artist, deps=lambda turn: turn)) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            await talk.send("And?")
            await talk.wait_ended()
            assert (await talk.said())[-1] == "Seen."
        assert [f"base64,{DRAWN}" in str(request.body) for request in server.requests] == [False, False, True]
