"""Durable sends to a replica on PostgreSQL, beside the database's own commits; and what its notifications cost."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID

import asyncpg
import uvloop

from antiphon.wire.notify import chat_stream_notify_channel
from benchmarks.fleet import CONNECTIONS, commit_rate, open_database, open_replicas, replica
from benchmarks.runner import Figure, Scale, middle
from benchmarks.sends import CLIENTS, durable_figures, http_rate, make_chats, send_rate, service_rate
from benchmarks.server import BenchServer

WHERE = (("one chat", 1), ("many chats", CLIENTS))
FLOOR_S = 2.0


def measure_shared_sends(scale: Scale) -> list[Figure]:
    """64 callers of the service in one process, and 64 clients over HTTP to one replica: on one busy chat (queued),
    and each on a chat of its own."""
    count = 1_000 if scale.is_quick else 5_000
    floors: list[float] = []
    found: dict[str, list[float]] = {}
    with open_database(scale.store) as database:
        for _ in range(scale.repeats):
            store = database.fresh()
            floors.append(uvloop.run(commit_rate(store, seconds=FLOOR_S)))
            for where, chats in WHERE:
                rate = uvloop.run(_service_rate(store, count, chats))
                found.setdefault(f"durable sends on PostgreSQL, 64 callers, {where}", []).append(rate)
                with open_replicas(store, 1) as (server,):
                    rate = uvloop.run(http_rate(server, count, chats))
                found.setdefault(f"the same over HTTP, 64 clients, {where}", []).append(rate)
    return durable_figures(found, floors, f"PostgreSQL's commits of one small row, {CONNECTIONS} connections")


async def _service_rate(url: str, count: int, chats: int) -> float:
    from antiphon.store.postgres.store import open_postgres_store

    return await service_rate(await open_postgres_store(url), count, chats)


# --- what notifications cost


def measure_notifications(scale: Scale) -> list[Figure]:
    """The same load with and without them. Another connection listens to every chat: else nothing is delivered."""
    count = 1_000 if scale.is_quick else 5_000
    figures = []
    with open_database(scale.store) as database:
        for where, chats in WHERE:
            found: dict[bool, list[float]] = {False: [], True: []}
            for run in range(scale.repeats):
                for is_mute in (False, True) if run % 2 else (True, False):
                    found[is_mute].append(_rate(database.fresh(), count, chats, is_mute=is_mute))
            notifying, mute = middle(found[False]), middle(found[True])
            figures.append(
                Figure(
                    name=f"durable sends on PostgreSQL with notifications, {where}",
                    value=notifying,
                    unit="per s",
                    floor=mute,
                    floor_name="without notifications",
                    goal="≥ 0.95 ×",
                    is_met=notifying >= 0.95 * mute,
                )
            )
    return figures


def _rate(store: str, count: int, chats: int, *, is_mute: bool) -> float:
    with tempfile.TemporaryDirectory() as folder, replica(Path(folder), store, is_mute=is_mute) as server:
        return heard_rate(server, store, count, chats, is_mute=is_mute)


def heard_rate(server: BenchServer, store: str, count: int, chats: int, *, is_mute: bool) -> float:
    """Sends per second with a subscriber in another process, which must receive all, or none of a mute replica."""
    ids = uvloop.run(make_chats(server, chats))
    with _listener(store, ids) as listener:
        rate = uvloop.run(send_rate(server, ids, count))
        listener.send(None)
        heard = listener.recv()
    if (heard == 0) != is_mute:
        raise RuntimeError(f"{heard} notifications of a {'mute' if is_mute else 'notifying'} replica were received")
    return rate


@contextmanager
def _listener(url: str, chat_ids: Sequence[str]) -> Iterator[Connection]:
    """A process that subscribes to the channels of these chats. It reports the number of notifications on request."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    channels = [chat_stream_notify_channel(UUID(chat_id)) for chat_id in chat_ids]
    process = context.Process(target=_run_listener, args=(child, url, channels), daemon=True)
    process.start()
    try:
        parent.recv()
        yield parent
    finally:
        process.terminate()
        process.join()


def _run_listener(pipe: Connection, url: str, channels: list[str]) -> None:
    with contextlib.suppress(EOFError):
        uvloop.run(_listen(pipe, url, channels))


async def _listen(pipe: Connection, url: str, channels: list[str]) -> None:
    heard = 0

    def count(*_: object) -> None:
        nonlocal heard
        heard += 1

    connection = await asyncpg.connect(url)
    for channel in channels:
        await connection.add_listener(channel, count)
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    pipe.send(heard)
