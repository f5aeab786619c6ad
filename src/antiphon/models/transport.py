"""The transport of model calls: HTTP/1.1 over reusable connections, with a limit on every read.

How it works
------------
A connection is an asyncio protocol around httptools' compiled parser. It is either in use by one
response or idle in its pool; the pool is not polled: a connection that the server closes leaves it by its own
`connection_lost`. A response (`response.py`) buffers up to READ_AHEAD_BYTES and then pauses its socket: back-pressure
for a fast server. A response has one timer for its deadline, which is moved lazily. A complete response returns its
connection to the pool, any other one closes it.

There are no redirects, no decompression and no cookies, and no request is repeated once its answer has begun.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from antiphon.models.connecting import ConnectFailed, Connector, Origin
from antiphon.models.response import Response, ResponseBroken

CONNECTIONS_MAX = 1_000
"""Maximum number of connections to one provider."""
IDLE_MAX = 100
"""Maximum number of idle connections to one provider."""
IDLE_S = 30.0
"""How long an idle connection remains open, in seconds."""
CONNECT_S = 10.0
"""How long connecting may take, in seconds."""


class Transport:
    """Requests to one origin. Close it: `await aclose()` aborts the requests under way."""

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
    def origin(self) -> Origin:
        """The server of all requests."""
        return self._connector.origin

    @property
    def open_count(self) -> int:
        return len(self._open)

    async def post(self, path: str, headers: Mapping[str, str], body: bytes, *, deadline: float) -> Response:
        """Send a POST request; see `request`."""
        return await self.request("POST", path, headers, body, deadline=deadline)

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        deadline: float,
        is_repeatable: bool = True,
    ) -> Response:
        """Send a request and wait for the head of its response.

        If the server closes a reused connection before a byte of the answer, because it was idle, the request is
        repeated once on a new connection.

        Args:
            method: The method in capitals.
            path: Appended to the origin's path.
            headers: ASCII without line ends.
            body: The body.
            deadline: The event loop's time until which the head is awaited.
            is_repeatable: Whether the request may reach the server twice. If not, it gets a new connection.

        Raises:
            ConnectFailed, ResponseBroken, TimeoutError.
        """
        request = self._head(method, path, headers, len(body)) + body
        if is_repeatable and (idle := self._idle_connection()) is not None:
            try:
                return await self._exchange(idle, request, deadline)
            except ResponseBroken as error:
                if not error.is_untouched:
                    raise
        return await self._exchange(await self._connect(deadline), request, deadline)

    async def _exchange(self, connection: Connection, request: bytes, deadline: float) -> Response:
        response = connection.send(request, deadline)
        try:
            await response.wait_head()
        except BaseException:
            response.close()
            raise
        return response

    def _idle_connection(self) -> Connection | None:
        """The most recently used connection that is not being closed."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closing:
                return connection
        return None

    def _head(self, method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
        origin, proxy = self._connector.origin, self._connector.proxy
        target = f"{origin.path}{path}" + (f"?{origin.query}" if origin.query else "")
        lines = dict(headers)
        if proxy is not None and not origin.is_tls:
            target = f"http://{origin.authority}{target}"
            if proxy.authorization:
                lines["Proxy-Authorization"] = proxy.authorization
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        head = f"{method} {target} HTTP/1.1\r\nHost: {origin.authority}\r\n{text}Content-Length: {length}\r\n\r\n"
        return head.encode("ascii")

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
        """Return the connection of a complete response to the pool."""
        if self.is_closed or len(self._idle) >= IDLE_MAX:
            connection.abort()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._sweep)

    def remove(self, connection: Connection) -> None:
        """The connection is closed."""
        self._open.discard(connection)
        if connection.response is None and connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        """Close the connections that were idle for too long; the oldest are first."""
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
    """One socket, from which at most one response at a time is read."""

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
            self.abort()  # unsolicited data must not become the next answer
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
        """The response has ended. The connection is not reused if bytes of the request are still unsent."""
        self.response = None
        if is_reusable and not self._socket.is_closing() and not self._socket.get_write_buffer_size():
            self._pool.release(self)
        else:
            self.abort()

    def abort(self) -> None:
        self._pool.remove(self)
        if self._socket is not None:
            self._socket.abort()
