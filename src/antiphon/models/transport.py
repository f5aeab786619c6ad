"""The one transport of model calls: HTTP/1.1 over connections that are kept and reused, every read bounded.

How it works. A connection is an asyncio protocol around httptools' compiled parser. It is either in use by one
response or idle in its pool; the pool is not polled: a connection that the server closes leaves it by its own
`connection_lost`. A response (`response.py`) buffers up to READ_AHEAD_BYTES and then pauses its socket: back-pressure
for a fast server. Deadlines belong to the response: one timer, moved lazily, ends the waiting read. A whole response
returns its connection to the pool; one that is abandoned closes it.

Nothing is redirected, decoded or remembered (cookies) here, and no answer that has begun is asked for again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from antiphon.models.connecting import ConnectFailed, Connector
from antiphon.models.response import Response, ResponseBroken

CONNECTIONS_MAX = 1_000
IDLE_MAX = 100
"""Maximum idle connections kept for one provider."""
IDLE_S = 30.0
"""How long an idle connection is kept, in seconds."""
CONNECT_S = 10.0


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
        ASCII without line ends. Raises `ConnectFailed`, `ResponseBroken`, TimeoutError.

        A kept connection that the server closes at this moment, before a byte of an answer, is replaced once by a new
        one: it was closed for having been idle.
        """
        request = self._head(path, headers, len(body)) + body
        if (kept := self._idle_connection()) is not None:
            try:
                return await self._exchange(kept, request, deadline)
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
