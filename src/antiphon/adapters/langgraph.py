"""A compiled graph of LangGraph (also `create_agent` of LangChain) as an agent of Antiphon: `agent = serve(graph)`.

The tools of its ToolNodes run with `turn.call`: each call is committed before it runs and runs at most once.
`interrupt(value)` asks a person. After a crash or an answer the graph starts again with the committed history.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextvars import ContextVar
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Interrupt

from antiphon.adapters.langchain_history import messages_of, pieces_of, plain
from antiphon.core.parts import Reasoning
from antiphon.worker.tools import RawTool, ToolContext
from antiphon.worker.turn import ToolCall, Turn

_current: ContextVar[_Run | None] = ContextVar("antiphon_run", default=None)


class _Run:
    """One run of a graph: its turn, and how the calls that the graph is making are executed."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.live: dict[str, Callable[[Any], Awaitable[Any]]] = {}
        self.returned: dict[str, Any] = {}

    def tool_of(self, tool: Any, *, needs_approval: bool) -> RawTool:
        async def run(args: Any, context: ToolContext) -> Any:
            execute = self.live.get(context.tool_call_id)
            if execute is None:  # an earlier attempt left the call
                return plain(await tool.ainvoke(args))
            returned = self.returned[context.tool_call_id] = await execute(args)
            if isinstance(returned, ToolMessage):
                if returned.status == "error":
                    raise RuntimeError(str(returned.content))
                return plain(returned.content)
            return None

        schema = tool.get_input_schema().model_json_schema() if tool.args_schema is not None else {"type": "object"}
        return RawTool(
            name=tool.name,
            description=tool.description,
            parameters=schema,
            function=run,
            needs_approval=needs_approval,
        )


async def _record(request: Any, execute: Callable[[Any], Awaitable[Any]]) -> Any:
    """Runs a tool call of a graph with `turn.call`; outside of a turn as the graph itself does."""
    run, call = _current.get(), request.tool_call
    if run is None:
        return await execute(request)
    call_id = call["id"] or str(uuid.uuid4())
    run.live[call_id] = lambda args: execute(request.override(tool_call={**call, "id": call_id, "args": args}))
    result = await run.turn.call(ToolCall(call["name"], plain(call["args"]), call_id))
    returned = run.returned.get(call_id)
    if returned is not None and not result.is_error:
        return returned
    content = result.result if isinstance(result.result, str) else str(plain(result.result))
    status = "error" if result.is_error else "success"
    return ToolMessage(content=content, tool_call_id=call_id, name=call["name"], status=status)


def serve(
    graph: Any, *, context: Callable[[Turn], Any] | None = None, needs_approval: Collection[str] = ()
) -> Callable[[Turn], AsyncIterator[str | Reasoning]]:
    """The graph as a function for `antiphon serve` and `open_instance`.

    Args:
        graph: A compiled graph whose state has `messages`.
        context: Makes the graph's `context` of a turn (its dependencies). Default: none.
        needs_approval: The names of the tools whose calls a person must approve.

    Returns:
        A function agent.
    """
    nodes = {name: node.bound for name, node in graph.nodes.items() if isinstance(node.bound, ToolNode)}
    for node in nodes.values():
        node._awrap_tool_call = node._awrap_tool_call or _record
    tools = [tool for node in nodes.values() for tool in node.tools_by_name.values()]

    async def agent(turn: Turn) -> AsyncIterator[str | Reasoning]:
        run = _Run(turn)
        await turn.use_tools(*(run.tool_of(tool, needs_approval=tool.name in needs_approval) for tool in tools))
        durable = graph.copy(update={"checkpointer": InMemorySaver()})
        options: dict[str, Any] = {"config": {"configurable": {"thread_id": turn.chat_id}}}
        if context is not None:
            options["context"] = context(turn)
        given: Any = {"messages": messages_of(turn, await turn.load_files())}
        while given is not None:
            interrupts: list[Interrupt] = []
            stream = durable.astream(given, stream_mode=["messages", "updates"], **options)
            async for mode, data in _within(run, stream):
                if mode == "updates":
                    interrupts += data.get("__interrupt__", ()) if isinstance(data, dict) else ()
                elif data[1].get("langgraph_node") not in nodes:
                    for piece in pieces_of(data[0], turn):
                        yield piece
            answers = {one.id: await turn.ask(_question(one.value)) for one in interrupts}
            given = Command(resume=answers) if answers else None

    return agent


async def _within(run: _Run, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The items of a stream, each of which is made while `run` is the current one."""
    try:
        while True:
            token = _current.set(run)
            try:
                item = await anext(stream, None)
            finally:
                _current.reset(token)
            if item is None:
                return
            yield item
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


def _question(value: Any) -> str:
    return value if isinstance(value, str) else str(plain(value))
