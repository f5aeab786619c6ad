"""Runs one tool call. Whatever the tool does, the outcome is a result."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from antiphon.core.parts import ToolCall, ToolResult
from antiphon.errors import BudgetExhausted, Invalid, RateLimited, Refused
from antiphon.observe.metrics import METRICS
from antiphon.worker.tools.tool import Tool, ToolContext, ToolFailed

SENTENCE_MAX = 2000
"""Maximum length of a tool's own error text, in characters."""

CLEAN_UP_S = 0.5
"""How long a tool may clean up after its time limit, in seconds."""

CANCEL_S = 5.0
"""How long a cancelled tool is awaited, in seconds. Beyond it the attempt abandons it."""

KINDS = (
    "unknown_tool",
    "unavailable",
    "invalid_args",
    "timeout",
    "failed",
    "not_approved",
    RateLimited.code,
    BudgetExhausted.code,
)
"""Why a call failed that the tool itself did not answer with an error."""

log = structlog.get_logger(__name__)


async def result_of(
    part: ToolCall,
    tools: Mapping[str, Tool],
    context: ToolContext,
    *,
    tool_s: float,
    cancel_s: float = CANCEL_S,
    missing: Sequence[str] = (),
) -> ToolResult:
    """Run a tool call.

    Args:
        part: The call.
        tools: The tools by name.
        context: Given to tools that have a parameter for it.
        tool_s: How long a tool may run that has no limit of its own, in seconds.
        cancel_s: How long a cancelled tool is awaited, in seconds.
        missing: The MCP servers that have not started, and may have the tool.

    Returns:
        The result. A failure is a result as well: unknown_tool, unavailable, invalid_args, timeout, failed, or
        rate_limited or budget_exhausted for the child chats of a tool.
    """
    tool = tools.get(part.tool_name)
    if tool is None and missing:
        servers = ", ".join(map(repr, missing))
        sentence = f"The tool {part.tool_name!r} did not run: the MCP server {servers} has not started."
        return _error(part, "unavailable", sentence)
    if tool is None:
        names = ", ".join(sorted(tools)) or "none"
        return _error(part, "unknown_tool", f"There is no tool {part.tool_name!r}. There are: {names}.")
    limit_s = tool.timeout_s or tool_s
    running = asyncio.create_task(_outcome_of(tool, part, context))
    try:
        done, _ = await asyncio.wait({running}, timeout=limit_s)
    except asyncio.CancelledError:
        context.close()
        running.cancel()
        await asyncio.wait({running}, timeout=cancel_s)
        raise
    context.close()
    if not done:
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=CLEAN_UP_S)
        if not done:
            METRICS.abandoned.inc()
        return _error(part, "timeout", f"The tool took longer than {limit_s:g} s.")
    value, error = (None, asyncio.CancelledError()) if running.cancelled() else running.result()
    if isinstance(error, Refused):
        return refused(part, error)
    if isinstance(error, ToolFailed):
        return ToolResult(part.tool_call_id, part.tool_name, error.value, is_error=True)
    if error is not None:
        log.warning("tool_failed", chat_id=context.chat_id, tool=part.tool_name, error=type(error).__name__)
        return _error(part, "failed", sentence_of(error))
    return ToolResult(part.tool_call_id, part.tool_name, value)


async def _outcome_of(tool: Tool, part: ToolCall, context: ToolContext) -> tuple[Any, BaseException | None]:
    """The tool's value or its exception. It runs in a task of its own, so that it affects nothing else, whatever it
    raises and even if it cancels itself. (A KeyboardInterrupt would end the event loop.)"""
    try:
        return await tool.run(part.args, context), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


def sentence_of(error: BaseException) -> str:
    """An exception of foreign code as a text; its own `__str__` may fail as well."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"[:SENTENCE_MAX]
    except Exception:
        return name


def not_approved(part: ToolCall) -> ToolResult:
    """The result of a call that would run without the approval or answer that its tool needs."""
    sentence = (
        f"The tool {part.tool_name!r} did not run: it needs a person's approval or answer, and was not available "
        "when this call was made. Make the call again to ask for it."
    )
    return _error(part, "not_approved", sentence)


def refused(part: ToolCall, error: Refused) -> ToolResult:
    """The result of a call that was refused: its arguments are not valid, or its child chat cannot be created."""
    kind = "failed"
    if isinstance(error, Invalid):
        kind = "invalid_args"
    elif isinstance(error, RateLimited | BudgetExhausted):
        kind = error.code
    return _error(part, kind, str(error))


def error_kind(result: ToolResult) -> str:
    """Why a tool failed: one of the kinds of `result_of`, or "tool_error" for an error of a tool's own."""
    kind = result.result.get("error") if isinstance(result.result, dict) else None
    return kind if kind in KINDS else "tool_error"


def _error(part: ToolCall, kind: str, message: str) -> ToolResult:
    return ToolResult(part.tool_call_id, part.tool_name, {"error": kind, "message": message}, is_error=True)
