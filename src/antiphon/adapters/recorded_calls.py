"""The tool calls of a framework's run: each is made with `turn.call`."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import to_jsonable_python

from antiphon.core.parts import ToolResult
from antiphon.worker.tools import RawTool, ToolContext
from antiphon.worker.turn import ToolCall, Turn

Execute = Callable[[Any], Awaitable[Any]]
"""Runs a tool with its arguments, a JSON value."""
ExecuteLeft = Callable[[Any, str], Awaitable[Any]]
"""The same for a call that an earlier attempt left, with the call's id."""


GATHER_STEPS = 4
"""Steps of the event loop in which the parallel calls of one answer are gathered, to be stored in one message."""


class RecordedCalls:
    """The calls that a framework makes in one run. Each is committed before it runs, and runs at most once.

    Calls that the framework starts at the same time are the parallel calls of one answer: they are stored in one
    message, and run concurrently.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._running: dict[str, Execute] = {}
        self._gathered: list[tuple[ToolCall, asyncio.Future[ToolResult]]] = []

    def tool(
        self,
        name: str,
        *,
        description: str,
        parameters: dict[str, Any],
        execute: ExecuteLeft,
        needs_approval: bool | Callable[[Any], bool] = False,
    ) -> RawTool:
        """A tool of the framework for `turn.use_tools`.

        Args:
            name: Its name.
            description: What it does, for clients.
            parameters: The JSON Schema of its arguments.
            execute: Runs a call that an earlier attempt left. (A call of this run brings its own.)
            needs_approval: Whether a person must approve each call, or a function of the arguments that says so.

        Returns:
            The tool. Its results are JSON values.
        """

        async def run(args: Any, context: ToolContext) -> Any:
            running = self._running_call(context.tool_call_id)
            return plain(await (running(args) if running is not None else execute(args, context.tool_call_id)))

        return RawTool(
            name=name, description=description, parameters=parameters, function=run, needs_approval=needs_approval
        )

    async def call(
        self, name: str, args: Any, call_id: str, execute: Execute, *, metadata: dict[str, Any] | None = None
    ) -> ToolResult:
        """Make a call, and wait for its result.

        Args:
            name: The tool's name, one of those given to `turn.use_tools`.
            args: The arguments, which the framework can write as JSON.
            call_id: The model's id of the call; empty: a new one.
            execute: Runs the tool, with the arguments that a person may have changed.
            metadata: The model's metadata of the call, stored as its `provider_metadata`.

        Returns:
            The result; `execute` did not run if it was stored before, or a person denied the call.
        """
        call_id = call_id or str(uuid.uuid4())
        self._running[call_id] = execute
        result: asyncio.Future[ToolResult] = asyncio.get_running_loop().create_future()
        self._gathered.append((ToolCall(name, plain(args), call_id, metadata), result))
        try:
            if len(self._gathered) == 1:
                await self._commit()
            return await result
        finally:
            self._running.pop(call_id, None)

    async def _commit(self) -> None:
        """Gather the calls that are made now, and make them together."""
        try:
            for _ in range(GATHER_STEPS):
                await asyncio.sleep(0)
        finally:
            calls, self._gathered = self._gathered, []
        try:
            made = await self._turn.call(*(call for call, _ in calls))
        except BaseException as error:
            for _, result in calls[1:]:
                if not result.done():
                    result.set_exception(RuntimeError(f"the call was not made: {type(error).__name__}"))
            raise
        results = made if isinstance(made, tuple) else (made,)
        for (_, result), value in zip(calls, results, strict=True):
            if not result.done():
                result.set_result(value)

    def _running_call(self, stored_id: str) -> Execute | None:
        """By the id under which the call is stored: `id#2` if the chat has another call with its id."""
        given_id, mark, number = stored_id.rpartition("#")
        found = self._running.get(stored_id)
        return found or (self._running.get(given_id) if mark and number.isdecimal() else None)


def plain(value: Any) -> Any:
    """A value of a framework as JSON; an object that is none as its text."""
    return to_jsonable_python(value, fallback=str)


def text_of(value: Any) -> str:
    """A value as a model reads it: its text, or its JSON."""
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
