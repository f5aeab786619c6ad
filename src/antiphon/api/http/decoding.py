"""Decodes request bodies on the event loop, large ones in steps, so that other requests are handled meanwhile.

Each check of a body reads all of it, which takes some 50 ms for 8 MiB. All checks of one body in a row would block
the loop for a quarter of a second, and an interrupt, which needs several turns of the loop, would wait for the bodies
of several requests. So large bodies are decoded one at a time, and after each step the loop is left to others for as
long as the step took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import msgspec

from antiphon.api.http.table import Operation
from antiphon.core.depth import DEPTH_MAX, VALUES_MAX, has_too_many_values, is_deeper, is_too_deep
from antiphon.errors import AntiphonError, Invalid, TooLarge
from antiphon.wire import codec

LARGE_BYTES = 256 * 1024
"""Size from which a body is decoded in steps, in bytes. A smaller one takes a few milliseconds."""


class BodyDecoder:
    """Decodes the bodies of an app's requests. The number of those that wait is bounded by `Bodies`."""

    def __init__(self) -> None:
        self._large = asyncio.Lock()

    async def decode(self, operation: Operation, data: bytes) -> Any:
        """The body as the operation's type. Raises `Invalid`, or `TooLarge` for too many values."""
        steps = _decode(operation, data)
        if len(data) < LARGE_BYTES:
            return _finish(steps)
        loop = asyncio.get_running_loop()
        async with self._large:
            while True:
                started = loop.time()
                try:
                    next(steps)
                except StopIteration as done:
                    return done.value
                await asyncio.sleep(loop.time() - started)


def _finish(steps: Generator[None, None, Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def _decode(operation: Operation, data: bytes) -> Generator[None, None, Any]:
    """Yields between two steps."""
    if not data and operation.is_body_optional:
        return None
    if has_too_many_values(data):
        raise TooLarge("request (in JSON values)", VALUES_MAX)
    yield
    is_deep = is_deeper(data, DEPTH_MAX)
    yield
    try:
        body = codec.decode(data, operation.body, is_shallow=not is_deep)
    except AntiphonError as error:
        raise invalid(error) from error
    yield
    if is_deep and is_too_deep(body):
        raise Invalid("", f"JSON may nest at most {DEPTH_MAX} deep")
    return body


def invalid(error: Exception) -> Invalid:
    """The message of msgspec and the field it is about, from: `Expected `int`, got `str` - at `$.turn_id``."""
    error = error.__cause__ if isinstance(error.__cause__, msgspec.ValidationError) else error
    reason, _, place = str(error).partition(" - at `$")
    return Invalid(place.strip("`.").replace("...", ""), reason[:200])
