"""Chat models of LangChain with tools, and agents of `create_agent`, against a scripted model server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from antiphon import Turn
from antiphon.core.model import Status
from antiphon.core.parts import Reasoning
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer
from antiphon.testing.responses_answers import ENCRYPTED
from worker.running import ask, running

if TYPE_CHECKING:  # imported when the first test of the file runs
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware
    from langchain.tools import ToolRuntime, tool
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    from antiphon.adapters.langchain import serve

pytestmark = pytest.mark.anyio

Ran = list[Any]


@asynccontextmanager
async def banking(ran: Ran, **options: Any) -> AsyncIterator[tuple[FakeModelServer, ChatOpenAI, list[Any]]]:
    @tool
    async def charge(amount: int, runtime: ToolRuntime[Any]) -> str:
        """Charge a card."""
        ran.append((runtime.context, amount))
        return f"charged {amount}"

    @tool
    async def refund(amount: int) -> str:
        """Refund an amount."""
        ran.append(("refund", amount))
        return f"refunded {amount}"

    async with FakeModelServer() as server:
        model = ChatOpenAI(model="m", base_url=server.base_url, api_key=SecretStr("k"), stream_usage=True, **options)
        yield server, model, [charge, refund]


async def test_the_tools_of_a_model_are_committed_before_they_run_and_run_concurrently() -> None:
    ran: Ran = []
    async with banking(ran) as (server, model, tools):
        calls = (FakeCall("charge", {"amount": 5}), FakeCall("refund", {"amount": 1}))
        server.plan(Answer(text="Charging. ", calls=calls), Answer(text="Done."))
        agent = serve(model, tools=tools, context=lambda turn: "ada", system_prompt="You are a bank.")
        async with running(agent) as instance:
            talk = await ask(instance)
            chat = await talk.wait_ended()
            assert await talk.said() == ["Charging. ", "Done."], "parallel calls are of one message"
            assert chat.usage.input_tokens == 20
        assert sorted(ran) == [("ada", 5), ("refund", 1)]
        assert server.requests[0].body["messages"][0] == {"role": "system", "content": "You are a bank."}
        assert {one["function"]["name"] for one in server.requests[0].body["tools"]} == {"charge", "refund"}


async def test_an_approved_call_gets_its_context_in_the_next_attempt() -> None:
    ran: Ran = []
    async with banking(ran) as (server, model, tools):
        server.plan(Answer(calls=(FakeCall("charge", {"amount": 700}),)), Answer(text="All done."))
        agent = serve(model, tools=tools, context=lambda turn: "ada", needs_approval={"charge"})
        async with running(agent) as instance:
            talk = await ask(instance)
            await talk.wait_status(Status.REQUIRES_ACTION)
            (call,) = await instance.chats.open_calls(talk.chat_id)
            await instance.chats.approve(talk.chat_id, call.tool_call_id, args={"amount": 7})
            await talk.wait_ended()
            assert (await talk.said())[-1] == "All done."
        assert ran == [("ada", 7)]
        assert len(server.requests) == 2, "no answer was paid for twice"


async def test_a_middleware_runs_around_the_recorded_call() -> None:
    class Doubling(AgentMiddleware):
        """Changes the arguments of a call."""

        async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
            call = request.tool_call
            return await handler(request.override(tool_call={**call, "args": {"amount": 2 * call["args"]["amount"]}}))

    ran: Ran = []
    async with banking(ran) as (server, model, tools):
        server.plan(Answer(calls=(FakeCall("refund", {"amount": 4}),)), Answer(text="Done."))
        async with running(serve(create_agent(model, tools, middleware=[Doubling()]))) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            assert [one.result for one in await talk.results()] == ["refunded 8"]
        assert ran == [("refund", 8)]


async def test_reasoning_is_shown_and_goes_back_with_its_encrypted_content() -> None:
    async with banking([], use_responses_api=True) as (server, model, tools):
        server.plan(Answer(reasoning="hm", calls=(FakeCall("refund", {"amount": 3}),)), Answer(text="Done."))
        async with running(serve(model, tools=tools, needs_approval={"refund"})) as instance:
            talk = await ask(instance)
            await talk.wait_status(Status.REQUIRES_ACTION)
            _, (_, said) = await talk.history()
            assert isinstance(said[0], Reasoning)
            assert said[0].text == "hm"
            (call,) = await instance.chats.open_calls(talk.chat_id)
            await instance.chats.approve(talk.chat_id, call.tool_call_id)
            await talk.wait_ended()
        items = server.requests[-1].body["input"]
        assert [item.get("type", "message") for item in items] == [
            "message",
            "reasoning",
            "function_call",
            "function_call_output",
        ]
        assert items[1]["encrypted_content"] == ENCRYPTED


async def test_what_could_not_run_is_refused() -> None:
    async with banking([]) as (_, model, tools):
        with pytest.raises(TypeError, match="has its tools and options already"):
            serve(create_agent(model, tools), tools=tools)
        with pytest.raises(TypeError, match="which binds them"):
            serve(model.bind_tools(tools))  # type: ignore[arg-type]


@pytest.mark.parametrize("takes_images", [True, False])
async def test_a_later_turn_sends_the_image_of_a_tool_if_the_profile_of_the_model_says_so(takes_images: bool) -> None:
    @tool
    async def draw(runtime: ToolRuntime[Turn]) -> dict[str, Any]:
        """Draw."""
        stored = await runtime.context.store_file(b"\x89PNG\r\n\x1a\n", name="a.png")
        return {"type": "file-reference", "file_id": stored.file_id}

    async with banking([], profile={"image_tool_message": takes_images}) as (server, model, _):
        server.plan(Answer(calls=(FakeCall("draw", {}),)), Answer(text="Drawn."), Answer(text="Seen."))
        async with running(serve(model, tools=[draw], context=lambda turn: turn)) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            await talk.send("And?")
            await talk.wait_ended()
            assert (await talk.said())[-1] == "Seen."
        assert ["base64," in str(request.body) for request in server.requests] == [False, False, takes_images]
