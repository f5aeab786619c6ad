"""`Turn`: what an agent is given, and how it runs tools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, overload

import msgspec

from antiphon.core.parts import ToolResult, Usage
from antiphon.ports import Message
from antiphon.worker.tools import Tool


class ToolCall(msgspec.Struct, frozen=True):
    """A wish to run a tool: its name, its arguments, and (made if missing) the call's id."""

    name: str
    args: Any = msgspec.field(default_factory=dict)
    id: str = ""


class TurnIO(Protocol):
    """What a turn needs of the attempt that runs it."""

    async def commit_calls(self, calls: tuple[ToolCall, ...]) -> tuple[ToolResult, ...]: ...

    async def take_steering(self) -> tuple[Message, ...]: ...

    def add_usage(self, usage: Usage) -> None: ...

    async def start_call(self, model: str, provider: str) -> int: ...

    def has_steering(self) -> bool: ...


class Turn:
    """One turn, as an agent sees it.

    `messages` is the history so far, this turn's messages included, and grows as calls and results are
    committed. `model` is the model's name, `config` what the server was started with for agents.
    """

    def __init__(
        self,
        io: TurnIO,
        *,
        chat_id: str,
        turn_id: int,
        messages: list[Message],
        system: str,
        model: str,
        tools: tuple[Tool, ...] = (),
        config: dict[str, Any] | None = None,
        failures: int = 0,
    ) -> None:
        self._io = io
        self.chat_id = chat_id
        self.turn_id = turn_id
        self.messages = messages
        self.system = system
        self.model = model
        self.tools = tools
        self.config = config or {}
        self.failures = failures
        self.interrupted = asyncio.Event()

    @property
    def is_interrupted(self) -> bool:
        """Whether someone asked this turn to stop."""
        return self.interrupted.is_set()

    async def wait_interrupted(self) -> None:
        """Return when someone asks this turn to stop."""
        await self.interrupted.wait()

    def add_usage(
        self, *, input_tokens: int | None = None, output_tokens: int | None = None, **counts: int | None
    ) -> None:
        """Count tokens of this turn (any field of `Usage`)."""
        self._io.add_usage(Usage(input_tokens=input_tokens, output_tokens=output_tokens, **counts))

    async def start_call(self, *, model: str, provider: str = "") -> int:
        """Tell the watchers that a model call begins; which try of this step it is, from 1."""
        return await self._io.start_call(model, provider)

    def report(self, usage: Usage) -> None:
        """Count a whole model call's usage."""
        self._io.add_usage(usage)

    async def take_steering_or_end(self) -> bool:
        """Whether steering waits; then it has joined and the turn goes on. (If not, returning ends the turn.)"""
        return self._io.has_steering() and bool(await self._io.take_steering())

    async def take_steering(self) -> tuple[Message, ...]:
        """Commit what was yielded so far, and let waiting steering messages join: those that did."""
        return await self._io.take_steering()

    @overload
    async def call(self, call: ToolCall, /) -> ToolResult: ...
    @overload
    async def call(self, *calls: ToolCall) -> tuple[ToolResult, ...]: ...
    async def call(self, *calls: ToolCall) -> ToolResult | tuple[ToolResult, ...]:
        """Commit what was yielded so far with these calls, run them side by side, and give their results in order
        (one call: one result). A failed tool is a result with `is_error`, not an exception."""
        results = await self._io.commit_calls(calls)
        return results[0] if len(calls) == 1 else results

    async def run_streamed_calls(self) -> tuple[ToolResult, ...]:
        """The same for the calls that were yielded piece by piece (`ToolCallOpened`, `ToolCallArgs`)."""
        return await self._io.commit_calls(())


class BlockingTurn:
    """The turn of a plain `def` agent, which runs in a thread: `call` and `wait_interrupted` block."""

    def __init__(self, turn: Turn, loop: asyncio.AbstractEventLoop) -> None:
        self._turn = turn
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turn, name)

    def _run(self, make: Callable[[], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await make()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def call(self, *calls: ToolCall) -> Any:
        return self._run(lambda: self._turn.call(*calls))

    def wait_interrupted(self) -> None:
        self._run(self._turn.wait_interrupted)

    def take_steering(self) -> tuple[Message, ...]:
        result: tuple[Message, ...] = self._run(self._turn.take_steering)
        return result

    def start_call(self, *, model: str, provider: str = "") -> int:
        return int(self._run(lambda: self._turn.start_call(model=model, provider=provider)))

    def add_usage(self, **counts: int | None) -> None:
        self._loop.call_soon_threadsafe(lambda: self._turn.add_usage(**counts))
