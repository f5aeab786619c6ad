"""Drafts at other replicas than their holder: how much later a token is there, and what many watchers cost."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

import uvloop

from antiphon.core.values import Value
from benchmarks.fleet import open_database, open_replicas
from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer
from benchmarks.streams import allow_many_sockets, deliver
from support.nats import NatsServer, find_nats_server

RATES = (20, 100)
WATCHERS = 300
REPLICAS = 3
FANOUT_RATE = 100
DEADLINE_S = 120.0


# --- latency


class Times(Value):
    """Milliseconds per token, from the model's socket: at the holder, and at the other replica. The CPU of both is
    in microseconds per token."""

    held: list[float]
    relayed: list[float]
    cpu_us: float


def measure_relay(scale: Scale) -> list[Figure]:
    """A model in this process writes tokens; a watcher of the holder and one of another replica read the same ones
    here, by the same clock."""
    seconds = 2 if scale.is_quick else 10
    figures = []
    with open_database(scale.store) as database:
        for link, bus in _links():
            with bus as url:
                for rate in RATES:
                    found = [
                        uvloop.run(relay_times(database.fresh(), url, rate=rate, tokens=rate * seconds))
                        for _ in range(scale.repeats)
                    ]
                    figures += _latency_figures(f"{link}, {rate} tokens/s", found)
    return figures


@contextmanager
def _nats() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


def _links() -> list[tuple[str, AbstractContextManager[str]]]:
    """What carries drafts, and the bus for it; NATS where its server is installed."""
    links: list[tuple[str, AbstractContextManager[str]]] = [("ZeroMQ", nullcontext(""))]
    return [*links, ("NATS", _nats())] if find_nats_server() else links


def _latency_figures(case: str, found: Sequence[Times]) -> list[Figure]:
    figures = [
        Figure(
            name=f"relay, {case}: model socket → another replica's watcher, {name}",
            value=middle([_share(times.relayed, share) for times in found]),
            unit="ms",
            floor=middle([_share(times.held, share) for times in found]),
            floor_name="the holder's own watcher",
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]
    cpu = middle([times.cpu_us for times in found])
    return [*figures, Figure(name=f"relay, {case}: CPU of both replicas a token", value=cpu, unit="µs")]


def _share(times: Sequence[float], share: float) -> float:
    return sorted(times)[int(len(times) * share)]


async def relay_times(store: str, bus: str, *, rate: int, tokens: int) -> Times:
    async with _model(rate, tokens) as model:
        env = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "none", "ANTIPHON_MODEL": "openai:bench"}
        # Entered in a thread: replicas may call their model while they start.
        opened = open_replicas(store, 2, bus=bus, env=env)
        replicas = await asyncio.to_thread(opened.__enter__)
        try:
            return await _relay_times(model, replicas, tokens)
        finally:
            await asyncio.to_thread(opened.__exit__, None, None, None)


async def _relay_times(model: _Model, replicas: Sequence[BenchServer], tokens: int) -> Times:
    holder, other = replicas
    wire = await holder.connect()
    chat = await wire.ask("POST", "/chats", {"content": "go"})
    seen = [await Seen.open(server, chat["id"]) for server in (holder, other)]
    await model.is_asked.wait()
    reading = [asyncio.create_task(one.read(tokens)) for one in seen]
    cpu = sum(server.cpu_s() for server in replicas)
    model.begin.set()
    async with asyncio.timeout(DEADLINE_S):
        held, relayed = await asyncio.gather(*reading)
    cpu = sum(server.cpu_s() for server in replicas) - cpu
    wire.close()
    return Times(
        held=[(b - a) * 1e3 for a, b in zip(model.sent, held, strict=True)],
        relayed=[(b - a) * 1e3 for a, b in zip(model.sent, relayed, strict=True)],
        cpu_us=cpu / tokens * 1e6,
    )


class Seen:
    """A watcher's socket: when each of the numbered tokens came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, server: BenchServer, chat_id: str) -> Seen:
        wire = await server.connect()
        wire.writer.write(server.head("GET", f"/chats/{chat_id}/stream?after=0"))
        await wire.reader.readuntil(b"event: caught_up")
        return cls(wire.reader, wire.writer)

    async def read(self, tokens: int) -> list[float]:
        times: list[float] = []
        rest = b""
        while len(times) < tokens:
            data = await self._reader.read(1 << 16)
            now = time.perf_counter()
            if not data:
                raise RuntimeError(f"a stream ended after {len(times)} of {tokens} tokens")
            rest += data
            while len(times) < tokens and (at := rest.find(b"<%d>" % len(times))) >= 0:
                times.append(now)
                rest = rest[at:]
            rest = rest[-4096:]
        self._writer.close()
        return times


class _Model:
    """A model server that writes numbered tokens once, after `begin`."""

    def __init__(self, rate: int, tokens: int) -> None:
        self.url = ""
        self.sent: list[float] = []
        self.is_asked = asyncio.Event()
        self.begin = asyncio.Event()
        self._rate = rate
        self._tokens = tokens

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        self.is_asked.set()
        await self.begin.wait()
        for number in range(self._tokens):
            await asyncio.sleep(1 / self._rate)
            choice = {"index": 0, "delta": {"content": f"<{number}>"}, "finish_reason": None}
            self.sent.append(time.perf_counter())
            writer.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        writer.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def _model(rate: int, tokens: int) -> AsyncIterator[_Model]:
    model = _Model(rate, tokens)
    server = await asyncio.start_server(model.answer, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield model
    finally:
        server.close()


# --- fan-out


def measure_relayed_fanout(scale: Scale) -> list[Figure]:
    """CPU per delivered frame of one chat's 300 watchers: spread over three replicas, all three processes together,
    beside one that has them all. Every text is checked."""
    allow_many_sockets()
    tokens = FANOUT_RATE * (2 if scale.is_quick else 4)
    spread: list[float] = []
    one: list[float] = []
    with open_database(scale.store) as database:
        for _ in range(scale.repeats):
            for count, found in ((REPLICAS, spread), (1, one)):
                with open_replicas(database.fresh(), count) as servers:
                    found.append(uvloop.run(deliver(servers, WATCHERS, FANOUT_RATE, tokens)))
    return [
        Figure(
            name=f"CPU per delivered frame, {WATCHERS} watchers over {REPLICAS} replicas, {FANOUT_RATE} tokens/s",
            value=middle(spread),
            unit="µs",
            floor=middle(one),
            floor_name=f"one replica with all {WATCHERS}",
            goal="every text complete",
            is_met=True,
        )
    ]
