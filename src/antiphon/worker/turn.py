"""`Turn`: what an agent is given, and how it runs tools."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, overload

import msgspec
import structlog

from antiphon.core.parts import OUTCOMES, TOKENS_MAX, ToolResult, Usage
from antiphon.ports import Message
from antiphon.worker.tools import Tool

T = TypeVar("T")

log = structlog.get_logger(__name__)


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

    def end_answer(self, outcome: str) -> None: ...

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
        self._model = model
        self.tools = tools
        self.config = config or {}
        self.failures = failures
        self.interrupted = asyncio.Event()
        self._listeners = 0

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a model's name is a string, not {name!r}")
        self._model = name

    @property
    def is_interrupted(self) -> bool:
        """Whether someone asked this turn to stop."""
        return self.interrupted.is_set()

    async def wait_interrupted(self) -> None:
        """Return when someone asks this turn to stop. Who waits here has a moment to end by itself (what it yields
        then is not kept); after it, and who does not wait at once, is cancelled."""
        self._listeners += 1
        try:
            await self.interrupted.wait()
        finally:
            self._listeners -= 1

    @property
    def is_listening(self) -> bool:
        """Whether the agent waits to be interrupted."""
        return self._listeners > 0

    def add_usage(
        self, *, input_tokens: int | None = None, output_tokens: int | None = None, **counts: int | None
    ) -> None:
        """Count tokens of this turn (any field of `Usage`). What is no count, as some providers send it (negative, a
        fraction, text), is unknown: it is left out, with a warning in the log."""
        self.report(Usage(input_tokens=input_tokens, output_tokens=output_tokens, **counts))

    async def start_call(self, *, model: str, provider: str = "") -> int:
        """Tell the watchers that a model call begins; which try of this step it is, from 1."""
        return await self._io.start_call(model, provider)

    def report(self, usage: Usage) -> None:
        """Count a whole model call's usage, by the same rule as `add_usage`."""
        counts = {name: getattr(usage, name) for name in usage.__struct_fields__}
        known = {name: count for name, count in counts.items() if type(count) is int and 0 <= count <= TOKENS_MAX}
        strange = [name for name, count in counts.items() if count is not None and name not in known]
        if strange:
            log.warning("usage_ignored", chat_id=self.chat_id, turn_id=self.turn_id, fields=strange)
        self._io.add_usage(Usage(**known))

    def end_answer(self, outcome: str) -> None:
        """Say how the model ended the answer being written, where that is worth showing: `length`, `refusal`,
        `content_filter` or `empty`. It is stored with the message. Raises ValueError for anything else."""
        if outcome not in OUTCOMES:
            raise ValueError(f"an answer's outcome is one of {', '.join(OUTCOMES)}, not {outcome!r}")
        self._io.end_answer(outcome)

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
    """The turn of a plain `def` agent, which runs in a thread: `call` and `wait_interrupted` block.

    When the turn is over, whatever waits or comes to wait here raises `asyncio.CancelledError`.
    """

    def __init__(self, turn: Turn, loop: asyncio.AbstractEventLoop) -> None:
        self._turn = turn
        self._loop = loop
        self._is_over = threading.Event()
        self._waiting: set[concurrent.futures.Future[Any]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turn, name)

    def stop(self) -> None:
        """The turn is over: let go of the thread. Called in the loop's thread."""
        self._is_over.set()
        for future in tuple(self._waiting):
            future.cancel()

    def wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine that runs in the loop, waited for in this thread."""
        if self._is_over.is_set():
            raise asyncio.CancelledError
        future = asyncio.run_coroutine_threadsafe(make(), self._loop)
        self._waiting.add(future)
        if self._is_over.is_set():
            future.cancel()
        try:
            return future.result()
        except concurrent.futures.CancelledError:  # an Exception, which agents catch
            raise asyncio.CancelledError from None
        finally:
            self._waiting.discard(future)

    def call(self, *calls: ToolCall) -> Any:
        return self.wait(lambda: self._turn.call(*calls))

    def wait_interrupted(self) -> None:
        self._is_over.wait()
        if not self._turn.is_interrupted:
            raise asyncio.CancelledError

    def take_steering(self) -> tuple[Message, ...]:
        return self.wait(self._turn.take_steering)

    def start_call(self, *, model: str, provider: str = "") -> int:
        return self.wait(lambda: self._turn.start_call(model=model, provider=provider))

    def end_answer(self, outcome: str) -> None:
        self._loop.call_soon_threadsafe(self._turn.end_answer, outcome)

    def add_usage(self, **counts: int | None) -> None:
        self._loop.call_soon_threadsafe(lambda: self._turn.add_usage(**counts))
