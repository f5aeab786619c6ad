"""Durable sends and tiny turns, over HTTP, beside the database's own commits."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import apsw
import uvloop

from antiphon.errors import TooMany
from antiphon.ports import Store
from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer
from benchmarks.talker import open_talker

CLIENTS = 64


def measure_sends(scale: Scale) -> list[Figure]:
    """Acknowledged sends per second: 64 clients on one busy chat (queued), and each on a chat of its own."""
    floors: list[float] = []
    found: dict[str, list[float]] = {}
    count = 2_000 if scale.is_quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        for i in range(scale.repeats):
            floors.append(_commit_rate(Path(folder) / f"floor{i}.db"))
            for where, chats in (("one chat", 1), ("many chats", CLIENTS)):
                rate = uvloop.run(_sqlite_rate(Path(folder) / f"{chats}-{i}.db", count, chats))
                found.setdefault(f"durable sends, 64 callers, {where}", []).append(rate)
                with BenchServer(data=Path(folder) / f"server{chats}-{i}") as server:
                    rate = uvloop.run(http_rate(server, count // 2, chats))
                found.setdefault(f"the same over HTTP, 64 clients, {where}", []).append(rate)
    return durable_figures(found, floors, "SQLite commits of one small row")


def durable_figures(found: Mapping[str, Sequence[float]], floors: Sequence[float], floor_name: str) -> list[Figure]:
    """Rates by their names, each beside the database's own; the goal is without HTTP."""
    floor = middle(floors)
    return [
        Figure(
            name=name,
            value=middle(rates),
            unit="per s",
            floor=floor,
            floor_name=floor_name,
            goal="" if "HTTP" in name else "≥ 0.5 ×",
            is_met=None if "HTTP" in name else middle(rates) >= 0.5 * floor,
        )
        for name, rates in found.items()
    ]


def _commit_rate(path: Path) -> float:
    """One small row a commit, in one thread, WAL and synchronous=FULL."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 1:
        connection.execute("INSERT INTO t (body) VALUES (?)", (b"x" * 100,))
        count += 1
    rate = count / (time.perf_counter() - started)
    connection.close()
    return rate


async def _sqlite_rate(path: Path, count: int, chats_count: int) -> float:
    from antiphon.clock import SystemClock
    from antiphon.store.sqlite.store import open_sqlite_store

    return await service_rate(await open_sqlite_store(path, clock=SystemClock()), count, chats_count)


async def service_rate(store: Store, count: int, chats_count: int) -> float:
    """Sends a second through the service and `store`, which is closed in the end, by 64 callers, without HTTP and
    without a worker."""
    from antiphon.bus.memory import MemoryBus
    from antiphon.chats.owned import OwnedChats
    from antiphon.chats.service import Service
    from antiphon.clock import RandomIds

    service = Service(store=store, bus=MemoryBus(), ids=RandomIds())
    chats = OwnedChats(service, await store.create_owner("bench"), store=store)
    ids = [(await chats.create()).chat_id for _ in range(chats_count)]

    async def send(chat_id: str) -> bool:
        try:
            await chats.send(chat_id, "a short message", client_message_id=uuid.uuid4().hex)
        except TooMany:
            return False
        return True

    async def clear(chat_id: str) -> None:
        chat = await chats.get(chat_id)
        await chats.interrupt(chat_id, chat.turn_id, clear_queue=True)

    queues = {chat_id: Queue(chat_id, clear) for chat_id in ids}

    async def client(queue: Queue, sends: int) -> None:
        for _ in range(sends):
            await queue.send(send)

    started = time.perf_counter()
    await asyncio.gather(*(client(queues[ids[i % chats_count]], count // CLIENTS) for i in range(CLIENTS)))
    rate = (count // CLIENTS) * CLIENTS / (time.perf_counter() - started)
    await service.aclose()
    await store.aclose()
    return rate


class Queue:
    """A chat's queue that its callers fill. When it is full one of them clears it, and the others wait."""

    def __init__(self, chat_id: str, clear: Callable[[str], Awaitable[None]]) -> None:
        self._chat_id = chat_id
        self._clear = clear
        self._clearing = asyncio.Lock()
        self._times_cleared = 0

    async def send(self, send: Callable[[str], Awaitable[bool]]) -> None:
        """Until it is taken: what a full queue refuses is no send."""
        while True:
            times_cleared = self._times_cleared
            if await send(self._chat_id):
                return
            async with self._clearing:
                if self._times_cleared == times_cleared:
                    await self._clear(self._chat_id)
                    self._times_cleared += 1


