"""The one transport of model calls: HTTP/1.1 over connections that are kept and reused, every read bounded.

How it works. A connection is an asyncio protocol around httptools' compiled parser. It is either in use by one
response or idle in its pool; the pool is not polled: a connection that the server closes leaves it by its own
`connection_lost`. A response buffers what has arrived up to READ_AHEAD_BYTES and then pauses its socket, so that a
fast server waits for a slow reader. Deadlines belong to the response: one timer, moved on lazily, wakes whoever
waits. A whole response gives its connection back; one that is left early closes it.

Nothing is retried, redirected, decoded or remembered (cookies) here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import httptools

from antiphon.worker.models.connecting import ConnectFailed, Connector

CONNECTIONS_MAX = 1_000
IDLE_MAX = 100
"""Maximum idle connections kept for one provider."""
IDLE_S = 30.0
"""How long an idle connection is kept, in seconds."""
READ_AHEAD_BYTES = 256 * 1024
"""How much of a body is buffered before its socket is paused."""
OVERHEAD_BYTES_MAX = 512 * 1024
"""Maximum bytes in a row that are no body: headers, chunks' extensions, trailers. More than one read of a socket."""
RELEASE_S = 1.0
RELEASE_BYTES_MAX = 64 * 1024
"""Maximum time in seconds, and bytes, spent draining a released response."""
INTERIM_MAX = 16
"""Maximum 1xx responses before the real one."""
CONNECT_S = 10.0


class ResponseBroken(Exception):
    """The response did not arrive whole; the sentence says why."""


class Transport:
    """Requests to one origin. Close it: `await aclose()` ends what is under way."""

    def __init__(
        self, connector: Connector, *, connections_max: int = CONNECTIONS_MAX, idle_s: float = IDLE_S
    ) -> None:
        self._connector = connector
        self._connections_max = connections_max
        self._idle_s = idle_s
        self._open: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._connecting = 0
        self._timer: asyncio.TimerHandle | None = None
        self.is_closed = False

    @property
    def open_count(self) -> int:
        return len(self._open)

    async def post(self, path: str, headers: Mapping[str, str], body: bytes, *, deadline: float) -> Response:
        """Send a request and wait for the head of its response, until `deadline` (the loop's time). `headers` are
        ASCII without line ends. Raises `ConnectFailed`, `ResponseBroken`, TimeoutError."""
        head = self._head(path, headers, len(body))
        connection = self._idle_connection() or await self._connect(deadline)
        response = connection.send(head + body, deadline)
        try:
            await response.wait_head()
        except BaseException:
            response.close()
            raise
        return response

    def _idle_connection(self) -> Connection | None:
        """The connection that was used last, unless it is being closed."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closing:
                return connection
        return None

    def _head(self, path: str, headers: Mapping[str, str], length: int) -> bytes:
        origin, proxy = self._connector.origin, self._connector.proxy
        target = f"{origin.path}{path}" + (f"?{origin.query}" if origin.query else "")
        lines = dict(headers)
        if proxy is not None and not origin.is_tls:
            target = f"http://{origin.authority}{target}"
            if proxy.authorization:
                lines["Proxy-Authorization"] = proxy.authorization
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {target} HTTP/1.1\r\nHost: {origin.authority}\r\n{text}Content-Length: {length}\r\n\r\n".encode(
            "ascii"
        )

    async def _connect(self, deadline: float) -> Connection:
        if self.is_closed or len(self._open) + self._connecting >= self._connections_max:
            raise ConnectFailed("it is closed" if self.is_closed else "all connections to it are in use")
        self._connecting += 1
        try:
            left_s = deadline - asyncio.get_running_loop().time()
            connection = await self._connector.connect(lambda: Connection(self), timeout_s=min(CONNECT_S, left_s))
        finally:
            self._connecting -= 1
        if self.is_closed or connection.is_lost:
            connection.abort()
            raise ConnectFailed("the connection was closed")
        self._open.add(connection)
        return connection

    def release(self, connection: Connection) -> None:
        """Keep a connection whose response has arrived whole."""
        if self.is_closed or len(self._idle) >= IDLE_MAX:
            connection.abort()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._sweep)

    def remove(self, connection: Connection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection.response is None and connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        """Close what has been idle for too long; the oldest stand first."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0].idle_since + self._idle_s <= loop.time() + 0.001:
            self._idle.popleft().abort()
        if self._idle:
            self._timer = loop.call_at(self._idle[0].idle_since + self._idle_s, self._sweep)

    async def aclose(self) -> None:
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # transports close their sockets with the next turn of the loop


