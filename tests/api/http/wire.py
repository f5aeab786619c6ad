"""A client that sees every byte: requests and answers on plain sockets, and the events of a stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

from support.waiting import DEADLINE_S


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code; empty for what is none."""
        return str(self.json["error"]["code"]) if self.status >= 400 else ""


class SseEvent(NamedTuple):
    """One event as it came: `raw` are its bytes with the blank line at their end."""

    id: str
    type: str
    data: bytes
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def make_request(
    method: str, path: str, *, token: str | None = None, body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """A request's bytes; `headers` win over what is written by default (an empty one is left out)."""
    head = {"host": "127.0.0.1"}
    if token is not None:
        head["authorization"] = f"Bearer {token}"
    if body or method in ("POST", "PUT", "PATCH"):
        head["content-length"] = str(len(body))
    head |= {name.lower(): value for name, value in (headers or {}).items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "surrogateescape") + body


_open_wires: set[Wire] = set()


async def close_wires() -> None:
    """Those that a test has left open, because it failed perhaps."""
    for wire in tuple(_open_wires):
        await wire.close()


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        _open_wires.add(self)

    @property
    def is_hung_up(self) -> bool:
        """Whether the server has ended it, in one way or the other."""
        return self.reader.at_eof() or self.reader.exception() is not None

    @classmethod
    async def open(cls, port: int, *, receive_bytes: int | None = None, tls: ssl.SSLContext | None = None) -> Wire:
        peer = socket.socket()
        peer.setblocking(False)
        if receive_bytes:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", port))
        name = "localhost" if tls else None
        return cls(*await asyncio.open_connection(sock=peer, limit=1 << 26, ssl=tls, server_hostname=name))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        return int(lines[0].split(" ")[1]), headers

    async def read_chunk(self) -> bytes:
        """A piece of a chunked body; empty at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def read_answer(self, method: str = "GET") -> Answer:
        async with asyncio.timeout(DEADLINE_S):
            status, headers = await self.read_head()
            body = b""
            if method == "HEAD" or status in (204, 304):
                pass
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                while piece := await self.read_chunk():
                    body += piece
            return Answer(status, headers, body)

    async def read_to_end(self) -> bytes:
        """What comes until the server hangs up; a reset is an end too."""
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""

    async def close(self) -> None:
        _open_wires.discard(self)
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """End it as a peer does that vanishes: RST, no FIN."""
        _open_wires.discard(self)
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.transport.abort()


class Stream:
    """The events of one connection, in order. `seen` are all that were read."""

    def __init__(self, wire: Wire, headers: dict[str, str]) -> None:
        self.wire = wire
        self.headers = headers
        self.seen: list[SseEvent] = []
        self._rest = b""
        self._events: list[SseEvent] = []
        self.has_ended = False

    async def next(self) -> SseEvent:
        """The next event. Raises EOFError at the end of the stream."""
        async with asyncio.timeout(DEADLINE_S):
            while not self._events:
                piece = await self.wire.read_chunk()
                if not piece:
                    self.has_ended = True
                    assert not self._rest, "the stream ends with a whole event"
                    raise EOFError
                *whole, self._rest = (self._rest + piece).split(b"\n\n")
                self._events = [parse_event(raw + b"\n\n") for raw in whole]
        event = self._events.pop(0)
        self.seen.append(event)
        return event

    async def until(self, *types: str, where: Callable[[SseEvent], bool] = lambda event: True) -> SseEvent:
        """The next event of one of these types."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                event = await self.next()
                if event.type in types and where(event):
                    return event

    async def rest(self) -> list[SseEvent]:
        """All events to the end."""
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(EOFError):
                while True:
                    await self.next()
        return self.seen

    @property
    def cursor(self) -> str:
        return next((event.id for event in reversed(self.seen) if event.id), "")

    async def close(self) -> None:
        await self.wire.close()


def parse_event(raw: bytes) -> SseEvent:
    """As the server writes them: at most one field of each name, in this order."""
    lines = raw.removesuffix(b"\n\n").split(b"\n")
    fields = dict(line.split(b": ", 1) for line in lines)
    assert list(fields) in ([b"id", b"event", b"data"], [b"event", b"data"]), raw
    assert len(lines) == len(fields), raw
    return SseEvent(fields.get(b"id", b"").decode(), fields[b"event"].decode(), fields[b"data"], raw)
