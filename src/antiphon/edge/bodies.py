"""Reading the bodies of requests: each within bounds of size and time, and all together within one of size."""

from __future__ import annotations

import asyncio
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

    async def read(self, request: Request, bytes_max: int) -> bytes:
        """The whole body. Raises `TooLarge`, or `Unavailable` when too much comes in at once."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > bytes_max:
            raise TooLarge("request (in bytes)", bytes_max)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_S):
                async for piece in _pieces_in_time(request):
                    size += len(piece)
                    self._bytes += len(piece)
                    if size > bytes_max:
                        raise TooLarge("request (in bytes)", bytes_max)
                    if self._bytes > BODIES_BYTES_MAX:
                        raise Unavailable("too much is being sent at once")
                    pieces.append(piece)
        except TimeoutError as error:
            raise HTTPException(408, "The request's body did not come in time.", {"connection": "close"}) from error
        finally:
            self._bytes -= size
        return b"".join(pieces)


async def _pieces_in_time(request: Request) -> AsyncIterator[bytes]:
    pieces = request.stream()
    while True:
        async with asyncio.timeout(BODY_IDLE_S):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece
