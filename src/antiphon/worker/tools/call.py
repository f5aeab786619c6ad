"""One call of a tool, and the result it comes to whatever the tool does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from antiphon.core.parts import ToolCall, ToolResult
from antiphon.errors import Refused
from antiphon.worker.tools.tool import Tool, ToolContext

SENTENCE_MAX = 2000
"""Of a tool's own error, so much is told."""

log = structlog.get_logger(__name__)


async def result_of(part: ToolCall, tools: Mapping[str, Tool], context: ToolContext, *, tool_s: float) -> ToolResult:
    """Run the call. What goes wrong is a result, too: unknown_tool, invalid_args, timeout or failed."""
    tool = tools.get(part.tool_name)
    if tool is None:
        names = ", ".join(sorted(tools)) or "none"
        return _error(part, "unknown_tool", f"There is no tool {part.tool_name!r}. There are: {names}.")
    limit_s = tool.timeout_s or tool_s
    try:
        async with asyncio.timeout(limit_s) as limit:
            value = await tool.run(part.args, context)
    except Refused as error:
        return _error(part, "invalid_args", str(error))
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        if is_cancelled(error):
            raise
        if limit.expired():
            return _error(part, "timeout", f"The tool took longer than {limit_s:g} s.")
        log.warning("tool_failed", chat_id=context.chat_id, tool=part.tool_name, error=type(error).__name__)
        return _error(part, "failed", f"{type(error).__name__}: {error}"[:SENTENCE_MAX])
    return ToolResult(part.tool_call_id, part.tool_name, value)


def is_cancelled(error: BaseException) -> bool:
    """Whether this task was told to end. (A CancelledError may also come from what it waited for.)"""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _error(part: ToolCall, kind: str, message: str) -> ToolResult:
    return ToolResult(part.tool_call_id, part.tool_name, {"error": kind, "message": message}, is_error=True)
