"""Forwards a WebSocket: the handshake, then the bytes of both sides as they come.

When the primary is lost the connection is closed. Its client connects again and goes on from its cursors.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon.api.http.app import RETRY_HEADER
from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.api.proxy.primary import Primary
from antiphon.api.proxy.request import Forwarded
from antiphon.errors import Unavailable
from antiphon.local.lock import InstanceFile

HEAD_BYTES_MAX = 64 * 1024
"""Maximum size of the head of the primary's response."""
PIECE_BYTES = 64 * 1024
KEPT = ("content-type", "www-authenticate", "retry-after", "sec-websocket-version")
"""The headers of a refusal that are forwarded."""


class Refused:
    """The primary's response to a handshake that it does not accept."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class SocketTunnel:
    """The WebSocket of one client, as an ASGI app. Call `end` when this process stops."""

    def __init__(self, request: Request, primary: Primary) -> None:
        forwarded = Forwarded.of(request, b"", None)
        names = {name for name, _ in forwarded.headers}
        upgrade = [(name, value) for name, value in request.scope["headers"] if name in (b"upgrade", b"connection")]
        assert not names & {name for name, _ in upgrade}, "they are hop-by-hop headers"
        self._forwarded = forwarded
        self._upgrade = upgrade
        self._primary = primary
        self._connection: Connection = request.scope["extensions"][EXTENSION]
        self._upstream: asyncio.StreamWriter | None = None
        self._is_ended = False
        self._draining: set[asyncio.Task[None]] = set()
        self._is_writable = asyncio.Event()

    def end(self) -> None:
        """Close the connection; its client connects to another instance."""
        self._is_ended = True
        self._is_writable.set()
        if self._upstream is not None:
            self._upstream.transport.abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `Unavailable` as long as the handshake is not answered."""
        reader, writer, head = await self._connect()
        try:
            if isinstance(head, Refused):
                kept = {name: value for name, value in head.headers.items() if name in KEPT}
                await Response(head.body, head.status, kept)(scope, receive, send)
            else:
                await self._splice(reader, writer, head)
        finally:
            writer.transport.abort()

    async def _splice(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        connection, self._upstream = self._connection, writer
        if not connection.take_over(self):
            return
        connection.sink = self
        try:
            connection.write(head)
            while data := await reader.read(PIECE_BYTES):
                connection.write(data)
                if not connection.is_writable and not await self._can_write():
                    connection.abort()
                    break
        except OSError:
            pass  # the primary is lost
        finally:
            connection.sink = None
            connection.finish_take_over()

    async def _can_write(self) -> bool:
        """Wait until the client has read. False: it is too slow, or this process stops."""
        connection = self._connection
        try:
            async with asyncio.timeout(self._primary.limits.slow_reader_s):
                while not (connection.is_writable or connection.transport.is_closing() or self._is_ended):
                    self._is_writable.clear()
                    await self._is_writable.wait()
        except TimeoutError:
            return False
        return not self._is_ended

    # --- what the connection calls

    def on_data(self, data: bytes) -> None:
        assert self._upstream is not None
        self._upstream.write(data)
        if self._upstream.transport.get_write_buffer_size() > PIECE_BYTES:
            self._connection.flow.pause_reading()
            task = asyncio.create_task(self._drain())
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def _drain(self) -> None:
        assert self._upstream is not None
        try:
            await self._upstream.drain()
        except OSError:
            return
        if not self._connection.transport.is_closing():
            self._connection.flow.resume_reading()

    def pump(self) -> None:
        self._is_writable.set()

    def on_lost(self) -> None:
        self._is_writable.set()
        if self._upstream is not None:
            self._upstream.transport.abort()

    # --- the handshake

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes | Refused]:
        """Send the handshake to a primary, and read its answer. Raises `Unavailable`."""
        loop, limits = asyncio.get_running_loop(), self._primary.limits
        deadline = loop.time() + limits.takeover_s
        while not self._is_ended and (primary := await self._primary.wait(deadline)) is not None:
            try:
                async with asyncio.timeout(limits.stream_head_s):
                    reader, writer = await _open(primary)
                    try:
                        head = await self._shake_hands(primary, reader, writer)
                    except BaseException:
                        writer.transport.abort()
                        raise
            except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError):
                pass
            else:
                if not isinstance(head, Refused) or RETRY_HEADER not in head.headers:
                    return reader, writer, head
                writer.transport.abort()
            await asyncio.sleep(limits.retry_s)
        raise Unavailable("the primary changes; connect again", retry_after_ms=500)

    async def _shake_hands(
        self, primary: InstanceFile, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | Refused:
        headers = [*self._forwarded.headers_for(primary.instance_id), *self._upgrade]
        lines = [b"GET %b HTTP/1.1" % self._forwarded.target, *(b"%b: %b" % header for header in headers)]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")[:-2]
        status = int(first.split(" ")[1])
        if status == 101:
            return head
        pairs = (field.partition(":") for field in fields)
        given = {name.lower(): value.strip() for name, _, value in pairs}
        length = min(int(given.get("content-length", "0")), self._primary.limits.error_bytes_max)
        return Refused(status, given, await reader.readexactly(length))


async def _open(primary: InstanceFile) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to loopback; the certificate is for another name, so it is not verified."""
    url = urlsplit(primary.http_url)
    context = None
    if url.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return await asyncio.open_connection(url.hostname, url.port, ssl=context, limit=HEAD_BYTES_MAX)
