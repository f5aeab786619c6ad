"""The tools of a pydantic-ai agent: their calls run with `turn.call`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset
from pydantic_ai.usage import RunUsage

from antiphon.adapters.recorded_calls import RecordedCalls, plain, text_of
from antiphon.worker.tools import RawTool


@dataclass
class RecordedToolset(WrapperToolset[Any]):
    """Runs the tools of another toolset with `turn.call`. A run makes copies of it, which share its values."""

    calls: RecordedCalls
    report: Callable[[RunUsage], None]
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is stored with a call, by its id."""

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """The tools, none of which pydantic-ai itself waits to be approved."""
        tools = await super().get_tools(ctx)
        for tool in tools.values():
            if tool.tool_def.kind == "unapproved":
                tool.tool_def.kind = "function"
        return tools

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: Any) -> Any:
        async def execute(args: Any) -> Any:
            is_same = plain(tool_args) == args  # else a person has changed them
            given = tool_args if is_same else tool.args_validator.validate_python(args)
            return await self.wrapped.call_tool(name, given, ctx, tool)

        self.report(ctx.usage)
        call_id = ctx.tool_call_id or ""
        result = await self.calls.call(name, tool_args, call_id, execute, metadata=self.metadata.get(call_id))
        if result.is_error:
            raise ToolFailed(text_of(result.result))
        return result.result

    async def tools_of(self, ctx: RunContext[Any]) -> list[RawTool]:
        """The tools for `turn.use_tools`."""

        def make(name: str, tool: ToolsetTool[Any]) -> RawTool:
            async def execute(args: Any, call_id: str) -> Any:
                return await self.wrapped.call_tool(name, tool.args_validator.validate_python(args), ctx, tool)

            return self.calls.tool(
                name,
                description=tool.tool_def.description or "",
                parameters=tool.tool_def.parameters_json_schema,
                execute=execute,
                needs_approval=tool.tool_def.kind == "unapproved",
            )

        return [make(name, tool) for name, tool in (await self.wrapped.get_tools(ctx)).items()]
