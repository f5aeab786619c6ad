"""One HTTP connection of our own server: lets a stream write ready-made bytes to its socket, and closes
connections whose requests are too slow or too large.

A stream that writes for itself costs the socket's write and little else: no task is woken and nothing is encoded
for each watcher. Under any other ASGI server a stream is an ordinary ASGI response (`api.http.sse`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any, Protocol

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from antiphon.api.http.close_delimited import delimit_by_close
from antiphon.api.http.connection_limit import ConnectionLimit
from antiphon.observe.metrics import METRICS

EXTENSION = "antiphon.connection"
HEAD_BYTES_MAX = 64 * 1024
"""Maximum number of bytes without a complete head or a byte of a body (uvicorn's parser has no maximum)."""


HEADERS_MAX = 256
"""Maximum number of headers of a request, trailers included: each one calls Python."""


UNREAD_S = 5.0
"""How long the peer may take to read what is left when a connection that was taken over is closed, in seconds."""


class Sink(Protocol):
    """Writes to a connection directly."""

    def pump(self) -> None:
        """The socket is writable again."""

    def on_lost(self) -> None:
        """The connection is lost."""


class TakenOver(Protocol):
    """Another protocol on a connection that began with HTTP."""

    def on_data(self, data: bytes) -> None:
        """Bytes of the peer."""

    def on_lost(self) -> None:
        """The connection is lost."""


class DeclinedUpgrade:
    """A request that asked for another protocol: its head without the Upgrade header. A server may always answer in
    HTTP/1.1 instead (RFC 9110, section 7.8)."""

    def __init__(self, parser: httptools.HttpRequestParser, url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.headers = tuple(headers)
        if parser.get_method() == b"CONNECT":
            raise ConnectRefused("CONNECT opens a proxy's tunnel; this server is not a proxy")
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())]
        lines += [b"%b: %b" % (name, _without_upgrade(name, value)) for name, value in headers if name != b"upgrade"]
        self.head = b"\r\n".join(lines) + b"\r\n\r\n"


class TooManyHeaders(Exception):
    """The parser passes it on as an error of its callback: the request is answered with 431."""


class ConnectRefused(Exception):
    """The parser passes it on as an error of its callback: the request is answered with 400."""


def _without_upgrade(name: bytes, value: bytes) -> bytes:
    if name != b"connection":
        return value
    options = (option.strip() for option in value.split(b","))
    return b", ".join(option for option in options if option.lower() != b"upgrade")


