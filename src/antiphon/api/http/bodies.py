"""Reads request bodies. Each has a maximum size and time, each owner has a share of the memory, and all bodies
together have a maximum size.

Small bodies are not counted, so an interrupt or a short message is read whatever others send. Their number is bounded
by the maximum number of connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import Request

from antiphon.api.http.limits import HttpLimits
from antiphon.errors import TooLarge, TooMany, Unavailable

RETRY_MS = 1000
"""When a client may retry a request that found the memory for bodies full, in milliseconds."""


class Bodies:
    """Counts the bodies that are being read or handled, by owner."""

    def __init__(self, limits: HttpLimits = HttpLimits()) -> None:
        self.limits = limits
        self._bytes = 0
        self._owners: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def read_counted(self, request: Request, bytes_max: int, *, owner: str) -> AsyncIterator[bytes]:
        """The whole body, counted until the block ends. Raises `TooLarge`, `TooMany` when the owner's share is used
        up, or `Unavailable` when the total is."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > bytes_max:
            raise TooLarge("request (in bytes)", bytes_max)
        body = _Body(self, owner, bytes_max)
        try:
            await body.read(request)
            yield body.join()
        finally:
            body.release()

    def count(self, owner: str, size: int) -> None:
        """Count `size` more bytes. Raises `TooMany` or `Unavailable`, and counts nothing then."""
        if self._owners[owner] + size > self.limits.owner_bytes_max:
            raise TooMany(
                "bytes in requests of one owner at once", self.limits.owner_bytes_max, retry_after_ms=RETRY_MS
            )
        if self._bytes + size > self.limits.bodies_bytes_max:
            raise Unavailable("the memory for request bodies is full", retry_after_ms=RETRY_MS)
        self._bytes += size
        self._owners[owner] += size

    def release(self, owner: str, size: int) -> None:
        self._bytes -= size
        self._owners[owner] -= size
        if not self._owners[owner]:
            del self._owners[owner]


class _Body:
    """One body while it is read and handled."""

    def __init__(self, bodies: Bodies, owner: str, bytes_max: int) -> None:
        self._bodies = bodies
        self._owner = owner
        self._bytes_max = bytes_max
        self._pieces: list[bytes] = []
        self._size = 0
        self._counted = 0

    async def read(self, request: Request) -> None:
        limits = self._bodies.limits
        try:
            async with asyncio.timeout(limits.body_s):
                async for piece in pieces_in_time(request, limits.body_idle_s):
                    self._add(piece)
        except TimeoutError as error:
            raise body_is_late() from error

    def _add(self, piece: bytes) -> None:
        size = self._size + len(piece)
        if size > self._bytes_max:
            raise TooLarge("request (in bytes)", self._bytes_max)
        if size > self._bodies.limits.small_bytes_max:
            self._bodies.count(self._owner, size - self._counted)
            self._counted = size
        self._size = size
        self._pieces.append(piece)

    def join(self) -> bytes:
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body

    def release(self) -> None:
        self._pieces.clear()
        self._bodies.release(self._owner, self._counted)


async def pieces_in_time(request: Request, idle_s: float) -> AsyncIterator[bytes]:
    """The pieces of a body as they arrive. Raises TimeoutError if the next one takes longer than `idle_s` seconds."""
    pieces = request.stream()
    while True:
        async with asyncio.timeout(idle_s):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


def body_is_late() -> HTTPException:
    """The error of a request whose body did not arrive in time. The connection is closed."""
    return HTTPException(408, "The request's body did not arrive in time.", {"connection": "close"})
