"""Graphs of LangGraph, unchanged: tools, approvals, interrupts, stops and crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from antiphon.core.model import Needs, Outcome, Status
from antiphon.core.parts import File, Role, Text, ToolCall
from antiphon.ports import Message
from antiphon.worker.turn import Turn
from worker.running import ask, running

if TYPE_CHECKING:  # imported when the first test of the file runs
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode
    from langgraph.runtime import Runtime
    from langgraph.types import interrupt

    from antiphon.adapters.langchain_history import messages_of
    from antiphon.adapters.langgraph import serve

pytestmark = pytest.mark.anyio

Reply = Callable[["list[AnyMessage]"], "AIMessage"]


def call(name: str, args: dict[str, Any], call_id: str) -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def graph_of(reply: Reply, tools: list[Any], *, asks: bool = False) -> Any:
    """A model node and a tool node. The model streams what `reply` makes of the messages."""

    async def model(state: MessagesState) -> dict[str, Any]:
        said = reply(state["messages"])
        if said.tool_calls:  # the fake model streams none
            return {"messages": [said]}
        answered = await GenericFakeChatModel(messages=iter([said])).ainvoke(state["messages"])
        return {"messages": [answered]}

    async def person(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(f"size {interrupt('Which size?')}")]}

    built = StateGraph(MessagesState)
    built.add_node("model", model)
    built.add_node("tools", ToolNode(tools))
    if asks:
        built.add_node("person", person)
        built.add_edge(START, "person")
        built.add_edge("person", "model")
    else:
        built.add_edge(START, "model")
    built.add_conditional_edges(
        "model", lambda state: "tools" if state["messages"][-1].tool_calls else END, ["tools", END]
    )
    built.add_edge("tools", "model")
    return built.compile()


def paying(ran: list[int]) -> Any:
    @tool
    async def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        return f"paid {amount}"

    return pay


def pay_once(messages: list[AnyMessage]) -> AIMessage:
    results = [message for message in messages if isinstance(message, ToolMessage)]
    if not results:
        return AIMessage("Paying. ", tool_calls=[call("pay", {"amount": 5}, "c1")])
    return AIMessage(f"Done: {results[-1].content}.")


async def test_its_tools_are_committed_before_they_run() -> None:
    ran: list[int] = []
    async with running(serve(graph_of(pay_once, [paying(ran)]))) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["Paying. ", "Done: paid 5."]
        assert [(one.tool_call_id, one.result) for one in await talk.results()] == [("c1", "paid 5")]
        assert ran == [5]


async def test_a_tool_that_needs_approval_waits_for_a_person() -> None:
    ran: list[int] = []
    agent = serve(graph_of(pay_once, [paying(ran)]), needs_approval={"pay"})
    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (waiting,) = await instance.chats.open_calls(talk.chat_id)
        await instance.chats.approve(talk.chat_id, waiting.tool_call_id, args={"amount": 7})
        await talk.wait_ended()
        assert ran == [7]
        assert (await talk.said())[-1].startswith("Done: ")


async def test_an_interrupt_asks_a_person() -> None:
    def reply(messages: list[AnyMessage]) -> AIMessage:
        return AIMessage(f"You chose {messages[-1].content}.")

    async with running(serve(graph_of(reply, [paying([])], asks=True))) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (waiting,) = await instance.chats.open_calls(talk.chat_id)
        assert (waiting.needs, waiting.question) == (Needs.ANSWER, "Which size?")
        await instance.chats.submit_result(talk.chat_id, waiting.tool_call_id, "M", needs=Needs.ANSWER)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "You chose size M."


async def test_a_tool_that_fails_reaches_the_model() -> None:
    @tool
    async def pay(amount: int) -> str:
        """Pay."""
        raise ValueError("no money")

    seen: list[str] = []

    def reply(messages: list[AnyMessage]) -> AIMessage:
        seen.append(str(messages[-1].content))
        return pay_once(messages)

    async with running(serve(graph_of(reply, [pay]))) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert [result.is_error for result in await talk.results()] == [True]
        assert "no money" in seen[-1]


async def test_a_stop_cancels_the_graph() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @tool
    async def pay(amount: int) -> str:
        """Pay."""
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    async with running(serve(graph_of(pay_once, [pay]))) as instance:
        talk = await ask(instance)
        async with asyncio.timeout(10):
            await begun.wait()
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.INTERRUPTED]
        async with asyncio.timeout(10):
            await cancelled.wait()


async def test_two_chats_have_their_own_context() -> None:
    async def answering_node(state: MessagesState, runtime: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"for {runtime.context}")]}

    answering_node.__annotations__["runtime"] = Runtime[Any]
    built: Any = StateGraph(MessagesState, context_schema=str)
    built.add_node("model", answering_node)
    built.add_edge(START, "model")
    agent = serve(built.compile(), context=lambda turn: turn.text)
    async with running(agent) as instance:
        talks = [await ask(instance, name) for name in ("ada", "bob")]
        for talk, name in zip(talks, ("ada", "bob"), strict=True):
            await talk.wait_ended()
            assert await talk.said() == [f"for {name}"]


def test_a_history_keeps_files_and_calls_and_leaves_out_questions() -> None:
    history = [
        Message(id=2, role=Role.USER, content=(Text("see"), File("image/png", "aGk="))),
        Message(id=3, role=Role.ASSISTANT, content=(Text("so"), ToolCall("c", "add", {"x": 1}))),
        Message(id=4, role=Role.USER, content=(Text("and"),)),
        Message(id=5, role=Role.ASSISTANT, content=(ToolCall("q", "ask", {"question": "?"}),)),
    ]
    turn = Turn(None, chat_id="c", turn_id=4, messages=history, system="be brief", model="")  # type: ignore[arg-type]
    system, first, second, third = messages_of(turn, turn.messages, result_images=False)
    assert system.content == "be brief"
    assert first.content[1] == {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    assert isinstance(second, AIMessage)
    assert second.tool_calls[0]["args"] == {"x": 1}
    assert third.content == "and"


def test_a_wrapper_that_cannot_wait_is_refused() -> None:
    built: Any = StateGraph(MessagesState)
    built.add_node("tools", ToolNode([paying([])], wrap_tool_call=lambda request, execute: execute(request)))
    built.add_edge(START, "tools")
    with pytest.raises(TypeError, match="also needs awrap_tool_call"):
        serve(built.compile())
