"""`BlockingTurn`: the interface of a turn for an agent that is a plain function."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from antiphon.core.parts import FileReference, ToolResult
from antiphon.ports import Message
from antiphon.worker.children import ChildChat
from antiphon.worker.tools import Tool
from antiphon.worker.turn import ToolCall, Turn

T = TypeVar("T")


class BlockingTurn:
    """The turn of a plain `def` agent, which runs in a thread: `call` and `wait_interrupted` block.

    When the turn has ended, a blocked method raises `asyncio.CancelledError`, and so does every later call.
    """

    def __init__(self, turn: Turn, loop: asyncio.AbstractEventLoop) -> None:
        self._turn = turn
        self._loop = loop
        self._has_ended = threading.Event()
        self._waiting: set[concurrent.futures.Future[Any]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turn, name)

    def stop(self) -> None:
        """The turn has ended: unblock the thread. Called in the event loop's thread."""
        self._has_ended.set()
        for future in tuple(self._waiting):
            future.cancel()

    def wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the event loop, and wait for its result in this thread."""
        if self._has_ended.is_set():
            raise asyncio.CancelledError
        future = asyncio.run_coroutine_threadsafe(make(), self._loop)
        self._waiting.add(future)
        if self._has_ended.is_set():
            future.cancel()
        try:
            return future.result()
        except concurrent.futures.CancelledError:  # an Exception, which agents catch
            raise asyncio.CancelledError from None
        finally:
            self._waiting.discard(future)

    def call(self, *calls: ToolCall) -> Any:
        return self.wait(lambda: self._turn.call(*calls))

    @property
    def state(self) -> Any:
        return self._turn.state

    @state.setter
    def state(self, value: Any) -> None:
        self._turn.state = value

    @property
    def model(self) -> str:
        return self._turn.model

    @model.setter
    def model(self, name: str) -> None:
        self._turn.model = name

    def record(self, call: ToolCall, result: Any, *, is_error: bool = False) -> ToolResult:
        return self.wait(lambda: self._turn.record(call, result, is_error=is_error))

    def use_tools(self, *tools: Tool) -> None:
        self.wait(lambda: self._turn.use_tools(*tools))

    def load_files(self, messages: Sequence[Message] | None = None) -> tuple[Message, ...]:
        return self.wait(lambda: self._turn.load_files(messages))

    def store_file(
        self, data: bytes | bytearray | memoryview, *, media_type: str = "", name: str = ""
    ) -> FileReference:
        return self.wait(lambda: self._turn.store_file(data, media_type=media_type, name=name))

    def release_files(self) -> None:
        self._loop.call_soon_threadsafe(self._turn.release_files)

    def ask(self, question: str, schema: dict[str, Any] | None = None) -> Any:
        return self.wait(lambda: self._turn.ask(question, schema))

    def spawn(self, *children: str | ChildChat) -> Any:
        return self.wait(lambda: self._turn.spawn(*children))

    def wait_interrupted(self) -> None:
        self._has_ended.wait()
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
