"""A chat model of LangChain with tools, or an agent of `create_agent`, as an agent of Antiphon.

    agent = serve("openai:gpt-5", tools=[pay])
    agent = serve(create_agent("openai:gpt-5", tools=[pay]))

It is a graph of LangGraph, so `antiphon.adapters.langgraph` serves it: its tools run with `turn.call`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langgraph.pregel import Pregel

from antiphon.adapters.langgraph import Piece
from antiphon.adapters.langgraph import serve as serve_graph
from antiphon.worker.turn import Turn


def serve(
    model: str | BaseChatModel | Pregel[Any, Any, Any, Any],
    *,
    tools: Sequence[Any] = (),
    context: Callable[[Turn], Any] | None = None,
    needs_approval: Collection[str] = (),
    result_images: bool | None = None,
    **options: Any,
) -> Callable[[Turn], AsyncIterator[Piece]]:
    """The model or agent as a function for `antiphon serve` and `open_instance`.

    Args:
        model: A chat model, its name as `create_agent` accepts it, or what `create_agent` has returned.
        tools: The tools of a model, as `create_agent` accepts them.
        context: Makes the context of a turn's run (its dependencies), which tools get as `runtime.context`. Default:
            none.
        needs_approval: The names of the tools whose calls a person must approve.
        result_images: Whether the model takes images in a `ToolMessage`. Default: as the profile of a chat model says
            (`image_tool_message`); an agent of `create_agent`: no.
        options: Other options of `create_agent` for a model, such as `system_prompt` and `middleware`.

    Returns:
        A function agent.

    Raises:
        TypeError: An agent is given with tools or options, or the model has tools bound to it: Antiphon could not run
            their functions.
    """
    if isinstance(model, Pregel):
        if tools or options:
            raise TypeError("an agent of create_agent has its tools and options already: give them to create_agent")
        return serve_graph(model, context=context, needs_approval=needs_approval, result_images=bool(result_images))
    if not isinstance(model, str | BaseChatModel):
        raise TypeError(
            f"give a chat model and serve(model, tools=[…]), which binds them, not {type(model).__name__}"
        )
    chat_model = init_chat_model(model) if isinstance(model, str) else model
    if result_images is None:
        result_images = bool((chat_model.profile or {}).get("image_tool_message"))
    agent = create_agent(chat_model, list(tools), **options)
    return serve_graph(agent, context=context, needs_approval=needs_approval, result_images=result_images)
