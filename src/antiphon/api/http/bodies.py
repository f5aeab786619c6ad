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

from antiphon.errors import TooLarge, TooMany, Unavailable

BODY_S = 120.0
BODY_IDLE_S = 10.0
"""Maximum time until a body is complete, and between two pieces of it, in seconds."""

BODIES_BYTES_MAX = 256 * 1024 * 1024
"""Maximum size of all bodies that are being read or handled."""
OWNER_BYTES_MAX = 64 * 1024 * 1024
"""Maximum size of one owner's bodies."""
SMALL_BYTES_MAX = 64 * 1024
"""Maximum size of a body that is not counted."""
RETRY_MS = 1000


class Bodies:
    """Counts the bodies that are being read or handled, by owner."""

    def __init__(self) -> None:
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
        if self._owners[owner] + size > OWNER_BYTES_MAX:
            raise TooMany("bytes in requests of one owner at once", OWNER_BYTES_MAX, retry_after_ms=RETRY_MS)
        if self._bytes + size > BODIES_BYTES_MAX:
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
        try:
            async with asyncio.timeout(BODY_S):
                async for piece in _pieces_in_time(request):
                    self._add(piece)
        except TimeoutError as error:
            late = "The request's body did not arrive in time."
            raise HTTPException(408, late, {"connection": "close"}) from error

    def _add(self, piece: bytes) -> None:
        size = self._size + len(piece)
        if size > self._bytes_max:
            raise TooLarge("request (in bytes)", self._bytes_max)
        if size > SMALL_BYTES_MAX:
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


async def _pieces_in_time(request: Request) -> AsyncIterator[bytes]:
    pieces = request.stream()
    while True:
        async with asyncio.timeout(BODY_IDLE_S):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece
