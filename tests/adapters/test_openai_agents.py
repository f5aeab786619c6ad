"""Agents of the OpenAI Agents SDK, unchanged, against a scripted model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from antiphon.core.model import Outcome, Status
from antiphon.core.parts import Reasoning
from antiphon.testing.model_server import FOREVER, Answer, FakeCall, FakeModelServer
from antiphon.testing.responses_answers import ENCRYPTED
from worker.running import ask, running

if TYPE_CHECKING:  # imported when the first test of the file runs
    from agents import (
        Agent,
        Handoff,
        LocalShellTool,
        OpenAIChatCompletionsModel,
        OpenAIResponsesModel,
        RunContextWrapper,
        add_trace_processor,
        function_tool,
        handoff,
    )
    from agents.mcp import MCPServer
    from agents.testing import ScriptedModel, assistant_message, function_call
    from agents.tracing import TracingProcessor
    from mcp.types import CallToolResult, TextContent
    from mcp.types import Tool as McpTool
    from openai import AsyncOpenAI

    from antiphon.adapters.openai_agents import serve

pytestmark = pytest.mark.anyio

Ran = list[Any]
APIS = ("chat", "responses")


@asynccontextmanager
async def banking(ran: Ran, api: str = "responses", **options: Any) -> AsyncIterator[tuple[FakeModelServer, Any]]:
    async with FakeModelServer() as server, AsyncOpenAI(base_url=server.base_url, api_key="k") as client:
        model = OpenAIResponsesModel if api == "responses" else OpenAIChatCompletionsModel

        @function_tool
        async def charge(ctx: RunContextWrapper[Any], amount: int) -> str:
            ran.append((ctx.context, amount))
            return f"charged {amount}"

        @function_tool(needs_approval=True)
        def refund(amount: int) -> str:
            ran.append(("refund", amount))
            return f"refunded {amount}"

        @function_tool
        def fail() -> str:
            raise RuntimeError("broken")

        yield (
            server,
            Agent(
                name="bank",
                instructions="You are a bank.",
                model=model("m", openai_client=client),
                tools=[charge, refund, fail],
                **options,
            ),
        )


@pytest.mark.parametrize("api", APIS)
async def test_its_tools_are_committed_before_they_run_and_its_text_before_them(api: str) -> None:
    ran: Ran = []
    async with banking(ran, api) as (server, bank):
        server.plan(Answer(text="Charging. ", calls=(FakeCall("charge", {"amount": 5}),)), Answer(text="Done."))
        async with running(serve(bank, context=lambda turn: f"chat {turn.turn_id}")) as instance:
            talk = await ask(instance)
            chat = await talk.wait_ended()
            assert await talk.said() == ["Charging. ", "Done."]
            assert [result.result for result in await talk.results()] == ["charged 5"]
            assert chat.usage.input_tokens == 20
        assert ran == [("chat 2", 5)]


async def test_a_tool_that_needs_approval_waits_and_the_run_continues_from_the_history() -> None:
    ran: Ran = []
    async with banking(ran) as (server, bank):
        calls = (FakeCall("charge", {"amount": 5}), FakeCall("refund", {"amount": 700}))
        server.plan(Answer(calls=calls), Answer(text="All done."))
        async with running(serve(bank, context=lambda turn: "ada")) as instance:
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
            assert [result.is_error for result in await talk.results()] == [True, True]
        outputs = [item["output"] for item in server.requests[-1].body["input"] if "output" in item]
        assert (
            "An error occurred while running the tool" in outputs[0]
        )  # the SDK's own words, without the exception's
        assert "too much" in outputs[1]


async def test_whether_a_call_needs_approval_may_depend_on_its_arguments() -> None:
    ran: Ran = []

    async def is_large(context: Any, args: dict[str, Any], call_id: str) -> bool:
        return bool(args["amount"] > 100)

    async with banking(ran) as (server, bank):
        bank.tools[1].needs_approval = is_large
        calls = (FakeCall("refund", {"amount": 7}), FakeCall("refund", {"amount": 700}))
        server.plan(Answer(calls=calls), Answer(text="All done."))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            await talk.wait_status(Status.REQUIRES_ACTION)
            assert ran == [("refund", 7)]
            (call,) = await instance.chats.open_calls(talk.chat_id)
            await instance.chats.approve(talk.chat_id, call.tool_call_id)
            await talk.wait_ended()
        assert ran == [("refund", 7), ("refund", 700)]


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


async def test_a_handoff_is_stored_and_the_other_agent_answers() -> None:
    ran: Ran = []
    async with banking(ran) as (server, bank):
        triage = Agent(name="triage", model=bank.model, handoffs=[bank])
        bank.handoffs = [handoff(triage, tool_name_override="back")]  # agents may hand off in a circle
        server.plan(
            Answer(text="Moment. ", calls=(FakeCall("transfer_to_bank", {}),)),
            Answer(calls=(FakeCall("refund", {"amount": 3}),)),
            Answer(text="Refunded."),
        )
        async with running(serve(triage)) as instance:
            talk = await ask(instance)
            await talk.wait_status(Status.REQUIRES_ACTION)
            (call,) = await instance.chats.open_calls(talk.chat_id)
            await instance.chats.approve(talk.chat_id, call.tool_call_id)
            await talk.wait_ended()
            assert await talk.said() == ["Moment. ", "", "Refunded."]
            assert [one.result for one in await talk.results()] == [{"assistant": "bank"}, "refunded 3"]
        assert ran == [("refund", 3)]
        assert [request.body.get("instructions") for request in server.requests] == [None, *["You are a bank."] * 2]


async def test_the_text_of_an_agent_that_is_a_tool_is_a_result_and_not_the_answer() -> None:
    ran: Ran = []
    async with banking(ran) as (server, bank):
        bank.tools = bank.tools[:1]
        boss = Agent(name="boss", model=bank.model, tools=[bank.as_tool("ask_bank", "Asks the bank.")])
        server.plan(
            Answer(text="I ask. ", calls=(FakeCall("ask_bank", {"input": "charge 5"}),)),
            Answer(text="hidden", calls=(FakeCall("charge", {"amount": 5}),)),
            Answer(text="the bank's words"),
            Answer(text="It is done."),
        )
        async with running(serve(boss, context=lambda turn: "ada")) as instance:
            talk = await ask(instance)
            chat = await talk.wait_ended()
            assert await talk.said() == ["I ask. ", "It is done."]
            assert [one.result for one in await talk.results()] == ["the bank's words"]
            assert chat.usage.input_tokens == 40, "the nested agent's tokens are counted"
        assert ran == [("ada", 5)]


async def test_an_approval_inside_of_a_nested_agent_and_a_local_tool_are_refused() -> None:
    async with banking([]) as (_, bank):
        boss = Agent(name="boss", tools=[bank.as_tool("ask_bank", "Asks the bank.")])
        with pytest.raises(TypeError, match=r"refund needs an approval, .* hand off to bank instead"):
            serve(boss)
    with pytest.raises(TypeError, match="LocalShellTool runs in this process"):
        serve(Agent(name="shell", tools=[LocalShellTool(executor=lambda request: "")]))


async def test_reasoning_is_shown_and_goes_back_with_its_encrypted_content() -> None:
    async with banking([]) as (server, bank):
        server.plan(Answer(reasoning="hm", calls=(FakeCall("refund", {"amount": 3}),)), Answer(text="Done."))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            await talk.wait_status(Status.REQUIRES_ACTION)
            (call,) = await instance.chats.open_calls(talk.chat_id)
            await instance.chats.approve(talk.chat_id, call.tool_call_id)
            await talk.wait_ended()
            assert Reasoning("hm") in (await talk.history())[1][1]
        items = [item["type"] for item in server.requests[-1].body["input"]]
        assert items == ["message", "reasoning", "function_call", "function_call_output"]
        assert server.requests[-1].body["input"][1]["encrypted_content"] == ENCRYPTED


async def test_nothing_is_traced() -> None:
    class Traces(TracingProcessor):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_trace_start(self, trace: Any) -> None:
            self.seen.append(trace)

        def on_trace_end(self, trace: Any) -> None: ...
        def on_span_start(self, span: Any) -> None:
            self.seen.append(span)

        def on_span_end(self, span: Any) -> None: ...
        def shutdown(self) -> None: ...
        def force_flush(self) -> None: ...

    traces = Traces()
    add_trace_processor(traces)
    async with banking([]) as (server, bank):
        server.plan(Answer(calls=(FakeCall("charge", {"amount": 5}),)), Answer(text="Done."))
        async with running(serve(bank)) as instance:
            await (await ask(instance)).wait_ended()
    assert len(server.requests) == 2
    assert traces.seen == []


async def test_two_chats_at_once_have_their_own_context() -> None:
    ran: Ran = []
    async with banking(ran) as (server, bank):
        first, second = Answer(calls=(FakeCall("charge", {"amount": 1}),)), Answer(text="ok")
        server._default = lambda seen: second if "output" in seen.body["input"][-1] else first
        async with running(serve(bank, context=lambda turn: turn.text)) as instance:
            talks = [await ask(instance, name) for name in ("ada", "bob", "eve")]
            for talk in talks:
                await talk.wait_ended()
    assert sorted(ran) == [("ada", 1), ("bob", 1), ("eve", 1)]


async def test_a_result_that_ends_the_run_is_the_answer() -> None:
    async with banking([], tool_use_behavior="stop_on_first_tool") as (server, bank):
        server.plan(Answer(text="So: ", calls=(FakeCall("charge", {"amount": 5}),)))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            assert await talk.said() == ["So: ", "charged 5"]


async def test_a_model_that_does_not_stream_is_read_whole() -> None:
    model = ScriptedModel([[function_call("fail", "{}", call_id="c")], [assistant_message("All done.")]])

    @function_tool
    def fail() -> str:
        raise RuntimeError("broken")

    async with running(serve(Agent(name="a", model=model, tools=[fail]))) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "All done."


async def test_a_stop_cancels_a_tool() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @function_tool
    async def wait() -> str:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    async with banking([]) as (server, bank):
        bank.tools = [wait]
        server.plan(Answer(calls=(FakeCall("wait", {}),)))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            async with asyncio.timeout(10):
                await begun.wait()
            await talk.interrupt()
            await talk.wait_ended()
            assert await talk.endings() == [Outcome.INTERRUPTED]
            async with asyncio.timeout(10):
                await cancelled.wait()


def till(ran: Ran) -> MCPServer:
    """An MCP server in this process."""

    class Till(MCPServer):
        @property
        def name(self) -> str:
            return "till"

        async def list_tools(self, *given: Any) -> list[Any]:
            return [McpTool(name="open_till", input_schema={"type": "object", "properties": {}})]

        async def call_tool(self, tool_name: str, arguments: Any, *given: Any) -> Any:
            ran.append(tool_name)
            return CallToolResult(content=[TextContent(type="text", text="open")])

        async def connect(self) -> None: ...
        async def cleanup(self) -> None: ...
        async def list_prompts(self) -> Any: ...
        async def get_prompt(self, name: str, arguments: Any = None) -> Any: ...

    return Till()


async def test_the_tools_of_mcp_servers_are_recorded() -> None:
    ran: Ran = []
    async with banking([], mcp_servers=[till(ran)]) as (server, bank):
        server.plan(Answer(calls=(FakeCall("open_till", {}),)), Answer(text="Open."))
        async with running(serve(bank)) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            assert [one.tool_name for one in await talk.results()] == ["open_till"]
            assert (await talk.said())[-1] == "Open."
    assert ran == ["open_till"]


async def test_a_handoff_that_cannot_be_followed_is_refused() -> None:
    async def invoke(context: Any, text: str) -> Any: ...

    made = Handoff("go", "Goes.", {}, invoke, "somewhere")
    with pytest.raises(TypeError, match=r"make a handoff with handoff\(agent\)"):
        serve(Agent(name="a", handoffs=[made]))
