"""A compiled graph of LangGraph (also `create_agent` of LangChain) as an agent of Antiphon: `agent = serve(graph)`.

The tools of its ToolNodes run with `turn.call`: each call is committed before it runs and runs at most once.
`interrupt(value)` asks a person. After a crash or an answer the graph starts again with the committed history.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Interrupt

from antiphon.adapters.langchain_answer import LangChainAnswer
from antiphon.adapters.langchain_history import messages_of
from antiphon.adapters.langgraph_tools import record, tool_of, within
from antiphon.adapters.recorded_calls import RecordedCalls, text_of
from antiphon.core.parts import PartMetadata, Reasoning
from antiphon.worker.turn import Turn

Piece = str | Reasoning | PartMetadata


def serve(
    graph: Any,
    *,
    context: Callable[[Turn], Any] | None = None,
    needs_approval: Collection[str] = (),
    result_images: bool = False,
) -> Callable[[Turn], AsyncIterator[Piece]]:
    """The graph as a function for `antiphon serve` and `open_instance`.

    Args:
        graph: A compiled graph whose state has `messages`.
        context: Makes the graph's `context` of a turn (its dependencies). Default: none.
        needs_approval: The names of the tools whose calls a person must approve.
        result_images: Whether the graph's models take images in a `ToolMessage`. If not, results only name the images
            that tools have stored.

    Returns:
        A function agent.

    Raises:
        TypeError: A ToolNode has a wrapper that cannot wait.
    """
    nodes = {name: node.bound for name, node in graph.nodes.items() if isinstance(node.bound, ToolNode)}
    for node in nodes.values():
        record(node)
    tools = [(tool, node) for node in nodes.values() for tool in node.tools_by_name.values()]

    async def agent(turn: Turn) -> AsyncIterator[Piece]:
        calls = RecordedCalls(turn)
        options = {"context": context(turn)} if context is not None else {}
        await turn.use_tools(
            *(
                tool_of(calls, tool, node, needs_approval=tool.name in needs_approval, options=options)
                for tool, node in tools
            )
        )
        answer = LangChainAnswer(turn)
        durable = graph.copy(update={"checkpointer": InMemorySaver()})
        config = {"configurable": {"thread_id": turn.chat_id}}
        given: Any = {"messages": messages_of(turn, await turn.load_files(), result_images=result_images)}
        while given is not None:
            interrupts: list[Interrupt] = []
            stream = durable.astream(given, config, stream_mode=["messages", "updates"], **options)
            async for mode, data in within(calls, stream):
                if mode == "updates":
                    interrupts += data.get("__interrupt__", ()) if isinstance(data, dict) else ()
                elif data[1].get("langgraph_node") not in nodes:
                    for piece in answer.pieces_of(data[0]):
                        yield piece
            answers = {one.id: await turn.ask(text_of(one.value)) for one in interrupts}
            given = Command(resume=answers) if answers else None

    return agent
