"""Runs plain functions in threads of their own. In a pool, a few functions that never end would block all others and
the exit of the process; a daemon thread blocks neither."""

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
    """The result of `function()`, or its exception. If this is cancelled, the thread continues, is counted as
    abandoned, and its outcome is ignored."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except (StopIteration, SystemExit, KeyboardInterrupt) as error:  # in a task these would end the event loop
            wrapped = RuntimeError(f"the function raised {type(error).__name__}")
            wrapped.__cause__ = error
            _call_in_loop(loop, lambda: _fail(outcome, wrapped))
        except BaseException as error:
            failure = error
            _call_in_loop(loop, lambda: _fail(outcome, failure))
        else:
            _call_in_loop(loop, lambda: _settle(outcome, result))

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        return await outcome
    except asyncio.CancelledError:
        if outcome.cancelled():
            METRICS.abandoned.inc()
            log.warning("thread_abandoned", thread=name)
        raise


def _call_in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        return  # the loop is closed: no caller waits


def _settle(outcome: asyncio.Future[T], result: T) -> None:
    if not outcome.done():
        outcome.set_result(result)


def _fail(outcome: asyncio.Future[T], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
