"""One HTTP connection of our own server: lets a stream write ready-made bytes to its socket, and ends slow heads.

A stream that writes for itself costs the socket's write and little else: no task is woken and nothing is encoded
for each watcher. Under any other ASGI server streams go the ordinary way (`edge.sse`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "antiphon.connection"
HEAD_S = 10.0
"""A request's head must have come within this time, else the connection is closed."""


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

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

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

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def abort(self) -> None:
        self.transport.abort()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._on_head_late)

    def _on_head_late(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
