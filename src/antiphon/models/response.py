"""One HTTP/1.1 response of the model transport: parsed as it arrives, buffered up to a bound, read with deadlines."""

from __future__ import annotations

import asyncio
from typing import Protocol

import httptools

READ_AHEAD_BYTES = 256 * 1024
"""Maximum bytes of a body that are buffered before its socket is paused."""
OVERHEAD_BYTES_MAX = 512 * 1024
"""Maximum consecutive bytes that are not body: headers, chunk extensions, trailers. Larger than one read of a
socket."""
RELEASE_S = 1.0
RELEASE_BYTES_MAX = 64 * 1024
"""Maximum time in seconds, and bytes, spent draining a released response."""
INTERIM_MAX = 16
"""Maximum number of 1xx responses before the final one."""


class ResponseBroken(Exception):
    """The response is incomplete; the text says why. `is_untouched`: not one byte of it arrived."""

    def __init__(self, reason: str, *, is_untouched: bool = False) -> None:
        super().__init__(reason)
        self.is_untouched = is_untouched


class Socket(Protocol):
    """What a response needs from its connection."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def finish(self, *, is_reusable: bool) -> None: ...

    def abort(self) -> None: ...


class Response:
    """A response: `status` and `headers` (names in lower case), then the body by `read`. Always `close` it.

    `deadline` may be changed between two reads. A read that waits beyond it raises TimeoutError.
    """

    def __init__(self, connection: Socket, deadline: float) -> None:
        self.deadline = deadline
        self.status = 0
        self.headers: dict[str, str] = {}
        self._connection: Socket | None = connection
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._is_untouched = True
        self._overhead = 0
        self._interim = 0
        self._released: Socket | None = None
        self._is_head_read = self._is_whole = self._is_paused = self._is_reusable = False
        self._failure: ResponseBroken | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    async def wait_head(self) -> None:
        while not self._is_head_read:
            await self._wait()

    async def read(self) -> bytes:
        """The bytes that arrived since the last read; empty at the end. Raises `ResponseBroken` and TimeoutError."""
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
        """Return the connection for reuse if the response was read to its end; else close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return  # closed before; or released, and the timer is still needed
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
        """A released response is complete, or its time limit has expired."""
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
        self._is_untouched = False
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
            self._failure = ResponseBroken(reason, is_untouched=self._is_untouched)
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
