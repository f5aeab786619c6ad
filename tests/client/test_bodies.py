"""Endless and compressed responses: a client reads no more than it needs, and reports why it stopped."""

from __future__ import annotations

import asyncio
import functools
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon.client import AsyncClient, Client
from antiphon.client.limits import BodyLimits
from antiphon.errors import AntiphonError, PeerError, Unavailable
from support.tcp_server import Handler, open_tcp_server
from support.waiting import DEADLINE_S

pytestmark = pytest.mark.anyio

SENT_MAX = 64 * 1024 * 1024
"""Upper bound of what a server may have written into socket buffers, in bytes."""


class HostileServer:
    """Answers every request with `head` and then `piece` repeatedly, up to `times` (None: for ever)."""

    def __init__(self, head: bytes, piece: bytes, *, times: int | None = None) -> None:
        self._head, self._piece, self._times = head, piece, times
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + self._head + b"\r\nconnection: close\r\n\r\n")
        left = self._times
        while left is None or left > 0:
            writer.write(self._piece)
            await writer.drain()
            self.sent += len(self._piece)
            assert self.sent < SENT_MAX, "it is read on and on"
            left = None if left is None else left - 1
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server whose connections `handler` answers."""
    async with open_tcp_server(handler) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def hostile(head: bytes, piece: bytes, *, times: int | None = None) -> AsyncIterator[tuple[str, HostileServer]]:
    server = HostileServer(head, piece, times=times)
    async with serving(server.serve) as url:
        yield url, server


Ask = Callable[..., Any]


async def ask_async(url: str, limits: BodyLimits = BodyLimits()) -> None:  # noqa: B008 - a value
    async with AsyncClient(url, "token", retry_s=0, body_limits=limits) as client:
        await client.healthz()


async def ask_blocking(url: str, limits: BodyLimits = BodyLimits()) -> None:  # noqa: B008 - a value
    def ask() -> None:
        with Client(url, "token", retry_s=0, body_limits=limits) as client:
            client.healthz()

    await asyncio.to_thread(ask)


async def watch_async(url: str) -> None:
    async with AsyncClient(url, "token", retry_s=0) as client:
        async for _ in client.watch("11111111-1111-4111-8111-111111111111", after="0"):
            pass


async def watch_blocking(url: str) -> None:
    def watch() -> None:
        with Client(url, "token", retry_s=0) as client:
            for _ in client.watch("11111111-1111-4111-8111-111111111111", after="0"):
                pass

    await asyncio.to_thread(watch)


EVERY = pytest.mark.parametrize("ask", [ask_async, ask_blocking, watch_async, watch_blocking])
ASKS = pytest.mark.parametrize("ask", [ask_async, ask_blocking])


@EVERY
@pytest.mark.parametrize("status", [b"500 Internal Server Error", b"400 Bad Request", b"404 Not Found", b"302 Found"])
async def test_the_endless_body_of_an_error_is_not_read(ask: Ask, status: bytes) -> None:
    async with hostile(status + b"\r\ncontent-type: text/html", b"<p>sorry</p>" * 1_000) as (url, server):
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(AntiphonError, match=status[:3].decode()):
                await ask(url)
        assert server.sent < SENT_MAX


@ASKS
async def test_an_endless_answer_is_an_error_of_the_peer(ask: Ask) -> None:
    async with hostile(b"200 OK\r\ncontent-type: application/json", b"[" * 10_000) as (url, _):
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(PeerError, match="longer than 1,048,576 bytes"):
                await ask(url, BodyLimits(answer_bytes_max=1024 * 1024))


@functools.cache
def bomb() -> bytes:
    return gzip.compress(b"\n" * 50_000_000)


@EVERY
@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd", b"x-unknown"])
@pytest.mark.parametrize("status", [b"200 OK", b"503 Service Unavailable"])
async def test_a_compressed_answer_is_refused_and_never_decoded(ask: Ask, coding: bytes, status: bytes) -> None:
    head = status + b"\r\ncontent-type: text/event-stream\r\ncontent-encoding: " + coding
    async with hostile(head, bomb(), times=1) as (url, _):
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(PeerError, match="compressed"):
                await ask(url)


@ASKS
async def test_a_slow_error_body_times_out(ask: Ask) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(drip) as url, asyncio.timeout(DEADLINE_S):
        with pytest.raises(Unavailable, match="too long"):
            await ask(url, BodyLimits(error_s=0.1))


@ASKS
async def test_the_message_of_a_long_error_is_still_reported(ask: Ask) -> None:
    body = b'{"error": {"code": "not_found", "message": "There is no such chat.", "what": "' + b"x" * 60_000 + b'"}}'
    async with hostile(b"404 Not Found\r\ncontent-type: application/json", body, times=1) as (url, _):
        with pytest.raises(AntiphonError, match="There is no such chat"):
            await ask(url)
