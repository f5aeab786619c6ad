"""How tests wait: for a condition, with a deadline whose failure says what was waited for and what was found last.

A deadline costs nothing when it is met, so it is generous: it distinguishes a wait that never ends from a busy
machine.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

DEADLINE_S = 60.0
"""How long a test waits before it fails."""

PAUSE_MIN_S, PAUSE_MAX_S = 0.002, 0.02
"""The pause between two checks doubles, from the first to the second: a condition may be a request to a server."""


async def wait_until(
    condition: Callable[[], Any],
    what: str = "",
    *,
    accept: Callable[[Any], Any] = bool,
    deadline_s: float = DEADLINE_S,
) -> Any:
    """Call `condition` until `accept` of its value is true, and return that value.

    The value may be awaitable. Raises AssertionError after `deadline_s`, also while an awaitable is pending.
    """
    value: Any = None
    pause_s = PAUSE_MIN_S
    try:
        async with asyncio.timeout(deadline_s) as limit:
            while True:
                value = condition()
                if isinstance(value, Awaitable):
                    value = await value
                if accept(value):
                    return value
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(_in_vain(condition, what, deadline_s, value)) from None


def wait_until_sync(
    condition: Callable[[], Any],
    what: str = "",
    *,
    accept: Callable[[Any], Any] = bool,
    deadline_s: float = DEADLINE_S,
) -> Any:
    """The same for a test without an event loop."""
    deadline = time.monotonic() + deadline_s
    pause_s = PAUSE_MIN_S
    while True:
        value = condition()
        if accept(value):
            return value
        assert time.monotonic() < deadline, _in_vain(condition, what, deadline_s, value)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _in_vain(condition: Callable[[], Any], what: str, deadline_s: float, value: Any) -> str:
    return f"waited {deadline_s:g} s in vain for: {what or _source_of(condition)}; last value: {value!r:.500}"


def _source_of(condition: Callable[[], Any]) -> str:
    """The lines of code that hold the condition."""
    try:
        return " ".join(inspect.getsource(condition).split())
    except (OSError, TypeError):
        return repr(condition)
