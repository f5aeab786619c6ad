"""One request that is handed on: until it is answered, its asker has left, or nobody can be asked."""

from __future__ import annotations

import asyncio

import httpx2
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.api.http.app import ELSEWHERE_HEADER
from antiphon.api.proxy.primary import ANSWER_S, RETRY_S, Primary
from antiphon.api.proxy.request import HOP_BY_HOP, Forwarded, names_in
from antiphon.client.bodies import ANSWER_BYTES_MAX, ERROR_BYTES_MAX
from antiphon.errors import Unavailable

WAIT_S = 10.0
"""So long who asks waits for the next primary."""


class Exchange:
    """Reads and sends wait for the next primary when theirs goes, and are asked again; any other command is refused
    then, for whether it took effect is not known. `end` it when this process stops."""

    def __init__(self, forwarded: Forwarded, primary: Primary) -> None:
        self._forwarded = forwarded
        self._primary = primary
        self._asking: asyncio.Task[Response | None] | None = None

    def end(self) -> None:
        """Send whoever asks elsewhere."""
        if self._asking is not None:
            self._asking.cancel()

    async def run(self, receive: Receive) -> Response | None:
        """The answer; None: this process is the primary now, and answers itself. Raises `Unavailable`."""
        self._asking = asking = asyncio.create_task(self._ask())
        leaving = asyncio.create_task(until_left(receive))
        silence = asyncio.create_task(self._primary.silence.wait())
        try:
            await asyncio.wait({asking, leaving, silence}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                if asking.cancelled():
                    raise Unavailable("the server is stopping")
                return asking.result()
            if leaving.done():
                raise ClientDisconnect
            raise self._primary.silent()
        finally:
            for task in (asking, leaving, silence):
                task.cancel()
            await asyncio.wait({asking, leaving, silence})

    async def _ask(self) -> Response | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_S
        while (primary := await self._primary.wait(deadline)) is not None:
            try:
                response = await self._primary.open(primary, self._forwarded, read_s=ANSWER_S)
                try:
                    body = await body_of(response)
                finally:
                    await response.aclose()
            except httpx2.TransportError as error:
                self._check_repeatable(error)
            else:
                if ELSEWHERE_HEADER not in response.headers or not self._forwarded.is_repeatable:
                    return self._answer_of(response, body)
            await asyncio.sleep(RETRY_S)
        return None

    def _check_repeatable(self, error: httpx2.TransportError) -> None:
        if self._forwarded.is_repeatable:
            return
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            raise Unavailable("the primary is gone; another instance takes over") from error
        raise Unavailable(
            "the primary went away meanwhile: look whether this was done before you ask again"
        ) from error

    def _answer_of(self, response: httpx2.Response, body: bytes) -> Response:
        answer = Response(body, response.status_code)
        headers = start_of(response)["headers"]
        if self._forwarded.method == "HEAD" or response.status_code in (204, 304):
            length = [(name, value) for name, value in response.headers.raw if name.lower() == b"content-length"]
        else:
            length = [(b"content-length", str(len(body)).encode())]
        answer.raw_headers = [*headers, *length]
        return answer


async def body_of(response: httpx2.Response) -> bytes:
    """The whole body of an answer. Raises `Unavailable` if it is longer than an answer of a primary may be."""
    bytes_max = ERROR_BYTES_MAX if response.status_code >= 400 else ANSWER_BYTES_MAX
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > bytes_max:
            raise Unavailable(f"the primary's answer is longer than {bytes_max:,} bytes")
    return bytes(body)


def start_of(response: httpx2.Response) -> Message:
    """The beginning of an answer that is handed on."""
    left_out = HOP_BY_HOP | names_in(response.headers.get("connection", "").encode())
    headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in left_out]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


async def until_left(receive: Receive) -> None:
    """Until the asker has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Handed:
    """A request that this process's own door answers after all."""

    def __init__(self, door: ASGIApp, forwarded: Forwarded) -> None:
        self._door = door
        self._forwarded = forwarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door(self._forwarded.scope(scope), self._forwarded.receive(receive), send)
