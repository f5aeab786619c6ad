"""Durable sends and tiny turns, over HTTP, beside the database's own commits."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
import uuid
from pathlib import Path

import apsw
import uvloop

from antiphon.bench.runner import Figure, Scale, middle
from antiphon.bench.server import BenchServer

CLIENTS = 64


def measure_sends(scale: Scale) -> list[Figure]:
    """Acknowledged sends per second: 64 clients on one busy chat (queued), and each on a chat of its own."""
    floors, in_process, one, many = [], [], [], []
    count = 1_500 if scale.is_quick else 5_000
    with tempfile.TemporaryDirectory() as folder:
        for i in range(scale.repeats):
            floors.append(_commit_rate(Path(folder) / f"floor{i}.db"))
            in_process.append(uvloop.run(_service_rate(Path(folder) / f"s{i}.db", count)))
            with BenchServer(data=Path(folder) / f"server{i}") as server:
                one.append(uvloop.run(_one_chat(server, count)))
                many.append(uvloop.run(_many_chats(server, count)))
    floor, floor_name = middle(floors), "SQLite commits of one small row"
    return [
        Figure(
            name=name,
            value=value,
            unit="per s",
            floor=floor,
            floor_name=floor_name,
            goal="≥ 0.5 ×" if is_goal else "",
            is_met=value >= 0.5 * floor if is_goal else None,
        )
        for name, value, is_goal in (
            ("durable sends, 64 callers in the process, many chats", middle(in_process), True),
            ("durable sends over HTTP, 64 clients, one chat", middle(one), False),
            ("durable sends over HTTP, 64 clients, many chats", middle(many), False),
        )
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


async def _service_rate(path: Path, count: int) -> float:
    """Sends through the service and the store, without HTTP and without a worker."""
    from antiphon.bus.memory import MemoryBus
    from antiphon.chats.owned import OwnedChats
    from antiphon.chats.service import Service
    from antiphon.clock import RandomIds, SystemClock
    from antiphon.store.sqlite import open_sqlite_store

    store = await open_sqlite_store(path, clock=SystemClock())
    service = Service(store=store, bus=MemoryBus(), ids=RandomIds())
    chats = OwnedChats(service, await store.create_owner("bench"))
    ids = [str(uuid.uuid4()) for _ in range(CLIENTS)]

    async def client(chat_id: str, sends: int) -> None:
        await chats.create(chat_id=chat_id)
        for _ in range(sends):
            done = await chats.send(chat_id, "a short message", client_message_id=uuid.uuid4().hex)
            if done.chat.queue_length > 90:
                await chats.interrupt(chat_id, done.chat.turn_id, clear_queue=True)

    started = time.perf_counter()
    await asyncio.gather(*(client(chat_id, count // CLIENTS) for chat_id in ids))
    rate = (count // CLIENTS) * CLIENTS / (time.perf_counter() - started)
    await service.aclose()
    await store.aclose()
    return rate


async def _one_chat(server: BenchServer, count: int) -> float:
    """All on one chat that is busy: each send waits in the queue, which is cleared when it is full."""
    wire = await server.connect()
    chat = await wire.ask("POST", "/chats", {"content": "/stall 3000"})
    path = f"/chats/{chat['id']}/messages"
    left = count

    async def client() -> None:
        nonlocal left
        own = await server.connect()
        while left > 0:
            left -= 1
            body = {"content": "a short message", "client_message_id": uuid.uuid4().hex}
            try:
                await own.ask("POST", path, body)
            except RuntimeError as error:
                if "too_many" not in str(error):
                    raise
                page = await own.ask("GET", f"{path}?limit=1")
                for item in page["queued_messages"][:64]:
                    await own.ask("DELETE", f"/chats/{chat['id']}/queue/{item['id']}")
        own.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    rate = count / (time.perf_counter() - started)
    await wire.ask("POST", f"/chats/{chat['id']}/interrupt", {"turn_id": chat["turn_id"], "clear_queue": True})
    wire.close()
    return rate


async def _many_chats(server: BenchServer, count: int) -> float:
    each = count // CLIENTS

    async def client() -> None:
        wire = await server.connect()
        chat = await wire.ask("POST", "/chats", {"content": "/stall 3000"})
        for _ in range(min(each, 95)):
            body = {"content": "a short message", "client_message_id": uuid.uuid4().hex}
            await wire.ask("POST", f"/chats/{chat['id']}/messages", body)
        await wire.ask("POST", f"/chats/{chat['id']}/interrupt", {"turn_id": chat["turn_id"], "clear_queue": True})
        wire.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return CLIENTS * min(each, 95) / (time.perf_counter() - started)


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
    counts: list[int] = []

    async def client(until: float) -> int:
        wire, stream = await server.connect(), await server.connect()
        chat = await wire.ask("POST", "/chats", {})
        stream.writer.write(server.head("GET", f"/chats/{chat['id']}/stream?after=1"))
        await stream.reader.readuntil(b"caught_up")
        done = 0
        while time.perf_counter() < until:
            await wire.ask("POST", f"/chats/{chat['id']}/messages", {"content": "/rate 0\n/tokens 3"})
            await stream.reader.readuntil(b'"outcome":"answered"')
            done += 1
        wire.close()
        stream.close()
        return done

    async def run() -> None:
        until = time.perf_counter() + seconds
        counts.extend(await asyncio.gather(*(client(until) for _ in range(clients))))

    thread = threading.Thread(target=lambda: uvloop.run(run()))
    started = time.perf_counter()
    thread.start()
    thread.join()
    return sum(counts) / (time.perf_counter() - started)
