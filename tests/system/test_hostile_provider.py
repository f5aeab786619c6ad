"""A server whose provider is hostile: it answers every other client at once, stays small, and stops when asked to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.stopwatch import Stopwatch
from support.tcp_server import open_tcp_server
from support.waiting import wait_until
from worker.raw_provider import STOP, called, head, read_request, said, sse

from .health import GROWTH_MIB, HEALTH_S, INTERRUPT_S, MIB, health_of, wait_status
from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

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


HOSTILE: dict[str, Callable[[], Write]] = {
    "endless error body": lambda: endless(head(500), b"x" * 65536),
    "endless error body, coded": lambda: endless(head(400, Content_Encoding="gzip"), b"x" * 65536),
    "newlines": lambda: endless(head(), b"\n" * 65536),
    "comments": lambda: endless(head(), b": x\n" * 16384),
    "one line": lambda: endless(head() + b"data: ", b"x" * 65536),
    "one word each": lambda: endless(head(), sse(said("w "), done=False) * 200, total=96 * MIB),
    "think and say": lambda: endless(
        head(), sse({"choices": [{"delta": {"reasoning": "r"}}]}, said("t"), done=False) * 200, total=16 * MIB
    ),
    "50,000 tool calls": lambda: whole(head(), many_calls(50_000)),
    "50,000 pieces of one call": lambda: whole(
        head(),
        sse(called({"index": 0, "id": "x", "function": {"name": "ping", "arguments": '{"a": "'}})),
        sse(*[called({"index": 0, "function": {"arguments": "}"}})] * 50_000, STOP),
    ),
    "objects": lambda: whole(head(), b'data: {"choices": [' + b"{}," * 4_000_000 + b"{}]}\n\n"),
    "depth": lambda: whole(head(content_type="application/json"), b"[" * 4_000_000),
    "headers": lambda: endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 1000 + b"\r\n"),
}
"""Each is built by the test that sends it: some are large."""


class Provider:
    """Answers each request by `write`."""

    def __init__(self) -> None:
        self.write: Write = whole(head(), sse(said("calm"), STOP))
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        self.requests += 1
        await self.write(writer)


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[ServerProcess, Provider]]:
    provider = Provider()
    async with open_tcp_server(provider.serve) as port:
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


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_provider_delays_no_other_client_and_can_be_stopped(name: str, tmp_path: Path) -> None:
    async with served(tmp_path) as (server, provider):
        _, calm = await server.ask("POST", "/chats", {"content": "hello"})
        await wait_status(server, calm["id"], "waiting")
        provider.write = HOSTILE[name]()
        async with health_of(server) as health:
            before = health.rss_mib()
            requests = provider.requests
            _, chat = await server.ask("POST", "/chats", {"content": "go"})
            await wait_until(lambda: provider.requests > requests, what="the provider is asked")
            stopwatch = Stopwatch(server.pid)
            await server.ask("POST", f"/chats/{chat['id']}/interrupt", {"turn_id": chat["turn_id"]})
            ended = await wait_status(server, chat["id"], "waiting", "error")
            took_s = stopwatch.elapsed_s()
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
        provider.write = HOSTILE[name]()
        async with health_of(server) as health:
            before = health.rss_mib()
            _, chat = await server.ask("POST", "/chats", {"content": "go"})
            await wait_status(server, chat["id"], "error", deadline_s=120.0)
            _, page = await server.ask("GET", f"/chats/{chat['id']}/messages")
            json.dumps(page)
        assert health.slowest_s < HEALTH_S, f"/healthz took {health.slowest_s:.2f} s"
        assert health.memory_mib - before < GROWTH_MIB, f"{health.memory_mib - before:.0f} MiB more"
