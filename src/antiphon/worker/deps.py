"""What an agent and its tools depend on in one turn (`turn.deps`): made by a function of the application."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import structlog

from antiphon.errors import Invalid
from antiphon.worker.turn import Turn

MakeDeps = Callable[[Turn], Any]
"""A function of the turn. A plain one, which must not block, or a coroutine function returns the dependencies; an
async generator function yields them once, and what follows the yield runs when the attempt ends."""

log = structlog.get_logger(__name__)


DEPS_NAME = "deps"
"""The attribute of an agent, and the function of a module, that makes the dependencies."""


def deps_of(agent: Any, given: Any = None) -> MakeDeps | None:
    """The function that makes an agent's dependencies: `given`, else the agent's own `deps`, else, if the agent is a
    function, the function `deps` of its module. Raises `Invalid` if one of the first two is no function."""
    own = given if given is not None else getattr(agent, DEPS_NAME, None)
    if own is not None and not callable(own):
        raise Invalid(DEPS_NAME, "is a function that gets the turn, not the dependencies themselves")
    if own is None and inspect.isroutine(agent):
        found = getattr(inspect.unwrap(agent), "__globals__", {}).get(DEPS_NAME)
        own = found if inspect.isroutine(found) else None
    return own


class Deps:
    """The dependencies of one attempt. A task of their own opens them and cleans them up, so that the end of the
    agent's task neither cancels the clean-up nor waits for it."""

    def __init__(self, make: MakeDeps | None, *, close_s: float) -> None:
        """
        Args:
            make: The application's function; None: there are no dependencies.
            close_s: How long the clean-up may take, in seconds.
        """
        self._make = make
        self._close_s = close_s
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self, turn: Turn) -> Any:
        """Make the dependencies. Raises what the function raises."""
        if self._make is None:
            return None
        opened = asyncio.get_running_loop().create_future()
        task = self._task = asyncio.create_task(self._run(self._make, turn, opened))
        try:
            await asyncio.wait({task, opened}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        return opened.result() if opened.done() else await task

    async def close(self) -> None:
        """Clean up; the errors of it are logged."""
        self._closing.set()
        if self._task is not None:
            try:
                await asyncio.wait({self._task})
            except asyncio.CancelledError:
                self._task.cancel()
                raise

    async def _run(self, make: MakeDeps, turn: Turn, opened: asyncio.Future[Any]) -> None:
        made = make(turn)
        if not inspect.isasyncgen(made):
            opened.set_result(await made if inspect.isawaitable(made) else made)
            return
        opened.set_result(await anext(made))
        await self._closing.wait()
        try:
            async with asyncio.timeout(self._close_s):
                await anext(made, None)
                await made.aclose()
        except Exception as error:
            log.warning("deps_close_failed", chat_id=turn.chat_id, turn_id=turn.turn_id, error=type(error).__name__)
