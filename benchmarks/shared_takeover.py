"""The replica that holds a turn goes while a watcher of another one reads: how long until the next token."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fleet import open_database, open_replicas, replica
from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer, Follower
from benchmarks.takeover import BEFORE_TOKENS, until

QUICK, USUAL = 2, 10
STAYING = 2
TURN = "/rate 100\n/tokens 100000"


def measure_shared_takeover(scale: Scale) -> list[Figure]:
    count = QUICK if scale.is_quick else USUAL
    with open_database(scale.store) as database:
        store = database.fresh()
        with open_replicas(store, STAYING) as staying:
            killed = [measure_once(store, staying, signal.SIGKILL) for _ in range(count)]
            stopped = [measure_once(store, staying, signal.SIGTERM) for _ in range(count)]
    return [
        _figure("replicas: kill -9 of the holder until the next token at another, p50", middle(killed), 3.0),
        _figure("the same: the slowest", max(killed), 10.0),
        _figure("replicas: SIGTERM of the holder until the next token at another, p50", middle(stopped), 3.0),
        _figure("the same: the slowest", max(stopped), 10.0),
    ]


def _figure(name: str, value: float, goal_s: float) -> Figure:
    return Figure(name=name, value=value, unit="s", goal=f"≤ {goal_s:g} s", is_met=value <= goal_s)


def measure_once(store: str, staying: Sequence[BenchServer], number: int) -> float:
    """A new replica takes a turn and is sent the signal."""
    with tempfile.TemporaryDirectory() as folder, replica(Path(folder), store) as holder:
        return asyncio.run(_next_token_s(holder, staying[0], number))


async def _next_token_s(holder: BenchServer, watched: BenchServer, number: int) -> float:
    asking, wire, reading = await holder.connect(), await watched.connect(), await watched.connect()
    chat = await asking.ask("POST", "/chats", {"content": TURN})
    follower = Follower(reading, watched, chat["id"], "after=0")
    following = asyncio.create_task(follower.run())
    try:
        await until(lambda: follower.deltas >= BEFORE_TOKENS)
        tokens = follower.deltas
        holder.signal(number)
        started = time.monotonic()
        await asyncio.to_thread(holder.wait)  # what was on its way from it has come
        tokens = max(tokens, follower.deltas)
        await until(lambda: follower.deltas > tokens)
        return time.monotonic() - started
    finally:
        if following.done():
            following.result()
        following.cancel()
        await asyncio.wait({following})
        await wire.ask("DELETE", f"/chats/{chat['id']}")
        for one in (asking, wire, reading):
            one.close()
