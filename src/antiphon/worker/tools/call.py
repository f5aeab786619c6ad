"""One call of a tool, and the result it comes to whatever the tool does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from antiphon.core.parts import ToolCall, ToolResult
from antiphon.errors import Refused
from antiphon.observe.metrics import METRICS
from antiphon.worker.tools.tool import Tool, ToolContext

SENTENCE_MAX = 2000
"""Of a tool's own error, so much is told."""

CLEAN_UP_S = 0.5
"""A tool whose time is over has so long to clean up."""

LET_GO_S = 5.0
"""Of a tool that is told to stop and does not, so long is waited for the end (the attempt counts it as abandoned)."""

log = structlog.get_logger(__name__)


async def result_of(part: ToolCall, tools: Mapping[str, Tool], context: ToolContext, *, tool_s: float) -> ToolResult:
    """Run the call. What goes wrong is a result, too: unknown_tool, invalid_args, timeout or failed."""
    tool = tools.get(part.tool_name)
    if tool is None:
        names = ", ".join(sorted(tools)) or "none"
        return _error(part, "unknown_tool", f"There is no tool {part.tool_name!r}. There are: {names}.")
    limit_s = tool.timeout_s or tool_s
    running = asyncio.create_task(_outcome_of(tool, part, context))
    try:
        done, _ = await asyncio.wait({running}, timeout=limit_s)
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait({running}, timeout=LET_GO_S)
        raise
    if not done:
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=CLEAN_UP_S)
        if not done:
            METRICS.abandoned.inc()
        return _error(part, "timeout", f"The tool took longer than {limit_s:g} s.")
    value, error = (None, asyncio.CancelledError()) if running.cancelled() else running.result()
    if isinstance(error, Refused):
        return _error(part, "invalid_args", str(error))
    if error is not None:
        log.warning("tool_failed", chat_id=context.chat_id, tool=part.tool_name, error=type(error).__name__)
        return _error(part, "failed", sentence_of(error))
    return ToolResult(part.tool_call_id, part.tool_name, value)


async def _outcome_of(tool: Tool, part: ToolCall, context: ToolContext) -> tuple[Any, BaseException | None]:
    """What the tool gives or raises: in a task of its own, so that it ends nothing else, whatever it raises and even
    if it cancels itself. (A KeyboardInterrupt would end the event loop.)"""
    try:
        return await tool.run(part.args, context), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


def sentence_of(error: BaseException) -> str:
    """What went wrong in code that is not ours, in words; its own words may fail, too."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"[:SENTENCE_MAX]
    except Exception:
        return name


def _error(part: ToolCall, kind: str, message: str) -> ToolResult:
    return ToolResult(part.tool_call_id, part.tool_name, {"error": kind, "message": message}, is_error=True)