def _nothing() -> None:
    """The `on_response` of a request that is never answered."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol; notifies `sink` when the socket is writable again and when it is lost."""

    sink: Sink | None = None
    _taken_over: TakenOver | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _empty_bytes = 0
    _has_advanced = False
    _left_bytes = 0
    _declined: DeclinedUpgrade | None = None

    def __init__(self, *given: Any, limit: ConnectionLimit, head_s: float, **options: Any) -> None:
        super().__init__(*given, **options)
        self._limit = limit
        self._head_s = head_s
        self._unanswered: deque[RequestResponseCycle] = deque()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self._limit.acquire(self):
            self._await_head()
        else:
            METRICS.connections_refused.inc()
            self._refuse(503, "Not available right now: all connections are in use.", code="unavailable")

    def close_idle(self) -> None:
        """Close this idle connection for a new one; at once if the peer has not read the last answer."""
        self.transport.abort() if self.transport.get_write_buffer_size() else self.transport.close()

    def take_over(self, by: TakenOver) -> bool:
        """From now on the bytes of this connection are not HTTP. To be called while a request is handled; it is not
        answered. False: the connection is closed, or is being closed because the peer has sent more requests."""
        if self.pipeline or self.cycle is None or self.transport.is_closing():
            self._close_in_time()
            return False
        self._unset_keepalive_if_required()
        self.cycle.response_started = True
        self._taken_over = by
        return True

    def finish_take_over(self) -> None:
        """Close the connection. What was written is still sent, if the peer reads it within `UNREAD_S`."""
        if self.cycle is not None:
            self.cycle.response_complete = True
        self._taken_over = None
        self._close_in_time()

    def _close_in_time(self) -> None:
        """`close` alone would wait for a peer that does not read, as long as it likes."""
        self.transport.close()
        if self.cycle is not None:  # it is not lost
            self._stop_timer()
            self._head_timer = self.loop.call_later(UNREAD_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._taken_over is not None:
            self._taken_over.on_data(data)
            return
        self._has_advanced = False
        self._unset_keepalive_if_required()
        self._parse(data)
        self._empty_bytes = 0 if self._has_advanced else self._empty_bytes + len(data)
        if self._empty_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(431, f"The head of a request is too large: at most {HEAD_BYTES_MAX} bytes are allowed.")

    def _parse(self, data: bytes) -> None:
        """Feed the parser. It stops at the head of a request that asks for another protocol, and would read the body
        of that one as the next request: a new parser parses such a head once more, without the Upgrade header."""
        left: bytes | memoryview = data
        try:
            while True:
                try:
                    self.parser.feed_data(left)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    left = memoryview(left)[upgrade.args[0] :]
                    self._reread_head()
        except httptools.HttpParserError as error:
            if len(self.headers) >= HEADERS_MAX:
                self._refuse(431, f"A request has too many headers: at most {HEADERS_MAX} are allowed.")
            else:
                self.send_400_response(str(error))

    def _reread_head(self) -> None:
        declined = self._declined
        assert declined is not None, "the parser has called on_headers_complete for this head"
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(declined.head)

    def on_message_begin(self) -> None:
        self._has_advanced = True
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]
        if self._head_timer is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS_MAX:
            raise TooManyHeaders
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._has_advanced = True
        self._stop_timer()
        if self.parser.should_upgrade():
            self._declined = DeclinedUpgrade(self.parser, self.url, self.headers)
            return
        self._limit.set_busy(self)
        if self._declined is not None:
            self.headers[:] = self._declined.headers  # the application sees the headers as sent
            self._declined = None
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        if self.scope["http_version"] != "1.1" and self.cycle.scope is self.scope:
            delimit_by_close(self.cycle)

    def on_response_complete(self) -> None:
        if self._unanswered:
            self._unanswered.popleft()
        super().on_response_complete()
        if not self.pipeline and self.cycle is not None and self.cycle.response_complete:
            self._limit.set_idle(self)

    def on_message_complete(self) -> None:
        if self._declined is None:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._has_advanced = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is not an HTTP request.")

    def timeout_keep_alive_handler(self) -> None:
        """The connection was idle. If the peer has not read the last answer it is aborted: `close` would wait."""
        left = self.transport.get_write_buffer_size()
        if left and left != self._left_bytes:
            self._left_bytes = left
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif left:
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.sink is not None:
            self.sink.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._limit.release(self)
        self._abandon_requests()
        super().connection_lost(exc)
        if self.sink is not None:
            self.sink.on_lost()
        if self._taken_over is not None:
            self._taken_over.on_lost()
        self._break_cycles()

    def _abandon_requests(self) -> None:
        """Nothing more is written for the requests that are unanswered. uvicorn marks the last one only, so one that
        pipelined requests wait for would write to a closed transport."""
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        self._unanswered.clear()

    def _break_cycles(self) -> None:
        """Free the connection and its requests at once instead of by the garbage collector: they refer to each
        other."""
        self.sink = None
        self._taken_over = None
        self.scope = None  # type: ignore[assignment]
        self.headers = []
        self.cycle = None  # type: ignore[assignment]
        for waiting, _ in self.pipeline:
            waiting.on_response = _nothing
        self.pipeline.clear()

    @property
    def is_writable(self) -> bool:
        return not self.flow.write_paused

    def write(self, data: bytes | memoryview) -> None:
        self.transport.write(data)

    def abort(self) -> None:
        self.transport.abort()

    def _refuse(self, status: int, message: str, *, code: str = "invalid") -> None:
        """Answer a malformed request, and close the connection. If requests before it are unanswered the client would
        take this answer for theirs, so the connection is only closed."""
        is_answerable = not self._unanswered or (
            len(self._unanswered) == 1 and not self._unanswered[0].response_started and self._unanswered[0].more_body
        )
        self._abandon_requests()
        if not is_answerable:
            self.transport.close()
            return
        body = msgspec.json.encode({"error": {"code": code, "message": message}})
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, HTTPStatus(status).phrase.encode(), len(body), body)
        )
        self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._head_s, self._on_head_late)

    def _on_head_late(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
