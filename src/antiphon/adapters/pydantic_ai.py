"""A pydantic-ai agent as an agent of Antiphon: `agent = serve(my_agent)`.

Its tools run with `turn.call`: each call is committed before it runs, runs at most once, and can be approved
(`requires_approval=True`). After a crash the agent continues from the committed history.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from pydantic_ai import Agent, AgentRunResultEvent, RunContext
from pydantic_ai import messages as m
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.toolsets import CombinedToolset
from pydantic_ai.usage import RunUsage

from antiphon.adapters.pydantic_ai_answer import Piece, PydanticAnswer
from antiphon.adapters.pydantic_ai_history import to_model_messages
from antiphon.adapters.pydantic_ai_tools import RecordedToolset
from antiphon.adapters.recorded_calls import RecordedCalls
from antiphon.adapters.usage_meter import UsageMeter
from antiphon.worker.turn import Turn

Deps = Callable[[Turn], Any]


def serve(agent: Agent[Any, Any], *, deps: Deps | None = None) -> Callable[[Turn], AsyncIterator[Piece]]:
    """The agent as a function for `antiphon serve` and `open_instance`.

    Args:
        agent: A pydantic-ai agent, unchanged.
        deps: Makes the dependencies of a turn's run. Default: None.

    Returns:
        A function agent.
    """

    async def run(turn: Turn) -> AsyncIterator[Piece]:
        made = deps(turn) if deps is not None else None
        meter = UsageMeter(turn)

        def report(usage: RunUsage) -> None:
            names = ("input_tokens", "output_tokens", "cache_read_tokens")
            meter.report(**{name: getattr(usage, name) for name in names})

        toolset = RecordedToolset(CombinedToolset(agent.toolsets), RecordedCalls(turn), report)
        model = agent.model if not isinstance(agent.model, str) else None
        ctx = RunContext(deps=made, model=model, usage=RunUsage(), agent=agent)  # type: ignore[arg-type]
        await turn.use_tools(*await toolset.tools_of(ctx))
        history = to_model_messages(await turn.load_files())
        options: dict[str, Any] = {"instructions": turn.system or None, "capabilities": [ReinjectSystemPrompt()]}
        async with agent.run_stream_events(None, message_history=history, deps=made, **options) as events:
            iterator = aiter(events)
            with agent.override(toolsets=[toolset], tools=[]):  # the run's task copies it when it starts
                event = await anext(iterator, None)
            answer = PydanticAnswer(toolset.metadata)
            while event is not None:
                if isinstance(event, m.PartStartEvent) and event.index == 0:
                    await turn.start_call(model=turn.model)
                elif isinstance(event, AgentRunResultEvent):
                    report(event.result.usage)
                for piece in answer.pieces_of(event):
                    yield piece
                event = await anext(iterator, None)

    return run