class Connection(asyncio.Protocol):
    """One socket: at most one response at a time is read from it."""

    def __init__(self, pool: Transport) -> None:
        self._pool = pool
        self._socket: Any = None
        self.response: Response | None = None
        self.idle_since = 0.0
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport

    @property
    def is_closing(self) -> bool:
        return bool(self._socket.is_closing())

    def send(self, request: bytes, deadline: float) -> Response:
        self.response = Response(self, deadline)
        self._socket.write(request)
        return self.response

    def data_received(self, data: bytes) -> None:
        if self.response is None:
            self.abort()  # unsolicited data could be taken for the next answer
        else:
            self.response.feed(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._pool.remove(self)
        if self.response is not None:
            self.response.end_of_connection()

    def pause(self) -> None:
        if not self._socket.is_closing():
            self._socket.pause_reading()

    def resume(self) -> None:
        if not (self._socket.is_closing() or self._socket.is_reading()):
            self._socket.resume_reading()

    def finish(self, *, is_reusable: bool) -> None:
        """The response is over. Unsent bytes of the request would precede the next one."""
        self.response = None
        if is_reusable and not self._socket.is_closing() and not self._socket.get_write_buffer_size():
            self._pool.release(self)
        else:
            self.abort()

    def abort(self) -> None:
        self._pool.remove(self)
        if self._socket is not None:
            self._socket.abort()


class Response:
    """What comes back: `status` and `headers` (names in lower case), then the body by `read`. Always `close` it.

    `deadline` may be moved between two reads: waiting beyond it is a TimeoutError.
    """

    def __init__(self, connection: Connection, deadline: float) -> None:
        self.deadline = deadline
        self.status = 0
        self.headers: dict[str, str] = {}
        self._connection: Connection | None = connection
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._overhead = 0
        self._interim = 0
        self._released: Connection | None = None
        self._is_head_read = self._is_whole = self._is_paused = self._is_reusable = False
        self._failure: ResponseBroken | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    async def wait_head(self) -> None:
        while not self._is_head_read:
            await self._wait()

    async def read(self) -> bytes:
        """What has arrived since; empty at the end. Raises `ResponseBroken` and TimeoutError."""
        while not self._chunks:
            if self._is_whole:
                return b""
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._is_paused and self._connection is not None:
            self._is_paused = False
            self._connection.resume()
        return data

    def close(self) -> None:
        """A response that was read to its end leaves its connection for the next one, any other closes it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return  # closed before, or released: then the timer is still needed
        if self._timer is not None:
            self._timer.cancel()
        connection.finish(is_reusable=self._is_whole and self._is_reusable)

    def release(self) -> None:
        """Drain the rest in the background, so that the connection can be reused; `close` has no effect then."""
        connection = self._connection
        if connection is None or self._is_whole or self._failure is not None:
            self.close()
            return
        self._connection = None
        self._released = connection
        self._chunks.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(RELEASE_S, self._settle)
        connection.resume()

    def _settle(self) -> None:
        """A released response has ended, or its time is over."""
        if self._timer is not None:
            self._timer.cancel()
        connection, self._released = self._released, None
        if connection is not None:
            connection.finish(is_reusable=self._is_whole and self._is_reusable)

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        if self._timer is not None and self._timer_at > self.deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._set_timer()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _check_deadline(self) -> None:
        """The deadline may have been moved on since the timer was set: then it is set again."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self.deadline > self._loop.time():
            self._set_timer()
        else:
            self._waiter.set_exception(TimeoutError())

    def _set_timer(self) -> None:
        self._timer_at = self.deadline
        self._timer = self._loop.call_at(self.deadline, self._check_deadline)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what the connection brings

    def feed(self, data: bytes) -> None:
        self._overhead += len(data)  # until some of it turns out to be body
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it switched to another protocol")
        except httptools.HttpParserError:
            self._fail("its answer is not HTTP")
        if self._overhead > OVERHEAD_BYTES_MAX:
            self._fail("its headers have no end")
        if self._released is not None:
            if self._is_whole or self._failure is not None or self._buffered > RELEASE_BYTES_MAX:
                self._loop.call_soon(self._settle)
            return
        if self._buffered > READ_AHEAD_BYTES and not self._is_paused and self._connection is not None:
            self._is_paused = True
            self._connection.pause()
        self._wake()

    def end_of_connection(self) -> None:
        if not self._is_whole:
            if self._is_head_read and not {"content-length", "transfer-encoding"} & self.headers.keys():
                self._is_whole = True  # its length is where the connection ends
            else:
                self._fail("the connection was closed" if self._is_head_read else "it closed without an answer")
        self._wake()

    def _fail(self, reason: str) -> None:
        if self._failure is None and not self._is_whole:
            self._failure = ResponseBroken(reason)
        connection = self._connection or self._released
        if connection is not None:
            connection.abort()

    # --- httptools' callbacks

    def on_message_begin(self) -> None:
        if self._is_whole:
            self._is_reusable = False  # unsolicited data follows

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_head_read:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._is_head_read:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
            self.headers.clear()
            if self._interim > INTERIM_MAX:
                self._fail("it sends interim answers without end")
            return
        self.status = status
        self._is_head_read = True
        self._is_reusable = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self._overhead = 0
        if self._is_whole:
            return
        self._buffered += len(data)
        if self._released is None:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        self._is_whole = self._is_head_read
