"""A WebSocket on a connection of this server's own HTTP server (RFC 6455).

Frames of events are written ready-made; `websockets` parses what the client sends, and answers its pings and its
close.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State
from websockets.utils import accept_key

from antiphon.api.http.connection import Connection
from antiphon.api.http.sse import DirectWriter
from antiphon.api.websocket.session import CLOSE_CODES, CLOSED_NORMALLY, MESSAGE_BYTES_MAX, Session

CLOSE_S = 1.0
"""How long a client may take to answer a close, in seconds."""
PIECE_BYTES = 4 * 1024
"""Maximum number of received bytes that are handled before other work of the event loop: they may hold hundreds of
messages."""


def accepted_key(request: Request) -> str:
    """What proves that the handshake was understood. Raises `HTTPException` for a handshake that is none."""
    if request.headers.get("sec-websocket-version") != "13":
        raise HTTPException(426, "WebSockets of version 13 are supported.", {"sec-websocket-version": "13"})
    key = request.headers.get("sec-websocket-key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key or request.scope.get("http_version") != "1.1":
        raise HTTPException(400, "This is not a WebSocket handshake.")
    return accept_key(key)


class SocketWriter(DirectWriter):
    """Writes events, and lets more messages be read when the client reads."""

    def __init__(self, socket: DirectSocket) -> None:
        super().__init__(socket.connection, socket.session.group)
        self._socket = socket

    @property
    def is_in_frame(self) -> bool:
        return bool(self._rest)

    def pump(self) -> None:
        super().pump()
        self._socket.update_reading()


class DirectSocket:
    """The socket of one client. `run` returns when it is closed."""

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.session = session
        session.on_room = self.update_reading
        self._protocol = Protocol(SERVER, state=State.OPEN, max_size=MESSAGE_BYTES_MAX)
        self._message = bytearray()
        self._received = b""
        """What was read and is not handled yet."""
        self._is_reading = True
        self._is_handling = False
        """Whether the next piece of it will be handled soon."""
        self._closed = asyncio.Event()
        self._writer = SocketWriter(self)

    async def run(self, head: bytes) -> None:
        """Answer the handshake with `head`, then send and receive."""
        if not self.connection.take_over(self):
            return
        try:
            self.connection.write(head)
            await self._writer.run()
            await self._close()
        finally:
            self.connection.finish_take_over()

    async def _close(self) -> None:
        if self._protocol.state is State.OPEN:
            reason = self.session.group.end_reason
            self._protocol.send_close(CLOSE_CODES.get(reason, CLOSED_NORMALLY), reason)
            self._flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._closed.wait()

    # --- what the connection calls

    def on_data(self, data: bytes) -> None:
        self._received += data
        if not self._is_handling and self._has_room:
            self._handle_piece()
        self.update_reading()

    def _handle_next(self) -> None:
        self._is_handling = False
        if self._has_room and not self._closed.is_set():
            self._handle_piece()
        self.update_reading()

    def _handle_piece(self) -> None:
        piece, self._received = self._received[:PIECE_BYTES], self._received[PIECE_BYTES:]
        self._protocol.receive_data(piece)
        for event in self._protocol.events_received():
            assert isinstance(event, Frame)
            self._on_frame(event)
        self._flush()
        if self._protocol.state is not State.OPEN:
            self._received = b""
            self._closed.set()
            self._writer.on_lost()  # nothing may follow a close

    def on_lost(self) -> None:
        self._closed.set()

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._message += frame.data
        if frame.fin:
            text, self._message = bytes(self._message), bytearray()
            self.session.receive(text)

    def _flush(self) -> None:
        """Send what the protocol answers by itself: pongs, a close."""
        for data in self._protocol.data_to_send():
            if data:
                assert not self._writer.is_in_frame, "nothing is read while a frame is written in part"
                self.connection.write(data)

    @property
    def _has_room(self) -> bool:
        """Whether there is room for answers."""
        return self.connection.is_writable and not self.session.is_full

    def update_reading(self) -> None:
        """Handle what was read, and then read on, only while there is room for answers."""
        has_room = self._has_room
        if has_room and self._received and not self._is_handling:
            self._is_handling = True
            asyncio.get_running_loop().call_soon(self._handle_next)
        is_reading = has_room and not self._received
        if is_reading is not self._is_reading:
            self._is_reading = is_reading
            transport: Any = self.connection.transport
            if not transport.is_closing():
                transport.resume_reading() if is_reading else transport.pause_reading()
