"""A server whose provider is hostile: it answers every other client at once, stays small, and stops when asked to."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from worker.raw_provider import STOP, called, head, listening, read_request, said, sse

from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
HEALTH_S = 1.0
INTERRUPT_S = 1.0
GROWTH_MIB = 300
TURN_S = 60.0

Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


def endless(first: bytes, piece: bytes, *, total: int = 256 * MIB) -> Write:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        for _ in range(total // len(piece)):
            writer.write(piece)
            await writer.drain()

    return write


def whole(*pieces: bytes) -> Write:
    async def write(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return write


def many_calls(count: int) -> bytes:
    function = {"name": "ping", "arguments": '{"n": 1}'}
    return sse(*(called({"index": i, "id": "x", "function": function}) for i in range(count)), STOP)


HOSTILE: dict[str, Write] = {
    "endless error body": endless(head(500), b"x" * 65536),
    "endless error body, coded": endless(head(400, Content_Encoding="gzip"), b"x" * 65536),
    "newlines": endless(head(), b"\n" * 65536),
    "comments": endless(head(), b": x\n" * 16384),
    "one line": endless(head() + b"data: ", b"x" * 65536),
    "one word each": endless(head(), sse(said("w "), done=False) * 200, total=96 * MIB),
    "think and say": endless(
        head(), sse({"choices": [{"delta": {"reasoning": "r"}}]}, said("t"), done=False) * 200, total=16 * MIB
    ),
    "50,000 tool calls": whole(head(), many_calls(50_000)),
    "50,000 pieces of one call": whole(
        head(),
        sse(called({"index": 0, "id": "x", "function": {"name": "ping", "arguments": '{"a": "'}})),
        sse(*[called({"index": 0, "function": {"arguments": "}"}})] * 50_000, STOP),
    ),
    "objects": whole(head(), b'data: {"choices": [' + b"{}," * 4_000_000 + b"{}]}\n\n"),
    "depth": whole(head(content_type="application/json"), b"[" * 4_000_000),
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 1000 + b"\r\n"),
}


class Provider:
    """Answers each request by `write`."""

    def __init__(self) -> None:
        self.write: Write = whole(head(), sse(said("calm"), STOP))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await self.write(writer)


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[ServerProcess, Provider]]:
    provider = Provider()
    async with listening(provider.serve) as port:
        server = ServerProcess(
            tmp_path / "data",
            options=("--model", "openai:m"),
            OPENAI_BASE_URL=f"http://127.0.0.1:{port}",
            no_proxy="*",
        )
        await server.start()
        try:
            yield server, provider
        finally:
            await server.kill()


class Health:
    """Asks /healthz again and again; the slowest answer, and the largest memory seen, since `reset`."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.slowest_s = 0.0
        self.memory_mib = 0.0

    def rss_mib(self) -> float:
        assert self._server.process is not None
        pages = int(Path(f"/proc/{self._server.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / MIB

    async def watch(self) -> None:
        while True:
            start = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
            writer.write(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{self._server.port}\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            writer.close()
            self.slowest_s = max(self.slowest_s, time.monotonic() - start)
            self.memory_mib = max(self.memory_mib, self.rss_mib())
            await asyncio.sleep(0.02)


@asynccontextmanager
async def health_of(server: ServerProcess) -> AsyncIterator[Health]:
    health = Health(server)
    task = asyncio.create_task(health.watch())
    try:
        yield health
    finally:
        task.cancel()


async def wait_status(
    server: ServerProcess, chat_id: str, *statuses: str, within_s: float = TURN_S
) -> dict[str, Any]:
    async with asyncio.timeout(within_s):
        while True:
            _, chat = await server.ask("GET", f"/chats/{chat_id}")
            if chat["status"] in statuses:
                return dict(chat)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_provider_delays_no_other_client_and_can_be_stopped(name: str, tmp_path: Path) -> None:
    async with served(tmp_path) as (server, provider):
        _, calm = await server.ask("POST", "/chats", {"content": "hello"})
        await wait_status(server, calm["id"], "waiting")
        provider.write = HOSTILE[name]
        async with health_of(server) as health:
            before = health.rss_mib()
            _, chat = await server.ask("POST", "/chats", {"content": "go"})
            await asyncio.sleep(0.3)  # in the middle of it, wherever that is
            started = time.monotonic()
            await server.ask("POST", f"/chats/{chat['id']}/interrupt", {"turn_id": chat["turn_id"]})
            ended = await wait_status(server, chat["id"], "waiting", "error")
            took_s = time.monotonic() - started
            provider.write = whole(head(), sse(said("calm again"), STOP))
            status, _ = await server.ask("POST", f"/chats/{calm['id']}/messages", {"content": "still there?"})
            assert status == 201
            await wait_status(server, calm["id"], "waiting")
        assert took_s < INTERRUPT_S, f"the interrupt took {took_s:.2f} s ({ended['status']})"
        assert health.slowest_s < HEALTH_S, f"/healthz took {health.slowest_s:.2f} s"
        assert health.memory_mib - before < GROWTH_MIB, f"{health.memory_mib - before:.0f} MiB more"
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("name", ["50,000 tool calls", "think and say"])
async def test_a_hostile_answer_that_is_not_stopped_ends_as_a_failure(name: str, tmp_path: Path) -> None:
    async with served(tmp_path) as (server, provider):
        provider.write = HOSTILE[name]
        async with health_of(server) as health:
            before = health.rss_mib()
            _, chat = await server.ask("POST", "/chats", {"content": "go"})
            await wait_status(server, chat["id"], "error", within_s=120.0)
            _, page = await server.ask("GET", f"/chats/{chat['id']}/messages")
            json.dumps(page)
        assert health.slowest_s < HEALTH_S, f"/healthz took {health.slowest_s:.2f} s"
        assert health.memory_mib - before < GROWTH_MIB, f"{health.memory_mib - before:.0f} MiB more"
