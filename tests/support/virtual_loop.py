"""An event loop in virtual time: when nothing is ready it jumps to the next timer. No socket, thread or wall clock.

What runs on it belongs to a `Host` (by its context, which tasks and callbacks inherit): a frozen host's callbacks
wait until it wakes, a dead one's for ever. So a process can be killed between any two steps, as `kill -9` does.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

STEP_S = 2e-6
"""What a callback costs, in seconds: a task that spins without waiting is ended, too."""

T = TypeVar("T")


class Endless(Exception):
    """What runs on the loop does not end; the text says by which bound."""


class Host:
    """A process, a machine: its `context` is given to what begins on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_frozen = False
        self.is_dead = False
        self.held: list[asyncio.Handle] = []
        self.context = contextvars.Context()
        self.context.run(HOST.set, self)


HOST: contextvars.ContextVar[Host | None] = contextvars.ContextVar("host", default=None)
"""Whose code this is; None: the world's."""


class NumberedTask(asyncio.Task[T]):
    """A task that lies in a set by its number, not by its address: sets of tasks have the same order in every run."""

    def __init__(self, coro: Coroutine[Any, Any, T], *, loop: VirtualLoop, **how: Any) -> None:
        self._number = loop.next_number()
        super().__init__(coro, loop=loop, **how)

    def __hash__(self) -> int:
        return self._number


class NumberedFuture(asyncio.Future[Any]):
    """The same for futures."""

    def __init__(self, *, loop: VirtualLoop) -> None:
        self._number = loop.next_number()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """`run_until_complete` as with any loop; `time()` begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._until_s = float("inf")
        self._steps_left = float("inf")
        self._numbers = count(1)
        self._queue: deque[tuple[asyncio.Handle, Host | None]] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Host | None]] = []
        self.set_task_factory(self._make_task)

    def next_number(self) -> int:
        return next(self._numbers)

    def time(self) -> float:
        return self._now_s

    def bound(self, seconds: float, steps: float) -> None:
        """From now on `Endless` is raised after this time, or this number of steps: what waits for ever is ended,
        and what spins."""
        self._until_s, self._steps_left = self._now_s + seconds, steps

    # --- what begins

    def _make_task(self, loop: Any, coro: Any, **how: Any) -> NumberedTask[Any]:
        return NumberedTask(coro, loop=self, **how)

    def create_future(self) -> asyncio.Future[Any]:
        return NumberedFuture(loop=self)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        context = contextvars.copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._queue.append((handle, context.get(HOST)))
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        context = contextvars.copy_context() if context is None else context
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self.next_number(), timer, context.get(HOST)))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """There are no threads: it is done at once."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    # --- hosts

    def freeze(self, host: Host) -> None:
        host.is_frozen = True

    def wake(self, host: Host) -> None:
        """What came due meanwhile runs now, in its order."""
        host.is_frozen = False
        held, host.held = host.held, []
        self._queue.extend((handle, host) for handle in held)

    def kill(self, host: Host) -> None:
        """What it would have run is kept, so that the simulation can let it end (`bury`)."""
        host.is_dead = True

    def bury(self, host: Host) -> None:
        """Let it run again, to its end: nothing it reaches may do anything any more."""
        host.is_dead = False
        self.wake(host)

    # --- running

    def _run_once(self) -> None:
        timers = self._timers
        if not self._queue:
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
            if not timers:
                raise Endless("nothing will ever happen again")
            self._now_s = max(self._now_s, timers[0][0])
        if self._now_s > self._until_s:
            raise Endless(f"{self._now_s:.0f} s were not enough")
        self._steps_left -= len(self._queue)
        if self._steps_left < 0:
            raise Endless("it takes steps without end")
        while timers and timers[0][0] <= self._now_s:
            _, _, timer, host = heapq.heappop(timers)
            self._queue.append((timer, host))
        for _ in range(len(self._queue)):
            handle, host = self._queue.popleft()
            if handle.cancelled():
                continue
            if host is not None and (host.is_dead or host.is_frozen):
                host.held.append(handle)
                continue
            self._now_s += STEP_S
            handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def _process_events(self, event_list: Any) -> None:
        raise AssertionError("nothing is selected here")
