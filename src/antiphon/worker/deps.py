"""What an agent and its tools depend on in one turn (`turn.deps`): made by a function of the application."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def open_deps(make: MakeDeps | None, turn: Turn, *, close_s: float) -> AsyncIterator[Any]:
    """The dependencies of one attempt. An error of `make` is raised; one of its clean-up is logged.

    Args:
        make: The application's function; None: there are no dependencies.
        turn: The turn.
        close_s: How long the clean-up may take, in seconds.
    """
    if make is None:
        yield None
        return
    made = make(turn)
    if not inspect.isasyncgen(made):
        yield await made if inspect.isawaitable(made) else made
        return
    value = await anext(made)
    try:
        yield value
    finally:
        try:
            async with asyncio.timeout(close_s):
                await anext(made, None)
                await made.aclose()
        except Exception as error:
            log.warning("deps_close_failed", chat_id=turn.chat_id, turn_id=turn.turn_id, error=type(error).__name__)
