"""The tools of a graph of LangGraph: calls of its ToolNodes run with `turn.call`."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import msgspec
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from antiphon.adapters.langchain_history import metadata_of
from antiphon.adapters.recorded_calls import RecordedCalls, text_of
from antiphon.worker.tools import RawTool

_current: ContextVar[RecordedCalls | None] = ContextVar("antiphon_calls", default=None)

Execute = Callable[[Any], Awaitable[Any]]
Wrapper = Callable[[Any, Execute], Awaitable[Any]]


async def _record(request: Any, execute: Execute) -> Any:
    """Runs a tool call of a graph with `turn.call`; outside of a turn as the graph itself does."""
    calls, call = _current.get(), request.tool_call
    if calls is None:
        return await execute(request)
    call_id, returned = call["id"] or str(uuid.uuid4()), []

    async def run(args: Any) -> Any:
        returned.append(await execute(request.override(tool_call={**call, "id": call_id, "args": args})))
        return _content_of(returned[0])

    result = await calls.call(call["name"], call["args"], call_id, run, metadata=_metadata_of(request))
    if returned and not result.is_error:
        return returned[0]
    status = "error" if result.is_error else "success"
    return ToolMessage(text_of(result.result), tool_call_id=call_id, name=call["name"], status=status)


def _metadata_of(request: Any) -> dict[str, Any] | None:
    """What the model's message has beside its content, for the first of its calls."""
    messages = request.state.get("messages", ()) if isinstance(request.state, dict) else ()
    answer = messages[-1] if messages else None
    if not isinstance(answer, AIMessage) or answer.tool_calls[:1] != [request.tool_call]:
        return None
    return metadata_of(answer)


def record(node: ToolNode) -> None:
    """Have the node's calls recorded, within its own wrapper (a middleware) if it has one.

    Raises:
        TypeError: The wrapper cannot wait.
    """
    if node._wrap_tool_call is not None and node._awrap_tool_call is None:
        raise TypeError("a ToolNode with wrap_tool_call also needs awrap_tool_call: Antiphon records calls in it")
    if not isinstance(node._awrap_tool_call, Recorder):
        node._awrap_tool_call = Recorder(node._awrap_tool_call)


class Recorder:
    """Runs the tool calls of a ToolNode with `turn.call`, within the node's own wrapper, such as a middleware."""

    def __init__(self, wrapper: Wrapper | None) -> None:
        self._wrapper = wrapper

    async def __call__(self, request: Any, execute: Execute) -> Any:
        if self._wrapper is None:
            return await _record(request, execute)
        return await self._wrapper(request, lambda changed: _record(changed, execute))


def tool_of(
    calls: RecordedCalls, tool: Any, node: ToolNode, *, needs_approval: bool, options: dict[str, Any]
) -> RawTool:
    """A tool of a node for `turn.use_tools`. `options` are those of the graph's run, such as its context."""

    async def execute(args: Any, call_id: str) -> Any:
        """Runs a call that an earlier attempt left, in a graph of its own: only there a tool gets its runtime."""
        graph = StateGraph(MessagesState).add_node("tools", node).set_entry_point("tools").compile()
        call = {"name": tool.name, "args": args, "id": call_id, "type": "tool_call"}
        state = await graph.ainvoke({"messages": [AIMessage("", tool_calls=[call])]}, **options)
        return _content_of(state["messages"][-1])

    return calls.tool(
        tool.name,
        description=tool.description,
        parameters=convert_to_openai_tool(tool)["function"]["parameters"],
        execute=execute,
        needs_approval=needs_approval,
    )


def _content_of(returned: Any) -> Any:
    """What is stored of what a ToolNode has returned. Raises RuntimeError if the tool has failed."""
    if not isinstance(returned, ToolMessage):
        return None  # a command to the graph
    if returned.status == "error":
        raise RuntimeError(str(returned.content))
    return _with_files(returned.content)


def _with_files(content: Any) -> Any:
    """A text that is the JSON of what a tool has returned becomes that value if it names files, so that the result
    names them, too."""
    if not isinstance(content, str) or '"file-reference"' not in content:
        return content
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return content


async def within(calls: RecordedCalls, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The items of a stream, each of which is made while `calls` are the current ones."""
    try:
        while True:
            token = _current.set(calls)
            try:
                item = await anext(stream, None)
            finally:
                _current.reset(token)
            if item is None:
                return
            yield item
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
