"""A server whose clients are hostile answers every other client at once, stays small, and stops turns when asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from support.stopwatch import Stopwatch

from .health import GROWTH_MIB, HEALTH_S, INTERRUPT_S, MIB, health_of, wait_status
from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

ATTACK_S = 120.0
LARGE = 8 * MIB - 1024
HOLD_S = 1.5
"""How long the attacks last that only hold connections."""

Attack = Callable[[ServerProcess, str], Coroutine[Any, Any, None]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


# --- bodies


async def post(server: ServerProcess, path: str, body: bytes) -> int:
    """The status of the answer; 0 where the connection was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        more = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        writer.write(server._head("POST", path, None, more))
        writer.write(body)
        line = await reader.readline()
        await reader.read()
        return int(line.split(b" ")[1])
    except (ConnectionError, IndexError):
        return 0
    finally:
        writer.transport.abort()


def posts(body: bytes, *, status: int, count: int = 6, at_once: int = 3) -> Attack:
    """`count` posts of a message, each of which is refused with `status`."""

    async def attack(server: ServerProcess, chat_id: str) -> None:
        free = asyncio.Semaphore(at_once)

        async def one() -> int:
            async with free:
                return await post(server, f"/chats/{chat_id}/messages", body)

        assert Counter(await asyncio.gather(*(one() for _ in range(count)))) == {status: count}

    return attack


def part(kind: bytes, more: bytes) -> bytes:
    return b'{"content":[{"type":"%b",%b}]}' % (kind, more)


def metadata(value: bytes) -> bytes:
    return part(b"text", b'"text":"x","provider_metadata":{"a":%b}' % value)


def file_of(data: bytes) -> bytes:
    return part(b"file", b'"media_type":"image/png","data":"%b"' % data)


WIDE = b"[" * 60 + b"1,1" + b"]" * 60 + b","
BOMBS: dict[str, Callable[[], Attack]] = {
    "40 refused posts": lambda: posts(b"y" * LARGE, status=422, count=40, at_once=4),
    "short strings in 300 arrays": lambda: posts(
        metadata(b"[" * 300 + b'"",' * (LARGE // 4) + b"0" + b"]" * 300), status=413
    ),
    "many values, 60 deep": lambda: posts(metadata(b"[" + WIDE * (LARGE // len(WIDE) - 1) + b"0]"), status=413),
    "few values and many brackets in text": lambda: posts(
        metadata(b"[" * 70 + b'"' + b'[{,:\\"' * (LARGE // 7) + b'"' + b"]" * 70), status=422
    ),
    "unknown parts": lambda: posts(b'{"content":[' + b'{"type":"z"},' * (LARGE // 13 - 9) + b"{}]}", status=413),
    "depth": lambda: posts(metadata(b"[" * (LARGE // 2 - 99) + b"]" * (LARGE // 2 - 99)), status=413),
    "long keys": lambda: posts(
        metadata(b"{" + b",".join(b'"%b%d":[]' % (b"k" * (2 * MIB), n) for n in range(3)) + b"}"), status=413
    ),
    "data URL of equal signs": lambda: posts(file_of(b"data:;" + b"=" * (LARGE - 99)), status=422),
    "white space": lambda: posts(file_of(b" =" * (LARGE // 2 - 99)), status=422),
    "lone surrogates": lambda: posts(b'{"content":"' + rb"\ud800" * (LARGE // 6 - 9) + b'"}', status=422),
    "escapes and a mistake": lambda: posts(b'{"content":"' + rb"\n" * (LARGE // 2 - 99) + rb'\x"}', status=422),
}


# --- connections


@contextlib.asynccontextmanager
async def wires(server: ServerProcess, count: int) -> AsyncIterator[list[Connection]]:
    opened: list[Connection] = []
    try:
        for _ in range(count):
            opened.append(await asyncio.open_connection("127.0.0.1", server.port, limit=1024))
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


def unread(start: Callable[[ServerProcess, str], bytes], count: int, *, piece: bytes = b"", times: int = 0) -> Attack:
    """`count` connections send `start`, then `piece` again and again, and read nothing."""

    async def attack(server: ServerProcess, chat_id: str) -> None:
        async with wires(server, count) as opened:
            for _, writer in opened:
                writer.write(start(server, chat_id))
            for _ in range(times):
                for _, writer in opened:
                    if not writer.is_closing() and writer.transport.get_write_buffer_size() < MIB:
                        writer.write(piece)
                await asyncio.sleep(HOLD_S / times)
            await asyncio.sleep(HOLD_S)

    return attack


def body_head(server: ServerProcess, chat_id: str) -> bytes:
    return server._head("POST", f"/chats/{chat_id}/messages", None, f"Content-Length: {LARGE}\r\n")


def stream_head(server: ServerProcess, chat_id: str) -> bytes:
    return server._head("GET", f"/chats/{chat_id}/stream", None, "")


def pipelined(server: ServerProcess, chat_id: str) -> bytes:
    return server._head("GET", "/chats", None, "") * 500 + b"\x00garbage\r\n\r\n" * 100


CONNECTIONS: dict[str, Callable[[], Attack]] = {
    "1,100 idle connections": lambda: unread(lambda server, chat_id: b"", 1_100),
    "1,100 half heads": lambda: unread(lambda server, chat_id: b"GET / HTTP/1.1\r\nHost: ", 1_100),
    "slow bodies": lambda: unread(body_head, 200, piece=b'{"', times=20),
    "many bodies at once": lambda: unread(body_head, 60, piece=b"x" * (256 * 1024), times=20),
    "200 streams that never read": lambda: unread(stream_head, 200),
    "pipelined garbage": lambda: unread(pipelined, 50),
    "huge headers": lambda: unread(
        lambda server, chat_id: b"GET / HTTP/1.1\r\n", 50, piece=b"X-A: b\r\n" * 8192, times=20
    ),
    "one endless header": lambda: unread(
        lambda server, chat_id: b"GET / HTTP/1.1\r\nX: ", 50, piece=b"x" * 65536, times=20
    ),
}

HOSTILE = BOMBS | CONNECTIONS


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_client_delays_no_other_client_and_turns_can_be_stopped(name: str, tmp_path: Path) -> None:
    attack = HOSTILE[name]()
    server = ServerProcess(tmp_path / "data")
    await server.start()
    try:
        _, chat = await server.ask("POST", "/chats", {"content": "/rate 20000\n/tokens 200000\n/stall 60"})
        async with health_of(server) as health:
            before = health.rss_mib()
            async with asyncio.timeout(ATTACK_S), asyncio.TaskGroup() as tasks:
                tasks.create_task(attack(server, chat["id"]))
                await asyncio.sleep(0.5)  # in the middle of it, wherever that is
                stopwatch = Stopwatch(server.pid)
                status, _ = await server.ask("POST", f"/chats/{chat['id']}/interrupt", {"turn_id": chat["turn_id"]})
                assert status == 200
                await wait_status(server, chat["id"], "waiting")
                took_s = stopwatch.elapsed_s()
            status, _ = await server.ask("POST", f"/chats/{chat['id']}/messages", {"content": "still there?"})
            assert status in (201, 202)
        assert took_s < INTERRUPT_S, f"the interrupt took {took_s:.2f} s"
        assert health.slowest_s < HEALTH_S, f"/healthz took {health.slowest_s:.2f} s"
        assert health.memory_mib - before < GROWTH_MIB, f"{health.memory_mib - before:.0f} MiB more"
        assert "Traceback" not in server.log()
    finally:
        await server.kill()
