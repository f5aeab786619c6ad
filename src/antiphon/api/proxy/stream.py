"""A stream that is handed on: when its primary goes, it is attached to the next one at the last cursor told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.api.http.app import ELSEWHERE_HEADER
from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.api.proxy.exchange import WAIT_S, body_of, start_of, until_left
from antiphon.api.proxy.primary import RETRY_S, Primary
from antiphon.api.proxy.request import Forwarded
from antiphon.errors import Unavailable
from antiphon.local.lock import InstanceFile
from antiphon.observe.metrics import METRICS

HEAD_S = 15.0
"""A primary that does not begin to answer for so long is given up."""
SLOW_S = 30.0
EVENT_BYTES_MAX = 64 * 1024 * 1024
LAST: Message = {"type": "http.response.body", "body": b"", "more_body": False}
FAREWELL = b'event: bye\ndata: {"type":"bye","reason":"shutdown","retry_ms":500}\n\n'


log = structlog.get_logger(__name__)


class EventBlocks:
    """Cuts a stream's bytes at the ends of events. `cursor` is the last one told; `farewell` the reason of a `bye`
    (`shutdown` is kept from the reader)."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.farewell = ""
        self._rest = bytearray()

    def restart(self) -> None:
        """Of an event that was cut off nothing is told: it comes again."""
        self._rest.clear()
        self.farewell = ""

    def feed(self, chunk: bytes) -> bytes:
        """What can be told now: whole events. Raises `OverflowError` for one beyond all bounds."""
        searched = max(len(self._rest) - 1, 0)
        self._rest += chunk
        end = self._rest.rfind(b"\n\n", searched)
        if end < 0:
            if len(self._rest) > EVENT_BYTES_MAX:
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


def _last_line(block: bytes, begin: bytes) -> int:
    """Where the last line that begins so begins; -1: none does. (No line of data holds a line break.)"""
    at = block.rfind(b"\n" + begin)
    return at + 1 if at >= 0 else 0 if block.startswith(begin) else -1


def _reason_of(event: bytes) -> str:
    data = event.partition(b"data: ")[2].partition(b"\n")[0]
    try:
        shown: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError:
        return "shutdown"
    return str(shown.get("reason", ""))


class StreamRelay:
    """One reader's stream, as an ASGI app. `end` it when this process stops."""

    def __init__(self, forwarded: Forwarded, primary: Primary, successor: ASGIApp) -> None:
        self._forwarded = forwarded
        self._primary = primary
        self._successor = successor
        self._blocks = EventBlocks()
        self._is_begun = False
        self._relaying: asyncio.Task[bool] | None = None

    def end(self) -> None:
        """Tell the reader to come back, and be done."""
        if self._relaying is not None:
            self._relaying.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(EXTENSION)
        abort = connection.abort if isinstance(connection, Connection) else None
        self._relaying = relaying = asyncio.create_task(self._relay(_in_time(send, abort)))
        leaving = asyncio.create_task(until_left(receive))
        try:
            await asyncio.wait({relaying, leaving}, return_when=asyncio.FIRST_COMPLETED)
            has_left = leaving.done()
        finally:
            leaving.cancel()
            if not relaying.done():
                relaying.cancel()
            await asyncio.wait({relaying, leaving})
        if has_left:
            return
        if relaying.cancelled():
            await self._say_goodbye(send)
        elif relaying.result():
            await self._hand_over(scope, receive, send)

    async def _relay(self, send: Send) -> bool:
        """Until the stream is over (False) or this process is the primary (True)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_S
        while True:
            try:
                primary = await self._primary.wait(deadline)
                if primary is None:
                    return True
                async with self._open(primary) as response:
                    if response.status_code == 200:
                        deadline = loop.time() + WAIT_S
                    if await self._pass_on(response, send):
                        return False
            except Unavailable:
                if not self._is_begun:
                    raise
                await self._say_goodbye(send)
                return False
            except SlowReader:
                return False
            except OverflowError:
                log.error("stream_event_rejected", bytes_max=EVENT_BYTES_MAX)
                await self._say_goodbye(send)
                return False
            except (httpx2.TransportError, TimeoutError):
                pass  # it went: the next one is asked
            await asyncio.sleep(RETRY_S)

    @contextlib.asynccontextmanager
    async def _open(self, primary: InstanceFile) -> AsyncIterator[httpx2.Response]:
        forwarded = self._forwarded.after(self._blocks.cursor)
        async with asyncio.timeout(HEAD_S):
            response = await self._primary.open(primary, forwarded, read_s=None)
        try:
            yield response
        finally:
            await response.aclose()

    async def _pass_on(self, response: httpx2.Response, send: Send) -> bool:
        """Hand on what one primary tells; whether that is the end of it."""
        if ELSEWHERE_HEADER in response.headers:
            return False
        if self._is_begun and response.status_code != 200:
            await send(LAST)  # it may not go on; its reader comes back and is told why
            return True
        body = b"" if response.status_code == 200 else await body_of(response)
        if not self._is_begun:
            await send(start_of(response))
            self._is_begun = True
        if response.status_code != 200:
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return True
        self._blocks.restart()
        async for chunk in response.aiter_raw():
            told = self._blocks.feed(chunk)
            if told:
                await send({"type": "http.response.body", "body": told, "more_body": True})
        if self._blocks.farewell and self._blocks.farewell != "shutdown":
            await send(LAST)
            return True
        return False

    async def _say_goodbye(self, send: Send) -> None:
        if not self._is_begun:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": FAREWELL, "more_body": False})

    async def _hand_over(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on at this process's own door: what it answers begins where this one stopped."""
        forwarded = self._forwarded.after(self._blocks.cursor)
        onward = _Onward(send) if self._is_begun else send
        await self._successor(forwarded.scope(scope), receive, onward)


class SlowReader(Exception):
    """The reader has taken nothing for too long, and was cut off."""


def _in_time(send: Send, abort: Callable[[], None] | None) -> Send:
    """Who takes nothing for SLOW_S is cut off, as a primary does; it comes back by its cursor."""

    async def sent(message: Message) -> None:
        try:
            async with asyncio.timeout(SLOW_S):
                await send(message)
        except TimeoutError as error:
            METRICS.slow_watchers.inc()
            if abort is not None:
                abort()
            raise SlowReader from error

    return sent


class _Onward:
    """Sends the rest of an answer whose beginning was sent; the body of a refusal is no part of a stream."""

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
