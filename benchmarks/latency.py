"""Added latency: a model's socket writes a token, a watcher's socket reads it; both in one process with one clock."""

from __future__ import annotations

import asyncio
import json
import time

from antiphon.server.open_instance import open_instance, open_server
from benchmarks.ways import OWN, Way

PACE_S = 0.005


async def added_latency_ms(*, tokens: int, way: Way = OWN) -> tuple[float, float]:
    """(p50, p99) milliseconds per token, from the write at the model server to the read at the watcher."""
    sent: list[float] = []
    seen: list[float] = []
    begin = asyncio.Event()

    async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        await begin.wait()
        for number in range(tokens):
            await asyncio.sleep(PACE_S)
            choice = {"index": 0, "delta": {"content": f"<{number}>"}, "finish_reason": None}
            sent.append(time.perf_counter())
            writer.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        writer.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
        await writer.drain()
        writer.close()

    from antiphon.models.openai import OpenAIModel
    from antiphon.worker.agent import Agent

    server = await asyncio.start_server(model, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    name = OpenAIModel("bench", api_key="none", base_url=f"http://127.0.0.1:{port}/v1")
    async with open_instance(agent=Agent(model=name), port=0, drain_s=0) as instance, open_server(instance) as url:
        secret = (await instance.tokens.create("admin")).secret
        chat = await instance.chats.create(chat_id=instance.ids.uuid(), content="go")
        host, _, own_port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(own_port))
        writer.write(way.request(chat.chat_id, host=host, token=secret))
        await reader.readuntil(way.begun)
        begin.set()
        buffer = b""
        while len(seen) < tokens:
            data = await reader.read(1 << 16)
            now = time.perf_counter()
            buffer += data
            while len(seen) < tokens and f"<{len(seen)}>".encode() in buffer:
                seen.append(now)
            buffer = buffer[-4096:]
        writer.close()
    server.close()
    added = sorted((b - a) * 1e3 for a, b in zip(sent, seen, strict=True))
    return added[len(added) // 2], added[int(len(added) * 0.99)]
