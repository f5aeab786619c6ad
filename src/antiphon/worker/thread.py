"""Plain functions in threads of their own. A pool would be stopped by a few functions that never end, and the process
could not exit; a daemon thread holds up nobody."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from antiphon.observe.metrics import METRICS

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def run_in_thread(function: Callable[[], T], *, name: str) -> T:
    """What `function()` gives or raises. Cancelled, it is left to itself, counted, and its outcome is dropped."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except (StopIteration, SystemExit, KeyboardInterrupt) as error:  # in a task these would end the event loop
            wrapped = RuntimeError(f"the function raised {type(error).__name__}")
            wrapped.__cause__ = error
            _tell(loop, lambda: _fail(outcome, wrapped))
        except BaseException as error:
            failure = error
            _tell(loop, lambda: _fail(outcome, failure))
        else:
            _tell(loop, lambda: _settle(outcome, result))

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        return await outcome
    except asyncio.CancelledError:
        if outcome.cancelled():
            METRICS.abandoned.inc()
            log.warning("thread_abandoned", thread=name)
        raise


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        return  # the loop is closed: nobody waits any more


def _settle(outcome: asyncio.Future[T], result: T) -> None:
    if not outcome.done():
        outcome.set_result(result)


def _fail(outcome: asyncio.Future[T], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
