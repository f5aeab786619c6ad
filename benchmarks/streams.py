"""Streams: what a delivered frame costs, how late it is, what a long history and many idle watchers cost."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks.floors import loopback_hop_ms, write_floor_us
from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer, Follower

LONG = 100_000


def allow_many_sockets() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# --- CPU per delivered frame ------------------------------------------------------------------------


def measure_sse(scale: Scale) -> list[Figure]:
    """CPU of the server per delivered frame, beside raw transport writes of ready bytes at the same rate."""
    allow_many_sockets()
    cases = ((300, 20), (300, 100), (300, 300), (1000, 20)) if not scale.is_quick else ((300, 100),)
    figures = []
    for watchers, rate in cases:
        ours, floors = [], []
        tokens = rate * (2 if scale.is_quick else 4)
        for _ in range(min(scale.repeats, 3) if watchers > 300 else scale.repeats):
            floors.append(write_floor_us(watchers, rate, tokens))
            with BenchServer() as server:
                ours.append(uvloop.run(deliver([server], watchers, rate, tokens)))
        value, floor = middle(ours), middle(floors)
        figures.append(
            Figure(
                name=f"CPU per delivered frame, {watchers} watchers, {rate} tokens/s",
                value=value,
                unit="µs",
                floor=floor,
                floor_name="raw writes",
                goal="≤ 2.0 ×",
                is_met=value <= 2.0 * floor,
            )
        )
    return figures


async def deliver(servers: Sequence[BenchServer], watchers: int, rate: int, tokens: int) -> float:
    """Microseconds of the servers' CPU per frame, from the first token to the last. The first has the turn; each has
    its share of the watchers."""
    wire = await servers[0].connect()
    chat = await wire.ask(
        "POST", "/chats", {"content": f"/stall {2 + watchers / 250}\n/tokens {tokens}\n/rate {rate}"}
    )
    followers = []
    for number in range(watchers):
        server = servers[number % len(servers)]
        followers.append(Follower(await server.connect(), server, chat["id"], "until=idle&after=1"))
    running = [asyncio.create_task(follower.run()) for follower in followers]
    await asyncio.gather(*(follower.is_caught_up.wait() for follower in followers))
    before = sum(follower.frames for follower in followers)
    cpu = sum(server.cpu_s() for server in servers)
    await asyncio.gather(*running)
    frames = sum(follower.frames for follower in followers) - before
    check_texts(followers, tokens)
    wire.close()
    for follower in followers:
        follower.close()
    return (sum(server.cpu_s() for server in servers) - cpu) / frames * 1e6


def check_texts(followers: list[Follower], tokens: int) -> None:
    expected = sum(len(f"w{i} ") for i in range(1, tokens + 1))
    for follower in followers:
        if follower.characters != expected:
            raise RuntimeError(f"a watcher has {follower.characters} characters instead of {expected}")


# --- overload ---------------------------------------------------------------------------------------


def measure_overload(scale: Scale) -> list[Figure]:
    """300 watchers of a model at 10,000 tokens/s: how long after the model's end the last text is complete."""
    allow_many_sockets()
    late, memory = [], []
    for _ in range(min(scale.repeats, 3)):
        with BenchServer() as server:
            late_s, bytes_more = uvloop.run(_overload(server, watchers=300, tokens=30_000))
            late.append(late_s)
            memory.append(bytes_more / 2**20)
    return [
        Figure(
            name="overload: last watcher complete after the end of the answer (300 watchers, 10,000 tokens/s)",
            value=middle(late),
            unit="s",
            goal="≤ 1 s, every text complete",
            is_met=middle(late) <= 1.0,
        ),
        Figure(name="overload: memory growth meanwhile", value=middle(memory), unit="MiB"),
    ]


async def _overload(server: BenchServer, *, watchers: int, tokens: int) -> tuple[float, int]:
    wire = await server.connect()
    chat = await wire.ask("POST", "/chats", {"content": f"/stall 3\n/tokens {tokens}\n/rate 10000"})
    followers = [Follower(await server.connect(), server, chat["id"], "until=idle&after=1") for _ in range(watchers)]
    running = [asyncio.create_task(follower.run()) for follower in followers]
    await asyncio.gather(*(follower.is_caught_up.wait() for follower in followers))
    memory = server.memory_bytes()
    await asyncio.gather(*running)
    now_us = time.time() * 1e6
    page = await wire.ask("GET", f"/chats/{chat['id']}/messages?limit=1")
    check_texts(followers, tokens)
    from antiphon.wire.gotime import parse_time_us

    ended_us = parse_time_us(page["messages"][-1]["created_at"])
    return (now_us - ended_us) / 1e6, server.memory_bytes() - memory


# --- latency ----------------------------------------------------------------------------------------


