"""The tool calls of an attempt: run side by side, each result committed as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from antiphon.core import commands as c
from antiphon.core.facts import ActionNeeded, CallOpened
from antiphon.core.model import Call, CallState, Needs
from antiphon.core.parts import ToolCall, ToolProgress, ToolResult
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.wire.codec import encode_content
from antiphon.worker.environment import Limits
from antiphon.worker.stop import Over, Stop
from antiphon.worker.tools import Tool, ToolContext
from antiphon.worker.tools.call import result_of

if TYPE_CHECKING:
    from antiphon.worker.attempt import Attempt

CALLS_AT_ONCE_MAX = 16


class Calls:
    """Runs what the messages of `attempt` call. `begun` are the ids of the calls that may have taken effect."""

    def __init__(self, attempt: Attempt, *, tools: dict[str, Tool], limits: Limits) -> None:
        self._attempt = attempt
        self._tools = tools
        self._limits = limits
        self.begun: set[str] = set()

    def opened(self, part: ToolCall) -> CallOpened:
        tool = self._tools.get(part.tool_name)
        needs = Needs.APPROVAL if tool is not None and tool.needs_approval else Needs.SERVER
        return CallOpened(
            tool_call_id=part.tool_call_id,
            tool_name=part.tool_name,
            needs=needs,
            is_idempotent=tool is not None and tool.is_idempotent,
        )

    async def run(self, parts: list[ToolCall]) -> list[ToolResult]:
        """Run the calls that are the server's, side by side, and commit each result as it comes."""
        crash_point("tool-before-run")
        if self._attempt.is_draining:
            await self._attempt.leave(Stop.RELEASE)
        mine = [part for part in parts if self._is_begun(part)]
        waiting = asyncio.Semaphore(CALLS_AT_ONCE_MAX)
        results: dict[str, ToolResult] = {}

        async def run_one(part: ToolCall) -> None:
            async with waiting:
                self._attempt.check()
                self.begun.add(part.tool_call_id)
                results[part.tool_call_id] = await self._run_call(part)

        async with _open_tasks() as start:
            for part in mine:
                start(run_one(part))
        await self._attempt.catch_up()
        if any(call.state is CallState.AWAITING for call in self._attempt.chat.calls):
            await self._require_action(parts)
        return [results[part.tool_call_id] for part in mine]

    def _is_begun(self, part: ToolCall) -> bool:
        call = self._attempt.chat.call(part.tool_call_id)
        return call is not None and call.state is CallState.BEGUN

    async def _run_call(self, part: ToolCall) -> ToolResult:
        METRICS.tool_calls.inc()
        context = ToolContext(
            chat_id=self._attempt.chat_id,
            turn_id=self._attempt.chat.turn_id,
            tool_call_id=part.tool_call_id,
            progress=self._progress_of(part.tool_call_id),
        )
        result = await result_of(part, self._tools, context, tool_s=self._limits.tool_s)
        crash_point("tool-after-run")
        await self._attempt.execute(
            c.CommitToolResult(
                attempt=self._attempt.number, tool_call_id=part.tool_call_id, content=encode_content([result])
            )
        )
        crash_point("tool-result-after-append")
        self._attempt.check()
        return result

    def _progress_of(self, tool_call_id: str) -> Callable[[str], None]:
        loop = asyncio.get_running_loop()

        def progress(text: str) -> None:
            loop.call_soon_threadsafe(self._attempt.pen.write, ToolProgress(tool_call_id, text))

        return progress

    async def finish_open(self) -> None:
        """Run the calls that an earlier attempt left and that may run (again): approved, idempotent, not begun."""
        if not self._attempt.chat.calls:
            return
        left = {call.tool_call_id: call for call in self._attempt.chat.calls}
        parts = [p for m in self._attempt.history.messages for p in m.content if isinstance(p, ToolCall)]
        await self.run([part for part in parts if part.tool_call_id in left])

    async def _require_action(self, parts: list[ToolCall]) -> None:
        args = {part.tool_call_id: part.args for part in parts}
        calls = tuple(_needed(call, args.get(call.tool_call_id)) for call in self._attempt.chat.calls)
        deadline = self._attempt.clock.now_us() + int(self._limits.action_s * 1_000_000)
        await self._attempt.execute(
            c.RequireAction(
                attempt=self._attempt.number, draft=self._attempt.chat.draft, calls=calls, deadline=deadline
            )
        )
        raise Over


def _needed(call: Call, args: Any) -> ActionNeeded:
    return ActionNeeded(tool_call_id=call.tool_call_id, tool_name=call.tool_name, args=args, needs=call.needs)


@contextlib.asynccontextmanager
async def _open_tasks() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """A TaskGroup that raises its first task's own error."""
    try:
        async with asyncio.TaskGroup() as group:
            yield lambda work: _start(group, work)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _start(group: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
    group.create_task(work)
