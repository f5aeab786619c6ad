"""Forwards a stream. When its primary is lost, it is resumed at the next one, from the last cursor that was sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.api.http.app import RETRY_HEADER
from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.api.proxy.exchange import body_of, start_of, until_left
from antiphon.api.proxy.limits import ProxyLimits
from antiphon.api.proxy.primary import Primary
from antiphon.api.proxy.request import Forwarded
from antiphon.errors import Unavailable
from antiphon.local.lock import InstanceFile
from antiphon.observe.metrics import METRICS

LAST: Message = {"type": "http.response.body", "body": b"", "more_body": False}
FAREWELL = b'event: bye\ndata: {"type":"bye","reason":"shutdown","retry_ms":500}\n\n'


log = structlog.get_logger(__name__)


class EventBlocks:
    """Splits the bytes of a stream into whole events. `cursor` is the cursor of the last event, `farewell` the reason
    of a `bye` event. A `bye` with reason `shutdown` is not forwarded."""

    def __init__(self, bytes_max: int = ProxyLimits().event_bytes_max) -> None:
        self._bytes_max = bytes_max
        self.cursor: str | None = None
        self.farewell = ""
        self._rest = bytearray()

    def restart(self) -> None:
        """Drop an incomplete event: the next primary sends it again."""
        self._rest.clear()
        self.farewell = ""

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that are complete now. Raises `OverflowError` for an event beyond the maximum size."""
        searched = max(len(self._rest) - 1, 0)
        self._rest += chunk
        end = self._rest.rfind(b"\n\n", searched)
        if end < 0:
            if len(self._rest) > self._bytes_max:
                raise OverflowError
            return b""
        block = bytes(self._rest[: end + 2])
        del self._rest[: end + 2]
        return self._read(block)

    def _read(self, block: bytes) -> bytes:
        at = _last_line(block, b"event: bye\n")
        if at >= 0:
            self.farewell = _reason_of(block[at:])
            if self.farewell == "shutdown":
                block = block[:at]
        at = _last_line(block, b"id: ")
        if at >= 0:
            self.cursor = block[at + 4 : block.index(b"\n", at)].decode("latin-1")
        return block


def _last_line(block: bytes, prefix: bytes) -> int:
    """The offset of the last line with this prefix; -1 if there is none. (A line of data has no line break.)"""
    at = block.rfind(b"\n" + prefix)
    return at + 1 if at >= 0 else 0 if block.startswith(prefix) else -1


def _reason_of(event: bytes) -> str:
    data = event.partition(b"data: ")[2].partition(b"\n")[0]
    try:
        shown: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError:
        return "shutdown"
    return str(shown.get("reason", ""))


class StreamRelay:
    """The stream of one client, as an ASGI app. Call `end` when this process stops."""

    def __init__(self, forwarded: Forwarded, primary: Primary, successor: ASGIApp) -> None:
        self._forwarded = forwarded
        self._primary = primary
        self._successor = successor
        self._limits = primary.limits
        self._blocks = EventBlocks(primary.limits.event_bytes_max)
        self._is_started = False
        self._relaying: asyncio.Task[bool] | None = None

    def end(self) -> None:
        """End the stream with a `bye` event: its client reconnects."""
        if self._relaying is not None:
            self._relaying.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(EXTENSION)
        abort = connection.abort if isinstance(connection, Connection) else None
        self._relaying = relaying = asyncio.create_task(self._relay(in_time(send, abort, self._limits.slow_reader_s)))
        disconnecting = asyncio.create_task(until_left(receive))
        try:
            await asyncio.wait({relaying, disconnecting}, return_when=asyncio.FIRST_COMPLETED)
            is_disconnected = disconnecting.done()
        finally:
            disconnecting.cancel()
            if not relaying.done():
                relaying.cancel()
            await asyncio.wait({relaying, disconnecting})
        if is_disconnected:
            return
        if relaying.cancelled():
            await self._say_goodbye(send)
        elif relaying.result():
            await self._hand_over(scope, receive, send)

    async def _relay(self, send: Send) -> bool:
        """Forward until the stream has ended (False) or this process is the primary (True)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.takeover_s
        while True:
            try:
                primary = await self._primary.wait(deadline)
                if primary is None:
                    return True
                async with self._open(primary) as response:
                    if response.status_code == 200:
                        deadline = loop.time() + self._limits.takeover_s
                    if await self._forward(response, send):
                        return False
            except Unavailable:
                if not self._is_started:
                    raise
                await self._say_goodbye(send)
                return False
            except SlowReader:
                return False
            except OverflowError:
                log.error("stream_event_rejected", bytes_max=self._limits.event_bytes_max)
                await self._say_goodbye(send)
                return False
            except (httpx2.TransportError, TimeoutError):
                pass  # the primary was lost: the stream is resumed at the next one
            await asyncio.sleep(self._limits.retry_s)

    @contextlib.asynccontextmanager
    async def _open(self, primary: InstanceFile) -> AsyncIterator[httpx2.Response]:
        forwarded = self._forwarded.after(self._blocks.cursor)
        async with asyncio.timeout(self._limits.stream_head_s):
            response = await self._primary.open(primary, forwarded, read_s=None)
        try:
            yield response
        finally:
            await response.aclose()

    async def _forward(self, response: httpx2.Response, send: Send) -> bool:
        """Forward the response of one primary; True if the stream has ended."""
        if RETRY_HEADER in response.headers:
            return False
        if self._is_started and response.status_code != 200:
            await send(LAST)  # refused; the client reconnects and receives the error
            return True
        body = b"" if response.status_code == 200 else await body_of(response, self._limits)
        if not self._is_started:
            await send(start_of(response))
            self._is_started = True
        if response.status_code != 200:
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return True
        self._blocks.restart()
        async for chunk in response.aiter_raw():
            events = self._blocks.feed(chunk)
            if events:
                await send({"type": "http.response.body", "body": events, "more_body": True})
        if self._blocks.farewell and self._blocks.farewell != "shutdown":
            await send(LAST)
            return True
        return False

    async def _say_goodbye(self, send: Send) -> None:
        if not self._is_started:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": FAREWELL, "more_body": False})

    async def _hand_over(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Continue with this process's own app, from the last cursor."""
        forwarded = self._forwarded.after(self._blocks.cursor)
        onward = _Continued(send) if self._is_started else send
        await self._successor(forwarded.scope(scope), receive, onward)


class SlowReader(Exception):
    """The client has read nothing for too long; its connection was closed."""


def in_time(send: Send, abort: Callable[[], None] | None, slow_s: float) -> Send:
    """A `send` that closes the connection of a client that reads nothing for `slow_s`, as a primary does. The client
    resumes by its cursor."""

    async def sent(message: Message) -> None:
        try:
            async with asyncio.timeout(slow_s):
                await send(message)
        except TimeoutError as error:
            METRICS.slow_watchers.inc()
            if abort is not None:
                abort()
            raise SlowReader from error

    return sent


class _Continued:
    """Sends the rest of a response whose head was sent already. The body of an error is not part of a stream."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_refused = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._is_refused = message["status"] != 200
        elif not self._is_refused:
            await self._send(message)
        elif not message.get("more_body"):
            await self._send(LAST)
