"""The HTTP connection to an MCP server for the SDK: addresses are checked, and every read has a limit.

It is the transport of model calls (`models/transport.py`) as a transport of httpx2: names are resolved once and each
address is checked, there are no redirects, no decompression and no cookies. A request that fails is answered with an
error of its own, because the SDK ends all calls of a connection when a request raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import msgspec

from antiphon.core.depth import has_too_many_values
from antiphon.models.connecting import ConnectFailed, Connector, Origin
from antiphon.models.outbound import Outbound
from antiphon.models.response import Response, ResponseBroken
from antiphon.models.transport import Transport
from antiphon.worker.tools.mcp.events import EventCutter
from antiphon.worker.tools.mcp.pacing import Pace

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Maximum size of one message of a server, in bytes: of a JSON body, or of one event of a stream."""
CONNECTIONS_MAX = 100
"""Maximum number of connections to one server."""
NOTIFY_S = 5.0
"""How long a server may take to accept a notification, in seconds. The next request waits for it."""
STREAM_S = 24 * 3600.0
"""How long a stream of notifications may be silent, in seconds."""
READ_BYTES = 16 * 1024
"""Number of bytes of a stream after which other tasks run."""

NOT_SENT = -32_098
"""The code of the error for a request that did not reach the server. (Codes from -32000 to -32099 are free.)"""
BROKEN = -32_097
"""The code of the error for a request whose response did not arrive: its effect is unknown."""

_KEPT_HEADERS = frozenset({"content-type", "mcp-session-id"})
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


class _Head(msgspec.Struct):
    """What a request's body says of it. A notification has no id."""

    id: str | int | None = None
    method: str = ""


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Sends the SDK's requests to one address. `on_lost` is called with the reason when the server is gone, or has
    ended the session."""

    def __init__(self, url: str, *, outbound: Outbound, call_s: float, on_lost: Callable[[str], None]) -> None:
        self._path = "/" if url.partition("?")[0].endswith("/") else ""
        connector = Connector(Origin.parse(url), outbound=outbound)
        self._transport = Transport(connector, connections_max=CONNECTIONS_MAX, idle_s=0.0)
        self._call_s = call_s
        self._on_lost = on_lost
        self._pace = Pace()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        head = _head_of(body)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS}
        headers["Accept-Encoding"] = "identity"
        limit_s = self._limit_s(request.method, head)
        deadline = asyncio.get_running_loop().time() + limit_s
        try:
            response = await self._transport.request(
                request.method, self._path, headers, body, deadline=deadline, is_repeatable=False
            )
        except ConnectFailed as error:
            self._on_lost(str(error))
            return _failure(NOT_SENT, f"the server cannot be reached: {error}")
        except ResponseBroken as error:
            return _failure(BROKEN, f"the connection broke: {error}")
        except TimeoutError:
            return _failure(BROKEN, "the server did not answer in time")
        if response.status == 404 and "mcp-session-id" in request.headers:
            response.close()
            self._on_lost("it has ended the session")
            return _failure(NOT_SENT, "the server has ended the session")
        return await self._shown(response, limit_s)

    def _limit_s(self, method: str, head: _Head) -> float:
        if method == "GET" or head.method == "subscriptions/listen":
            return STREAM_S
        is_notification = method == "DELETE" or (head.id is None)
        return NOTIFY_S if is_notification else self._call_s

    async def _shown(self, response: Response, limit_s: float) -> httpx2.Response:
        """The response for the SDK. A stream is passed on as it arrives, everything else is read here."""
        kept = {name: value for name, value in response.headers.items() if name in _KEPT_HEADERS}
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            response.close()
            return _failure(BROKEN, "the server sent a compressed response")
        if kept.get("content-type", "").lower().startswith("text/event-stream") and response.status == 200:
            return httpx2.Response(200, headers=kept, stream=_Events(response, self._pace, limit_s))
        try:
            body = await _read_whole(response)
        except (ResponseBroken, TimeoutError) as error:
            return _failure(BROKEN, str(error) or "the server did not answer in time")
        finally:
            response.close()
        if has_too_many_values(body):
            return _failure(BROKEN, "the server sent a message with too many JSON values")
        status = response.status if response.status >= 200 else 502
        return httpx2.Response(status, headers=kept, content=body)

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Events(httpx2.AsyncByteStream):
    """The body of an event stream: whole events only, none larger than the limit, not faster than the pace."""

    def __init__(self, response: Response, pace: Pace, limit_s: float) -> None:
        self._response = response
        self._pace = pace
        self._limit_s = limit_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        events = EventCutter(bytes_max=MESSAGE_BYTES_MAX)
        while True:
            if self._limit_s == STREAM_S:
                self._response.deadline = asyncio.get_running_loop().time() + STREAM_S
            try:
                data = await self._response.read()
            except (ResponseBroken, TimeoutError) as error:
                raise httpx2.ReadError(str(error) or "the stream was silent for too long") from error
            if not data:
                return
            try:
                whole = events.feed(data)
            except ValueError as error:
                raise httpx2.ReadError(str(error)) from error
            async for piece in self._paced(whole):
                yield piece

    async def _paced(self, whole: bytes) -> AsyncIterator[bytes]:
        """Cut at ends of events, so that other tasks run between two pieces."""
        start = 0
        while start < len(whole):
            end = whole.find(b"\n\n", min(start + READ_BYTES, len(whole)) - 2) + 2
            piece = whole[start:] if end < 2 else whole[start:end]
            start += len(piece)
            if has_too_many_values(piece):
                raise httpx2.ReadError("a message has too many JSON values")
            await self._pace.wait(piece.count(b"\n\n"))
            yield piece

    async def aclose(self) -> None:
        self._response.close()


async def _read_whole(response: Response) -> bytes:
    body = bytearray()
    while data := await response.read():
        body += data
        if len(body) > MESSAGE_BYTES_MAX:
            raise ResponseBroken(f"its message has more than {MESSAGE_BYTES_MAX:,} bytes")
    return bytes(body)


def _head_of(body: bytes) -> _Head:
    try:
        return msgspec.json.decode(body, type=_Head) if body else _Head()
    except msgspec.DecodeError:
        return _Head()


def _failure(code: int, message: str) -> httpx2.Response:
    """A response of our own that the SDK turns into an error of this request alone."""
    error = {"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": message}}
    return httpx2.Response(502, headers={"content-type": "application/json"}, content=msgspec.json.encode(error))