def measure_latency(scale: Scale) -> list[Figure]:
    """From the model's socket to a watcher's socket, one chat, beside one loopback hop."""
    from benchmarks.latency import added_latency_ms

    p50s, p99s, hops = [], [], []
    for _ in range(scale.repeats):
        hops.append(loopback_hop_ms())
        p50, p99 = uvloop.run(added_latency_ms(tokens=200 if scale.is_quick else 1_000))
        p50s.append(p50)
        p99s.append(p99)
    hop = middle(hops)
    return [
        Figure(
            name=f"added latency, model socket → watcher socket, {name}",
            value=middle(values),
            unit="ms",
            floor=hop,
            floor_name="one loopback hop",
            goal=f"≤ {goal} ms",
            is_met=middle(values) <= goal,
        )
        for name, values, goal in (("p50", p50s, 1), ("p99", p99s, 5))
    ]


# --- long histories ---------------------------------------------------------------------------------


def measure_history(scale: Scale) -> list[Figure]:
    """Opening a chat of 100,000 messages, and resuming it by its cursor, beside a chat of 10."""
    messages = 5_000 if scale.is_quick else LONG
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        long_id, long_seq = uvloop.run(_make_history(data, messages))
        short_id, short_seq = uvloop.run(_make_history(data, 10))
        with BenchServer(data=data) as server:
            found = uvloop.run(_open_times(server, ((long_id, long_seq), (short_id, short_seq)), scale.repeats * 10))
    figures = []
    for i, name in enumerate(("open", "resume by cursor")):
        value, floor = found[0][i], found[1][i]
        figures.append(
            Figure(
                name=f"{name} a chat of {messages:,} messages",
                value=value,
                unit="ms",
                floor=floor,
                floor_name="a chat of 10",
                goal="≤ 1.5 ×",
                is_met=value <= 1.5 * floor,
            )
        )
    return figures


async def _make_history(data: Path, messages: int) -> tuple[str, int]:
    from antiphon.core import commands as c
    from antiphon.server.open_instance import open_instance

    async with open_instance(data=data, drain_s=0) as instance:
        chat_id = str(uuid.uuid4())
        await instance.chats.create(chat_id=chat_id)
        instance.worker.pause()
        service = instance.service
        for first in range(0, messages, 100):
            turns = min(100, messages - first) // 2
            for _ in range(turns):
                sent = await instance.chats.send(chat_id, "a question of some words")
                started = await service.execute(chat_id, c.StartAttempt(instance_id="bench"))
                answer = c.CommitMessage(
                    attempt=started.chat.attempt,
                    draft=started.chat.draft,
                    content=b'[{"type":"text","text":"an answer of some words"}]',
                    upto=23,
                    is_last=True,
                )
                sent = await service.execute(chat_id, answer)
        return chat_id, sent.chat.seq


async def _open_times(
    server: BenchServer, chats: tuple[tuple[str, int], ...], repeats: int
) -> list[tuple[float, float]]:
    """For each chat (ms to caught_up without a cursor, ms with the cursor 100 facts back)."""
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in chats]
    for _ in range(repeats):
        for (chat_id, seq), (opened, resumed) in zip(chats, times, strict=True):
            opened.append(await _time_to_caught_up(server, chat_id, ""))
            resumed.append(await _time_to_caught_up(server, chat_id, f"after={seq - 5}"))
    return [(middle(opened), middle(resumed)) for opened, resumed in times]


async def _time_to_caught_up(server: BenchServer, chat_id: str, query: str) -> float:
    wire = await server.connect()
    started = time.perf_counter()
    follower = Follower(wire, server, chat_id, query)
    await follower.run(until=b"caught_up")
    wire.close()
    return (time.perf_counter() - started) * 1e3


# --- idle watchers ----------------------------------------------------------------------------------


def measure_idle(scale: Scale) -> list[Figure]:
    """Many watchers of chats where nothing happens: memory each, CPU in all."""
    allow_many_sockets()
    watchers = 1_000 if scale.is_quick else 9_900
    with BenchServer() as server:
        each, share = uvloop.run(_idle(server, watchers, seconds=5 if scale.is_quick else 20))
    return [
        Figure(
            name=f"{watchers:,} idle watchers: memory each",
            value=each / 1024,
            unit="KiB",
            goal="≤ 25 KB",
            is_met=each <= 25_000,
        ),
        Figure(
            name=f"{watchers:,} idle watchers: CPU in all",
            value=share * 100,
            unit="% of a core",
            goal="≤ 5 %",
            is_met=share <= 0.05,
        ),
    ]


async def _idle(server: BenchServer, watchers: int, *, seconds: float) -> tuple[float, float]:
    wire = await server.connect()
    chats = [(await wire.ask("POST", "/chats", {}))["id"] for _ in range(max(1, watchers // 100))]
    before = server.memory_bytes()
    followers = []
    for i in range(watchers):
        followers.append(Follower(await server.connect(), server, chats[i % len(chats)], "after=1"))
        if i % 200 == 199:
            await asyncio.sleep(0.05)
    running = [asyncio.create_task(follower.run()) for follower in followers]
    await asyncio.gather(*(follower.is_caught_up.wait() for follower in followers))
    await asyncio.sleep(2)
    memory = server.memory_bytes() - before
    cpu = server.cpu_s()
    await asyncio.sleep(seconds)
    share = (server.cpu_s() - cpu) / seconds
    for task in running:
        task.cancel()
    return memory / watchers, share
