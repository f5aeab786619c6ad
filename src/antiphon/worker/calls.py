"""The tool calls of an attempt: they run concurrently, and each result is committed when it arrives."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core.facts import ActionNeeded, CallOpened
from antiphon.core.model import Call, CallState, Chat, Needs
from antiphon.core.parts import ToolCall, ToolProgress, ToolResult
from antiphon.errors import Refused, TooMany
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.observe.traces import TRACES
from antiphon.worker.child_chats import CHILDREN_MAX, ChildChats, child_of, name_of
from antiphon.worker.children import ChildAnswer, ChildChat
from antiphon.worker.completion import complete
from antiphon.worker.environment import WorkerLimits
from antiphon.worker.held_chat import HeldChat
from antiphon.worker.stop import AttemptEnded, Stop
from antiphon.worker.tools import Tool, ToolContext
from antiphon.worker.tools.call import error_kind, not_approved, refused, result_of

CONCURRENT_CALLS_MAX = 16
"""Maximum number of tool calls of one attempt that run concurrently."""


WAITING = "waits for the tool to become available"
"""The progress of a call whose tool is not there yet."""

CHANGED_ARGUMENTS = "arguments_set_by_a_person"
"""Stored in a result whose call ran with other arguments than the model's, beside the tool's own result: the history
of the model has its arguments."""


def own_result(result: ToolResult) -> ToolResult:
    """The result as the tool returned it."""
    value = result.result
    if isinstance(value, dict) and value.keys() == {CHANGED_ARGUMENTS, "result"}:
        return replace(result, result=value["result"])
    return result


class Calls:
    """Runs the tool calls of one attempt. `begun` has the ids of the calls that may have taken effect."""

    def __init__(self, held: HeldChat, *, limits: WorkerLimits, child_chats: ChildChats) -> None:
        self._held = held
        self._child_chats = child_chats
        self._children = 0
        """How many child chats this attempt has started."""
        self._tools = held.server_tools
        self._limits = limits
        self.begun: set[str] = set()
        self._opened: set[str] = set()
        """The ids of the calls that this attempt has made."""

    def not_begun(self, chat: Chat) -> tuple[str, ...]:
        """The open calls of the chat that this attempt has not run."""
        return tuple(call.tool_call_id for call in chat.calls if call.tool_call_id not in self.begun)

    def opened(self, part: ToolCall, needs: Needs | None = None) -> CallOpened:
        """The call as the fact of its message records it. `needs` is what it needs next; None: what its tool says."""
        tool = self._tools.get(part.tool_name)
        self._opened.add(part.tool_call_id)
        return CallOpened(
            tool_call_id=part.tool_call_id,
            tool_name=part.tool_name,
            needs=needs or self._needs_of(tool, part),
            is_idempotent=needs is Needs.CHILD or (tool is not None and tool.is_idempotent),
        )

    def _needs_of(self, tool: Tool | None, part: ToolCall) -> Needs:
        if tool is None:
            return Needs.RESULT if any(part.tool_name == item.name for item in self._held.tools) else Needs.SERVER
        if tool.asks_person:
            return Needs.ANSWER
        if part.tool_name in self._held.state.allowed_tools or not tool.must_be_approved(part.args):
            return Needs.SERVER
        return Needs.APPROVAL

    @contextlib.asynccontextmanager
    async def giving_up(self, parts: list[ToolCall]) -> AsyncIterator[None]:
        """If the agent cancels this block and the attempt goes on (`asyncio.timeout`, say), the calls that are still
        open get an error result before the cancellation is raised. This takes as long as the tools clean up and the
        store needs, both of which are limited."""
        try:
            yield
        except asyncio.CancelledError:
            if not self._held.is_stopping():
                await complete(self._give_up(parts), is_stopped=self._held.is_stopping)
            raise

    async def _give_up(self, parts: list[ToolCall]) -> None:
        held = self._held
        await held.wait_pending()  # a result that is being stored counts
        held.check()
        ids = tuple(part.tool_call_id for part in parts if held.state.call(part.tool_call_id) is not None)
        if ids:
            await held.execute(c.CancelCalls(attempt=held.attempt, tool_call_ids=ids))
        await held.refresh()

    async def run(self, parts: list[ToolCall]) -> list[ToolResult]:
        """Run the calls that the server may run, and commit each result. If others need a client's action, the turn
        waits for it and this raises `AttemptEnded`."""
        crash_point("tool-before-run")
        if self._held.is_draining:
            await self._held.leave(Stop.RELEASE)
        runnable = [self._as_approved(part) for part in parts if self._is_begun(part)]
        slots = asyncio.Semaphore(CONCURRENT_CALLS_MAX)
        results: dict[str, ToolResult] = {}

        async def run_one(part: ToolCall) -> None:
            async with slots:
                self._held.check()
                self.begun.add(part.tool_call_id)
                results[part.tool_call_id] = await self._run_call(part)

        async with _open_tasks() as start:
            for part in runnable:
                start(run_one(part))
        await self._held.catch_up()
        if any(call.state is CallState.AWAITING for call in self._held.state.calls):
            await self._require_action(parts)
        return [results[part.tool_call_id] for part in runnable]

    def _is_begun(self, part: ToolCall) -> bool:
        call = self._held.state.call(part.tool_call_id)
        return call is not None and call.state is CallState.BEGUN

    def _as_approved(self, part: ToolCall) -> ToolCall:
        """The call with the arguments that a person approved."""
        call = self._held.state.call(part.tool_call_id)
        return part if call is None or call.args is None else replace(part, args=call.args)

    async def _run_call(self, part: ToolCall) -> ToolResult:
        METRICS.tool_calls.inc()
        call = self._held.state.call(part.tool_call_id)
        with TRACES.tool_call(tool_name=part.tool_name, tool_call_id=part.tool_call_id) as span:
            if call is not None and call.needs is Needs.CHILD:
                result = await self._run_child(part)
            else:
                result = await self._run_tool(part, self._context_of(part))
            if result.is_error:
                span.fail(error_kind(result))
        call = self._held.state.call(part.tool_call_id)
        if call is not None and call.args is not None:  # the model sees its own arguments in the history
            result = replace(result, result={CHANGED_ARGUMENTS: call.args, "result": result.result})
        crash_point("tool-after-run")
        content = await self._held.result_content(result)
        await self._held.execute(
            c.CommitToolResult(attempt=self._held.attempt, tool_call_id=part.tool_call_id, content=content)
        )
        crash_point("tool-result-after-append")
        self._held.check()
        return result

    async def _run_tool(self, part: ToolCall, context: ToolContext) -> ToolResult:
        missing: tuple[str, ...] = ()
        if part.tool_name not in self._tools and part.tool_call_id in self._opened:
            missing = self._held.starting_servers  # not awaited: whether it must be approved is not known
        elif part.tool_name not in self._tools:
            context.progress(WAITING)  # an earlier attempt had this tool
            missing = await self._held.wait_tool(part.tool_name)
        if self._skipped_a_person(part):
            return not_approved(part)
        return await result_of(part, self._tools, context, tool_s=self._limits.tool_s, missing=missing)

    def _skipped_a_person(self, part: ToolCall) -> bool:
        """The call was recorded as one that the server may run, and its tool now needs a person first: the tool was
        not there when the call was made, or its policy has changed since."""
        call, tool = self._held.state.call(part.tool_call_id), self._tools.get(part.tool_name)
        is_free = call is None or call.needs is Needs.SERVER
        return tool is not None and is_free and self._needs_of(tool, part) is not Needs.SERVER

    def _context_of(self, part: ToolCall) -> ToolContext:
        names: Counter[str] = Counter()

        async def spawn(child: ChildChat) -> ChildAnswer:
            return await self._spawn(part, child, names)

        return ToolContext(
            chat_id=self._held.chat_id,
            turn_id=self._held.state.turn_id,
            tool_call_id=part.tool_call_id,
            progress=self._progress_of(part.tool_call_id),
            owner=self._held.state.owner_id,
            labels=dict(self._held.state.labels),
            deps=self._held.deps,
            spawn=spawn,
            store_file=self._held.files.of_call(),
            loop=asyncio.get_running_loop(),
        )

    async def _run_child(self, part: ToolCall) -> ToolResult:
        """The result of a call of `turn.spawn`."""
        try:
            answer = await self._spawn(part, child_of(part.args), Counter())
        except Refused as error:
            return refused(part, error)
        return ToolResult(part.tool_call_id, part.tool_name, msgspec.to_builtins(answer))

    async def _spawn(self, part: ToolCall, child: ChildChat, names: Counter[str]) -> ChildAnswer:
        self._children += 1
        if self._children > CHILDREN_MAX:
            raise TooMany("child chats of one turn", CHILDREN_MAX)
        return await self._child_chats.run(
            self._held, part.tool_call_id, name_of(child, names), child, self._progress_of(part.tool_call_id)
        )

    def _progress_of(self, tool_call_id: str) -> Callable[[str], None]:
        loop = asyncio.get_running_loop()

        def progress(text: str) -> None:
            loop.call_soon_threadsafe(self._held.writer.write, ToolProgress(tool_call_id, text))

        return progress

    async def finish_open(self, *, leaves_unknown: bool = False) -> None:
        """Run the calls that an earlier attempt left: those that were approved, are idempotent, or had not begun.
        `leaves_unknown`: not yet those of tools that the agent may still bring (`turn.use_tools`)."""
        calls = self._held.state.calls
        left = {call.tool_call_id for call in calls if not leaves_unknown or self._is_known(call)} - self._opened
        if not left:
            return
        parts = [p for m in self._held.history.messages for p in m.content if isinstance(p, ToolCall)]
        parts = [part for part in parts if part.tool_call_id in left]
        async with self.giving_up(parts):
            await self.run(parts)

    def _is_known(self, call: Call) -> bool:
        return call.tool_name in self._tools or call.needs in (Needs.RESULT, Needs.ANSWER, Needs.CHILD)

    async def _require_action(self, parts: list[ToolCall]) -> None:
        args = {part.tool_call_id: part.args for part in parts}
        calls = tuple(_needed(call, args.get(call.tool_call_id)) for call in self._held.state.calls)
        deadline = self._held.clock.now_us() + int(self._limits.action_s * 1_000_000)
        await self._held.execute(
            c.RequireAction(attempt=self._held.attempt, draft=self._held.state.draft, calls=calls, deadline=deadline)
        )
        raise AttemptEnded


def _needed(call: Call, args: Any) -> ActionNeeded:
    return ActionNeeded(tool_call_id=call.tool_call_id, tool_name=call.tool_name, args=args, needs=call.needs)


@contextlib.asynccontextmanager
async def _open_tasks() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """A TaskGroup that raises the error of the first task that failed, not a group of errors."""
    try:
        async with asyncio.TaskGroup() as group:
            yield lambda work: _start(group, work)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _start(group: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
    group.create_task(work)
