"""The bodies of requests: each within bounds of size and time, and all that are held together within one of size."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import Request

from antiphon.errors import TooLarge, Unavailable

BODY_S = 120.0
BODY_IDLE_S = 10.0
"""A request's body must have come within this time, and each piece of it within that."""

BODIES_BYTES_MAX = 256 * 1024 * 1024
"""So much of bodies may be on its way in all."""


class Bodies:
    """The bodies that are on their way through one door."""

    def __init__(self) -> None:
        self._bytes = 0

    @contextlib.asynccontextmanager
    async def hold(self, request: Request, bytes_max: int) -> AsyncIterator[bytes]:
        """The whole body, counted while it is held. Raises `TooLarge`, or `Unavailable` when too much is held."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > bytes_max:
            raise TooLarge("request (in bytes)", bytes_max)
        pieces: list[bytes] = []
        size = 0
        try:
            try:
                async with asyncio.timeout(BODY_S):
                    async for piece in _pieces_in_time(request):
                        pieces.append(piece)
                        size += len(piece)
                        self._bytes += len(piece)
                        if size > bytes_max:
                            raise TooLarge("request (in bytes)", bytes_max)
                        if self._bytes > BODIES_BYTES_MAX:
                            raise Unavailable("too much is being sent at once")
            except TimeoutError as error:
                late = "The request's body did not come in time."
                raise HTTPException(408, late, {"connection": "close"}) from error
            body = b"".join(pieces)
            pieces.clear()
            yield body
        finally:
            self._bytes -= size


async def _pieces_in_time(request: Request) -> AsyncIterator[bytes]:
    pieces = request.stream()
    while True:
        async with asyncio.timeout(BODY_IDLE_S):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece
