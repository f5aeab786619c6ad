"""One HTTP connection of our own server: lets a stream write ready-made bytes to its socket, and ends what is too
slow or too large to be a request.

A stream that writes for itself costs the socket's write and little else: no task is woken and nothing is encoded
for each watcher. Under any other ASGI server streams go the ordinary way (`edge.sse`).
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from antiphon.edge.close_delimited import delimit_by_close

EXTENSION = "antiphon.connection"
HEAD_S = 10.0
"""A request's head must have come within this time, else the connection is closed."""
HEAD_BYTES_MAX = 64 * 1024
"""So many bytes in a row may come without a whole head or a byte of a body (uvicorn's parser has no bound)."""


class Sink(Protocol):
    """What writes to a connection for itself."""

    def pump(self) -> None:
        """The socket takes bytes again."""

    def on_lost(self) -> None:
        """The connection is gone."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol; `sink` is told when the socket is writable again and when it is gone."""

    sink: Sink | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _empty_bytes = 0
    _has_advanced = False
    _left_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        self._has_advanced = False
        super().data_received(data)
        self._empty_bytes = 0 if self._has_advanced else self._empty_bytes + len(data)
        if self._empty_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(431, f"The head of a request is too large: at most {HEAD_BYTES_MAX} bytes are allowed.")

    def on_message_begin(self) -> None:
        self._has_advanced = True
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._has_advanced = True
        self._stop_timer()
        super().on_headers_complete()
        if self.scope["http_version"] != "1.1" and self.cycle.scope is self.scope:
            delimit_by_close(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._has_advanced = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is not an HTTP request.")

    def timeout_keep_alive_handler(self) -> None:
        """The connection was idle. One whose peer takes nothing of the last answer is cut off: `close` would wait."""
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
        super().connection_lost(exc)
        if self.sink is not None:
            self.sink.on_lost()

    @property
    def is_writable(self) -> bool:
        return not self.flow.write_paused

    def write(self, data: bytes | memoryview) -> None:
        self.transport.write(data)

    def abort(self) -> None:
        self.transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Answer what never became a request (unless another's answer is on its way), and hang up."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
            return
        body = msgspec.json.encode({"error": {"code": "invalid", "message": message}})
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, HTTPStatus(status).phrase.encode(), len(body), body)
        )
        self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._on_head_late)

    def _on_head_late(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
