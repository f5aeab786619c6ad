"""Protocols: what a delivered token costs in each of them, beside this server's own stream."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import uvloop

from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer

WATCHERS = 50
RATE = 50
"""Tokens in a second."""
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


class Way(NamedTuple):
    """How one protocol follows a turn: the head of its request, its body, and what it sends when it has begun.
    `{chat}` is the chat's id, `{hex}` the same without dashes."""

    name: str
    method: str
    path: str
    begun: bytes
    headers: str = ""
    body: str = ""


UPGRADE = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
OWN = Way("its own stream", "GET", "/api/v1/chats/{chat}/stream?after=1", b"caught_up")
OTHERS = (
    Way("a WebSocket", "GET", "/api/v1/chats/{chat}/stream?after=1", b"caught_up", UPGRADE),
    Way("a stream of many chats", "GET", "/api/v1/streams?chat={chat}&after=1", b"caught_up"),
    Way("OpenAI's Responses", "GET", "/v1/responses/resp_{hex}_2?stream=true", b"response.in_progress"),
    Way("the AI SDK's UI message stream", "GET", "/api/ui/chat/{chat}/stream", b'"start"'),
    Way("AG-UI", "GET", "/agui/{chat}", b"RUN_STARTED"),
)


def measure_protocols(scale: Scale) -> list[Figure]:
    """CPU of the server per delivered token, 50 watchers, 50 tokens/s."""
    repeats, tokens = (1, 100) if scale.is_quick else (min(scale.repeats, 3), 400)
    costs: dict[str, list[float]] = {way.name: [] for way in (OWN, *OTHERS)}
    for _ in range(repeats):
        for way in (OWN, *OTHERS):
            with BenchServer() as server:
                costs[way.name].append(uvloop.run(_deliver(server, way, tokens)))
    floor = middle(costs[OWN.name])
    return [
        Figure(
            name=f"CPU per delivered token, {WATCHERS} watchers, {RATE} tokens/s: {way.name}",
            value=middle(costs[way.name]),
            unit="µs",
            floor=floor,
            floor_name=OWN.name,
            goal="≤ 2 ×",
            is_met=middle(costs[way.name]) <= 2 * floor,
        )
        for way in OTHERS
    ]


async def _deliver(server: BenchServer, way: Way, tokens: int) -> float:
    """Microseconds of the server's CPU per token and watcher, from the first token to the last."""
    wire = await server.connect()
    chat = await wire.ask("POST", "/chats", {"content": f"/stall 2\n/tokens {tokens}\n/rate {RATE}"})
    watchers = [await _Watcher.open(server, way, chat["id"]) for _ in range(WATCHERS)]
    await asyncio.gather(*(watcher.wait_for(way.begun) for watcher in watchers))
    await asyncio.gather(*(watcher.wait_for(b"w1 ") for watcher in watchers))
    cpu = server.cpu_s()
    await asyncio.gather(*(watcher.wait_for(b"w%d " % tokens) for watcher in watchers))
    cost = server.cpu_s() - cpu
    for watcher in watchers:
        watcher.writer.transport.abort()
    wire.close()
    return cost / (tokens * WATCHERS) * 1e6


class _Watcher:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._rest = b""

    @classmethod
    async def open(cls, server: BenchServer, way: Way, chat_id: str) -> _Watcher:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        names = {"chat": chat_id, "hex": chat_id.replace("-", "")}
        path, body = way.path, way.body
        for name, value in names.items():
            path, body = path.replace(f"{{{name}}}", value), body.replace(f"{{{name}}}", value)
        writer.write(
            f"{way.method} {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
            f"Authorization: Bearer {server.token}\r\nContent-Length: {len(body)}\r\n{way.headers}\r\n{body}".encode()
        )
        return cls(reader, writer)

    async def wait_for(self, text: bytes) -> None:
        """Read up to a text that the model writes once."""
        while text not in self._rest:
            data = await self.reader.read(1 << 16)
            if not data:
                raise RuntimeError(f"the stream ended before {text!r}: {self._rest[-500:]!r}")
            self._rest = self._rest[-64:] + data
