"""Forwards an upload, a download or a request of another protocol; the response is forwarded piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon.api.http.app import RETRY_HEADER
from antiphon.api.http.bodies import body_is_late, pieces_in_time
from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.table import Operation
from antiphon.api.proxy.exchange import UNKNOWN_OUTCOME, start_of, until_left
from antiphon.api.proxy.primary import Primary
from antiphon.api.proxy.request import Forwarded
from antiphon.api.proxy.stream import LAST, SlowReader, in_time
from antiphon.errors import Unavailable
from antiphon.local.lock import InstanceFile


class FileTransfer:
    """The upload, download or other request of one client, as an ASGI app. Call `end` when this process stops.

    What is repeatable is repeated at the next primary as long as no byte of the response was sent. An upload is
    refused when its primary is lost, and its client may repeat it, because equal bytes are stored once. The response
    of another protocol may take as long as a turn.
    """

    def __init__(
        self,
        request: Request,
        operation: Operation,
        primary: Primary,
        successor: ASGIApp,
        *,
        http: HttpLimits,
        body: bytes = b"",
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`body` is that of a request of another protocol; `release` is called when it is no longer held."""
        self.is_translated = bool(operation.protocol)
        self._release = release
        self._request = request
        self._is_upload = operation.is_upload
        self._read_s = None if operation.protocol else primary.limits.answer_s
        forwarded = Forwarded.of(request, body, operation)
        headers = [(name, value) for name, value in forwarded.headers if name != b"expect"]
        if self._is_upload and (length := request.headers.get("content-length")):
            headers.append((b"content-length", length.encode("latin-1")))
        self._forwarded = msgspec.structs.replace(forwarded, headers=headers)
        self._primary = primary
        self._successor = successor
        self._http = http
        self._is_started = False
        self._transferring: asyncio.Task[bool] | None = None
        self.status = 0
        """The status of the response; 0: there is none yet."""

    def end(self) -> None:
        """End the transfer; its client repeats it at another instance."""
        if self._transferring is not None:
            self._transferring.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `Unavailable` or `HTTPException` as long as nothing was sent; afterwards the response is cut off."""
        try:
            await self._run(scope, receive, send)
        finally:
            await self._release_body()

    async def _release_body(self) -> None:
        """The request is not repeated any more."""
        self._forwarded = msgspec.structs.replace(self._forwarded, body=b"")
        release, self._release = self._release, None
        if release is not None:
            await release()

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(EXTENSION)
        abort = connection.abort if isinstance(connection, Connection) else None
        sending = in_time(send, abort, self._primary.limits.slow_reader_s)
        self._transferring = transferring = asyncio.create_task(self._transfer(sending))
        tasks: set[asyncio.Task[object]] = {transferring}
        if not self._is_upload:  # an upload reads the messages of the connection itself
            tasks.add(asyncio.create_task(until_left(receive)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            is_finished = transferring.done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not is_finished:
            return  # the client has disconnected
        if transferring.cancelled():
            if not self._is_started:
                raise Unavailable("the server is stopping")
        elif transferring.result():
            if self._is_upload:
                await self._successor(scope, receive, send)
            else:
                await self._successor(self._forwarded.scope(scope), self._forwarded.receive(receive), send)

    async def _transfer(self, send: Send) -> bool:
        """Forward until the response is complete or cut off (False), or this process is the primary (True)."""
        limits = self._primary.limits
        deadline = asyncio.get_running_loop().time() + limits.takeover_s
        while (primary := await self._primary.wait(deadline)) is not None:
            try:
                response = await self._open(primary)
            except httpx2.TransportError as error:
                self._check_repeatable(error)
            else:
                try:
                    if RETRY_HEADER not in response.headers or not self._may_repeat:
                        await self._answer(response, send)
                        return False
                finally:
                    await response.aclose()
            await asyncio.sleep(limits.retry_s)
        return True

    async def _open(self, primary: InstanceFile) -> httpx2.Response:
        read_s = self._read_s
        if not self._is_upload:
            return await self._primary.open(primary, self._forwarded, read_s=read_s)
        try:
            async with asyncio.timeout(self._http.upload_s):
                body = pieces_in_time(self._request, self._http.body_idle_s)
                return await self._primary.open(primary, self._forwarded, read_s=read_s, body=body)
        except TimeoutError as error:
            raise body_is_late() from error

    def _check_repeatable(self, error: httpx2.TransportError) -> None:
        is_unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        if self._is_upload and not is_unsent:
            raise Unavailable("the primary was lost during the upload; repeat it, equal bytes are stored once")
        if not self._may_repeat and not is_unsent:
            raise Unavailable(UNKNOWN_OUTCOME, is_uncertain=True)

    @property
    def _may_repeat(self) -> bool:
        return not self._is_upload and self._forwarded.is_repeatable

    async def _answer(self, response: httpx2.Response, send: Send) -> None:
        start = start_of(response)
        names = ((name.lower(), value) for name, value in response.headers.raw)
        length = [(name, value) for name, value in names if name == b"content-length"]
        start["headers"] += length
        self.status = response.status_code
        self._is_started = True
        await self._release_body()
        try:
            await send(start)
            async for piece in response.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send(LAST)
        except (httpx2.TransportError, SlowReader, ClientDisconnect):
            return  # the response is incomplete, so the server closes the connection
