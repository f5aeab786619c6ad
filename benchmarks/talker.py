"""A client that has one turn after another with its chat and costs next to nothing: raw protocols, no tasks."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec

from benchmarks.server import BenchServer

TINY_TURN = {"content": "/rate 0\n/tokens 3"}
ENDED = b'"outcome":"answered"'


class _Line(asyncio.Protocol):
    """One connection that hands on what it receives."""

    transport: asyncio.WriteTransport

    def __init__(self, talker: Talker, is_stream: bool) -> None:
        self._talker = talker
        self._is_stream = is_stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if self._is_stream:
            self._talker.on_stream(data)
        else:
            self._talker.on_answer(data)


class Talker:
    """Sends the next message when the stream says that the turn has ended and the send was answered."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._seen = b""
        self._is_answered = True
        self._has_ended = False
        self.is_open = asyncio.Event()
        self.turns = 0
        self.sends = _Line(self, is_stream=False)
        self.stream = _Line(self, is_stream=True)

    def start(self) -> None:
        self._is_answered = self._has_ended = False
        self.sends.transport.write(self._message)

    def on_answer(self, data: bytes) -> None:
        if not self._is_answered and not data.startswith(b"HTTP/1.1 201"):
            raise RuntimeError(f"the send was answered: {data[:200]!r}")
        self._is_answered = True
        self._go_on()

    def on_stream(self, data: bytes) -> None:
        seen = self._seen + data
        if b"caught_up" in seen:
            self.is_open.set()
        self._has_ended = self._has_ended or ENDED in seen
        self._seen = seen[-len(ENDED) :] if ENDED not in seen else b""
        self._go_on()

    def _go_on(self) -> None:
        if self._is_answered and self._has_ended:
            self.turns += 1
            self.start()

    def close(self) -> None:
        self.sends.transport.abort()
        self.stream.transport.abort()


async def open_talker(server: BenchServer) -> Talker:
    """A talker with a chat of its own, watched from its beginning."""
    wire = await server.connect()
    chat = await wire.ask("POST", "/chats", {})
    wire.close()
    body = msgspec.json.encode(TINY_TURN)
    talker = Talker(server.head("POST", f"/chats/{chat['id']}/messages", len(body)) + body)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: talker.sends, server.host, server.port)
    await loop.create_connection(lambda: talker.stream, server.host, server.port)
    talker.stream.transport.write(server.head("GET", f"/chats/{chat['id']}/stream?after=1"))
    await talker.is_open.wait()
    return talker
