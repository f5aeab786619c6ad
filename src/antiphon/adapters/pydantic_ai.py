"""A pydantic-ai agent as an agent of Antiphon: `agent = serve(my_agent)`.

Its tools run with `turn.call`: each call is committed before it runs, runs at most once, and can be approved
(`requires_approval=True`). After a crash the agent continues from the committed history.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_ai import Agent, AgentRunResultEvent, RunContext
from pydantic_ai import messages as m
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.toolsets import CombinedToolset, ToolsetTool, WrapperToolset
from pydantic_ai.usage import RunUsage
from pydantic_core import to_json, to_jsonable_python

from antiphon.adapters.pydantic_ai_history import model_messages
from antiphon.core.parts import Reasoning
from antiphon.worker.tools import RawTool, ToolContext
from antiphon.worker.turn import ToolCall, Turn

Deps = Callable[[Turn], Any]


@dataclass
class RecordedToolset(WrapperToolset[Any]):
    """Runs the tools of another toolset with `turn.call`."""

    turn: Turn
    live: dict[str, tuple[dict[str, Any], RunContext[Any]]] = field(default_factory=dict)
    reported: list[RunUsage] = field(default_factory=lambda: [RunUsage()])
    """What was reported last; `live` and this are shared by the copies that a run makes of the toolset."""

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """The tools, none of which pydantic-ai itself waits to be approved."""
        tools = await super().get_tools(ctx)
        for tool in tools.values():
            if tool.tool_def.kind == "unapproved":
                tool.tool_def.kind = "function"
        return tools

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: Any) -> Any:
        call_id = ctx.tool_call_id or ""
        self.live[call_id] = (tool_args, ctx)
        self.report(ctx.usage)
        result = await self.turn.call(ToolCall(name, to_jsonable_python(tool_args), call_id))
        if result.is_error:
            raise ToolFailed(to_json(result.result).decode())
        return result.result

    def report(self, usage: RunUsage) -> None:
        """Add what the run has used since the last report to the turn's usage."""
        before, self.reported[0] = self.reported[0], replace(usage)
        self.turn.add_usage(
            input_tokens=usage.input_tokens - before.input_tokens,
            output_tokens=usage.output_tokens - before.output_tokens,
            cache_read_tokens=usage.cache_read_tokens - before.cache_read_tokens or None,
        )

    async def tools_of(self, ctx: RunContext[Any]) -> list[RawTool]:
        """The tools as Antiphon runs them: within the run, or for a call that an earlier attempt left."""
        found = await self.wrapped.get_tools(ctx)

        def make(name: str, tool: ToolsetTool[Any]) -> RawTool:
            async def run(args: Any, context: ToolContext) -> Any:
                given, run_ctx = self.live.get(context.tool_call_id, (None, ctx))
                if given is None or to_jsonable_python(given) != args:  # of an earlier attempt, or set by a person
                    given = tool.args_validator.validate_python(args)
                return to_jsonable_python(await self.wrapped.call_tool(name, given, run_ctx, tool))

            definition = tool.tool_def
            needs_approval = definition.kind == "unapproved"
            return RawTool(
                name=name,
                description=definition.description or "",
                parameters=definition.parameters_json_schema,
                function=run,
                needs_approval=needs_approval,
            )

        return [make(name, tool) for name, tool in found.items()]


def serve(agent: Agent[Any, Any], *, deps: Deps | None = None) -> Callable[[Turn], AsyncIterator[str | Reasoning]]:
    """The agent as a function for `antiphon serve` and `open_instance`.

    Args:
        agent: A pydantic-ai agent, unchanged.
        deps: Makes the dependencies of a turn's run. Default: None.

    Returns:
        A function agent.
    """

    async def run(turn: Turn) -> AsyncIterator[str | Reasoning]:
        made = deps(turn) if deps is not None else None
        toolset = RecordedToolset(CombinedToolset(agent.toolsets), turn)
        model = agent.model if not isinstance(agent.model, str) else None
        ctx = RunContext(deps=made, model=model, usage=RunUsage(), agent=agent)  # type: ignore[arg-type]
        await turn.use_tools(*await toolset.tools_of(ctx))
        history = model_messages(await turn.load_files())
        options: dict[str, Any] = {"instructions": turn.system or None, "capabilities": [ReinjectSystemPrompt()]}
        async with agent.run_stream_events(None, message_history=history, deps=made, **options) as events:
            iterator = aiter(events)
            with agent.override(toolsets=[toolset], tools=[]):  # the run's task copies it when it starts
                event = await anext(iterator, None)
            has_text = False
            while event is not None:
                if isinstance(event, m.PartStartEvent) and event.index == 0:
                    await turn.start_call(model=turn.model)
                elif isinstance(event, AgentRunResultEvent):
                    toolset.report(event.result.usage)
                for piece in _pieces_of(event, has_text=has_text):
                    has_text = has_text or isinstance(piece, str)
                    yield piece
                event = await anext(iterator, None)

    return run


def _pieces_of(event: Any, *, has_text: bool) -> Sequence[str | Reasoning]:
    """What an event adds to the answer. An output that is not text comes whole, as JSON."""
    match event:
        case m.PartStartEvent(part=m.TextPart(content=text)) if text:
            return [text]
        case m.PartDeltaEvent(delta=m.TextPartDelta(content_delta=text)):
            return [text]
        case m.PartStartEvent(part=m.ThinkingPart(content=text)) if text:
            return [Reasoning(text)]
        case m.PartDeltaEvent(delta=m.ThinkingPartDelta(content_delta=text)) if text:
            return [Reasoning(text)]
        case AgentRunResultEvent(result=result) if not isinstance(result.output, str):
            return [to_json(result.output).decode()]
        case AgentRunResultEvent(result=result) if result.output and not has_text:
            return [result.output]
    return []
