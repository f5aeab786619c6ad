"""A primary goes while its standby's reader reads: how long until a write succeeds, and until the next token."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer, Follower, Wire

QUICK, USUAL = 2, 10
BEFORE_TOKENS = 20
WAIT_S = 30.0


def measure_takeover(scale: Scale) -> list[Figure]:
    count = QUICK if scale.is_quick else USUAL
    with tempfile.TemporaryDirectory() as folder:
        killed = [asyncio.run(measure_once(Path(folder) / f"k{n}", signal.SIGKILL)) for n in range(count)]
        stopped = [asyncio.run(measure_once(Path(folder) / f"s{n}", signal.SIGTERM)) for n in range(count)]
    return [
        _figure("takeover: kill -9 until a write succeeds, p50", middle([write for write, _ in killed]), 1.0),
        _figure("takeover: the slowest", max(write for write, _ in killed), 1.0),
        _figure("takeover: kill -9 until the next token, p50", middle([token for _, token in killed]), 3.0),
        _figure("takeover: the slowest", max(token for _, token in killed), 10.0),
        _figure("hand-over: SIGTERM until a write succeeds, p50", middle([write for write, _ in stopped]), 1.0),
        _figure("hand-over: the slowest", max(write for write, _ in stopped), 1.0),
    ]


def _figure(name: str, value: float, goal_s: float) -> Figure:
    return Figure(name=name, value=value, unit="s", goal=f"≤ {goal_s:g} s", is_met=value <= goal_s)


async def measure_once(data: Path, number: int) -> tuple[float, float]:
    """(seconds until a write succeeds, seconds until the next token), by the standby."""
    with _pair(data) as (primary, standby):
        asking, reading = await standby.connect(), await standby.connect()
        chat = await asking.ask("POST", "/chats", {"content": "/rate 100\n/tokens 100000"})
        follower = Follower(reading, standby, chat["id"], "after=0")
        following = asyncio.create_task(follower.run())
        try:
            await until(lambda: follower.deltas >= BEFORE_TOKENS)
            tokens = follower.deltas
            primary.signal(number)
            started = time.monotonic()
            writing = asyncio.create_task(_write(asking, chat["id"], started))
            await asyncio.to_thread(primary.wait)  # what was on its way from it has come
            tokens = max(tokens, follower.deltas)
            await until(lambda: follower.deltas > tokens)
            token_s = time.monotonic() - started
            return await writing, token_s
        finally:
            following.cancel()
            await asyncio.wait({following})
            asking.close()
            reading.close()


async def _write(wire: Wire, chat_id: str, started: float) -> float:
    await wire.ask("POST", f"/chats/{chat_id}/messages", {"content": "/say and on"})
    return time.monotonic() - started


@contextmanager
def _pair(data: Path) -> Iterator[tuple[BenchServer, BenchServer]]:
    with (
        BenchServer(data=data, options=("--drain-s", "0")) as primary,
        BenchServer(data=data, options=("--drain-s", "0"), stands_by=True) as standby,
    ):
        yield primary, standby


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)
