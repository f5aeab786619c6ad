"""The response with the bytes of a file, sent piece by piece as the client reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.errors import Unavailable


class FileAnswer(Response):
    """Headers, and a body in pieces. At most one piece is in memory, besides what waits in the socket."""

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        pieces: AsyncGenerator[bytes, None],
        *,
        size: int | None,
        idle_s: float,
    ) -> None:
        """
        Args:
            status: 200 or 206.
            headers: The headers without Content-Length.
            pieces: The bytes; closed at the end in any case.
            size: How many bytes the pieces have together; None: not known, the body ends with the last one.
            idle_s: How long the client may read nothing before its connection is closed, in seconds.
        """
        super().__init__(status_code=status, headers=headers)
        if size is not None:
            self.headers["content-length"] = str(size)
        else:
            del self.headers["content-length"]
        self._pieces = pieces
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                async for piece in pieces:
                    async with asyncio.timeout(self._idle_s):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                async with asyncio.timeout(self._idle_s):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            except TimeoutError as error:
                connection = scope.get("extensions", {}).get(EXTENSION)
                if isinstance(connection, Connection):
                    connection.abort()
                raise Unavailable("the client did not read the file") from error

    async def head(self) -> Response:
        """The response to HEAD."""
        await self._pieces.aclose()
        answer = Response(status_code=self.status_code)
        answer.raw_headers = self.raw_headers
        return answer
