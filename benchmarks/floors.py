"""The floors: what the same work costs without any of ours."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import time
from typing import Any

import uvloop

FRAME = b'8e\r\nid: 3.1000\nevent: delta\ndata: {"type":"delta","draft":3,"from":995,"to":1000,"part_index":0,' \
    b'"part":{"type":"text","text":"w200 "}}\n\n\r\n'  # fmt: skip


def write_floor_us(connections: int, rate: int, count: int) -> float:
    """CPU microseconds per write of ready bytes: each of `count` frames to every connection, `rate` a second, by
    asyncio transports under uvloop in a process of its own."""
    parent, child = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_writer, args=(child, connections, rate, count), daemon=True)
    process.start()
    port = parent.recv()
    uvloop.run(_readers(port, connections, count))
    cost = float(parent.recv())
    process.join()
    return cost


def _writer(pipe: multiprocessing.connection.Connection, connections: int, rate: int, count: int) -> None:
    uvloop.run(_write(pipe, connections, rate, count))


async def _write(pipe: multiprocessing.connection.Connection, connections: int, rate: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    transports: list[Any] = []
    complete = asyncio.Event()

    class Peer(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transports.append(transport)
            if len(transports) == connections:
                complete.set()

    server = await loop.create_server(Peer, "127.0.0.1", 0, backlog=4096)
    pipe.send(server.sockets[0].getsockname()[1])
    await complete.wait()
    await asyncio.sleep(0.2)
    cpu, started = _cpu_s(), loop.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
        for transport in transports:
            transport.write(FRAME)
    await asyncio.sleep(0.1)
    pipe.send((_cpu_s() - cpu) / (count * connections) * 1e6)
    for transport in transports:
        transport.close()
    server.close()


async def _readers(port: int, connections: int, count: int) -> None:
    async def read() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        left = count * len(FRAME)
        while left > 0:
            data = await reader.read(1 << 16)
            if not data:
                break
            left -= len(data)
        writer.close()

    await asyncio.gather(*(read() for _ in range(connections)))


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def loopback_hop_ms() -> float:
    """Half of a round trip over loopback between two tasks' sockets, median of 500."""
    return uvloop.run(_hop())


async def _hop() -> float:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    times = []
    for _ in range(500):
        started = time.perf_counter()
        writer.write(b"x")
        await reader.readexactly(1)
        times.append(time.perf_counter() - started)
    writer.close()
    server.close()
    return sorted(times)[250] / 2 * 1e3