async def http_rate(server: BenchServer, count: int, chats_count: int) -> float:
    """The same over HTTP, with a worker that answers: most sends wait in the queue."""
    return await send_rate(server, await make_chats(server, chats_count), count)


async def make_chats(server: BenchServer, count: int) -> list[str]:
    wire = await server.connect()
    ids = [(await wire.ask("POST", "/chats", {}))["id"] for _ in range(count)]
    wire.close()
    return ids


async def send_rate(server: BenchServer, ids: Sequence[str], count: int) -> float:
    """Acknowledged sends a second by 64 clients, spread over these chats."""

    clearing = await server.connect()

    lock = asyncio.Lock()  # one connection asks one thing at a time

    async def clear(chat_id: str) -> None:
        async with lock:
            chat = await clearing.ask("GET", f"/chats/{chat_id}")
            stop = {"turn_id": chat["turn_id"] or 0, "clear_queue": True}
            await clearing.ask("POST", f"/chats/{chat_id}/interrupt", stop)

    queues = {chat_id: Queue(chat_id, clear) for chat_id in ids}

    async def client(queue: Queue, sends: int) -> None:
        own = await server.connect()

        async def send(chat_id: str) -> bool:
            body = {"content": "/stall 60", "client_message_id": uuid.uuid4().hex}
            try:
                await own.ask("POST", f"/chats/{chat_id}/messages", body)
            except RuntimeError as error:
                if "too_many" not in str(error):
                    raise
                return False
            return True

        for _ in range(sends):
            await queue.send(send)
        own.close()

    started = time.perf_counter()
    await asyncio.gather(*(client(queues[ids[i % len(ids)]], count // CLIENTS) for i in range(CLIENTS)))
    clearing.close()
    return (count // CLIENTS) * CLIENTS / (time.perf_counter() - started)


def measure_turns(scale: Scale) -> list[Figure]:
    """Whole durable turns per second over HTTP: send, answer of three tokens, stream until idle."""
    rates: dict[int, list[float]] = {1: [], 16: []}
    with BenchServer() as server:
        for _ in range(scale.repeats):
            for clients, found in rates.items():
                found.append(_turn_rate(server, clients, seconds=1.0 if scale.is_quick else 2.0))
    return [
        Figure(
            name=f"tiny durable turns, {clients} client{'s' if clients > 1 else ''}",
            value=middle(found),
            unit="per s",
            goal=f"≥ {goal:,} per s",
            is_met=middle(found) >= goal,
        )
        for (clients, found), goal in zip(rates.items(), (1_000, 2_500), strict=True)
    ]


def _turn_rate(server: BenchServer, clients: int, *, seconds: float) -> float:
    """The clients run in a thread of their own loop; a client sends its next message when its turn has ended."""
    rates: list[float] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        talkers = [await open_talker(server) for _ in range(clients)]
        started = loop.time()
        for talker in talkers:
            talker.start()
        await asyncio.sleep(seconds)
        rates.append(sum(talker.turns for talker in talkers) / (loop.time() - started))
        for talker in talkers:
            talker.close()

    thread = threading.Thread(target=lambda: uvloop.run(run()))
    thread.start()
    thread.join()
    return rates[0]
