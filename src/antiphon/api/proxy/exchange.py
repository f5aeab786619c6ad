"""Forwards one request, until it is answered, its client has disconnected, or no primary can be reached."""

from __future__ import annotations

import asyncio

import httpx2
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.api.http.app import RETRY_HEADER
from antiphon.api.proxy.limits import ProxyLimits
from antiphon.api.proxy.primary import Primary
from antiphon.api.proxy.request import HOP_BY_HOP, Forwarded, names_in
from antiphon.errors import Unavailable

UNKNOWN_OUTCOME = (
    "the primary was lost during the request: check whether the command took effect before you repeat it"
)


class Exchange:
    """Forwards one request. When the primary is lost, reads and sends are repeated at the next primary. Any other
    command is refused, because it is unknown whether it took effect. Call `end` when this process stops."""

    def __init__(self, forwarded: Forwarded, primary: Primary) -> None:
        self._forwarded = forwarded
        self._primary = primary
        self._asking: asyncio.Task[Response | None] | None = None

    def end(self) -> None:
        """Refuse the request; its client retries with another instance."""
        if self._asking is not None:
            self._asking.cancel()

    async def run(self, receive: Receive) -> Response | None:
        """The response; None: this process is the primary now, and handles the request. Raises `Unavailable`."""
        self._asking = asking = asyncio.create_task(self._ask())
        disconnecting = asyncio.create_task(until_left(receive))
        silence = asyncio.create_task(self._primary.silence.wait())
        try:
            await asyncio.wait({asking, disconnecting, silence}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                if asking.cancelled():
                    raise Unavailable("the server is stopping")
                return asking.result()
            if disconnecting.done():
                raise ClientDisconnect
            raise self._primary.not_responding()
        finally:
            for task in (asking, disconnecting, silence):
                task.cancel()
            await asyncio.wait({asking, disconnecting, silence})

    async def _ask(self) -> Response | None:
        loop, limits = asyncio.get_running_loop(), self._primary.limits
        deadline = loop.time() + limits.takeover_s
        while (primary := await self._primary.wait(deadline)) is not None:
            try:
                response = await self._primary.open(primary, self._forwarded, read_s=limits.answer_s)
                try:
                    body = await body_of(response, limits)
                finally:
                    await response.aclose()
            except httpx2.TransportError as error:
                self._check_repeatable(error)
            else:
                if RETRY_HEADER not in response.headers or not self._forwarded.is_repeatable:
                    return self._answer_of(response, body)
            await asyncio.sleep(limits.retry_s)
        return None

    def _check_repeatable(self, error: httpx2.TransportError) -> None:
        if self._forwarded.is_repeatable:
            return
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            raise Unavailable("the primary is lost; another instance takes over") from error
        raise Unavailable(UNKNOWN_OUTCOME, is_uncertain=True) from error

    def _answer_of(self, response: httpx2.Response, body: bytes) -> Response:
        answer = Response(body, response.status_code)
        headers = start_of(response)["headers"]
        if self._forwarded.method == "HEAD" or response.status_code in (204, 304):
            length = [(name, value) for name, value in response.headers.raw if name.lower() == b"content-length"]
        else:
            length = [(b"content-length", str(len(body)).encode())]
        answer.raw_headers = [*headers, *length]
        return answer


async def body_of(response: httpx2.Response, limits: ProxyLimits) -> bytes:
    """The whole body of a response. Raises `Unavailable` if it exceeds its maximum size."""
    bytes_max = limits.error_bytes_max if response.status_code >= 400 else limits.answer_bytes_max
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > bytes_max:
            raise Unavailable(f"the primary's answer is longer than {bytes_max:,} bytes")
    return bytes(body)


def start_of(response: httpx2.Response) -> Message:
    """The ASGI message with the status and headers of a forwarded response."""
    left_out = HOP_BY_HOP | names_in(response.headers.get("connection", "").encode())
    headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in left_out]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


async def until_left(receive: Receive) -> None:
    """Wait until the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


class LocalRequest:
    """A forwarded request that this process handles itself, because it has become the primary."""

    def __init__(self, app: ASGIApp, forwarded: Forwarded) -> None:
        self._app = app
        self._forwarded = forwarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(self._forwarded.scope(scope), self._forwarded.receive(receive), send)
