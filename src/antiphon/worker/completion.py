"""Work of an agent's task that must be finished although the agent stops waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def complete(work: Coroutine[Any, Any, T], *, is_stopped: Callable[[], bool]) -> T:
    """Run `work` to its end, even if this task is cancelled meanwhile (`asyncio.timeout` in an agent, say); the
    cancellation is raised afterwards. An error of `work` is raised first.

    Args:
        work: It ends by itself within a bounded time.
        is_stopped: Whether the whole attempt stops: then `work` is cancelled with this task.
    """
    task = asyncio.create_task(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            if is_stopped():
                task.cancel()
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
                raise
            cancellation = error
    if cancellation is None or (not task.cancelled() and task.exception() is not None):
        return task.result()
    raise cancellation
