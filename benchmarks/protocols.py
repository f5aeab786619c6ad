"""Protocols: what a delivered token costs in each of them, beside this server's own stream."""

from __future__ import annotations

import asyncio

import uvloop

from benchmarks.latency import added_latency_ms
from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer
from benchmarks.ways import OTHERS, OWN, Way

WATCHERS = 50
RATE = 50
"""Tokens in a second."""


def measure_protocols(scale: Scale) -> list[Figure]:
    """CPU of the server per delivered token, 50 watchers, 50 tokens/s; and the added latency of one watcher."""
    repeats, tokens = (1, 100) if scale.is_quick else (min(scale.repeats, 3), 400)
    costs: dict[str, list[float]] = {way.name: [] for way in (OWN, *OTHERS)}
    for _ in range(repeats):
        for way in (OWN, *OTHERS):
            with BenchServer() as server:
                costs[way.name].append(uvloop.run(_deliver(server, way, tokens)))
    floor = middle(costs[OWN.name])
    return _latencies(scale) + [
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


def _latencies(scale: Scale) -> list[Figure]:
    tokens = 100 if scale.is_quick else 500
    repeats = 1 if scale.is_quick else min(scale.repeats, 3)
    found: dict[str, list[float]] = {way.name: [] for way in (OWN, *OTHERS)}
    for _ in range(repeats):
        for way in (OWN, *OTHERS):
            found[way.name].append(uvloop.run(added_latency_ms(tokens=tokens, way=way))[0])
    floor = middle(found[OWN.name])
    return [
        Figure(
            name=f"added latency, model socket → watcher socket, p50: {way.name}",
            value=middle(found[way.name]),
            unit="ms",
            floor=floor,
            floor_name=OWN.name,
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
        writer.write(way.request(chat_id, host=f"{server.host}:{server.port}", token=server.token))
        return cls(reader, writer)

    async def wait_for(self, text: bytes) -> None:
        """Read up to a text that the model writes once."""
        while text not in self._rest:
            data = await self.reader.read(1 << 16)
            if not data:
                raise RuntimeError(f"the stream ended before {text!r}: {self._rest[-500:]!r}")
            self._rest = self._rest[-64:] + data
