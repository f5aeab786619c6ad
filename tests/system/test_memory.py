"""What large bodies leave behind in a server, refused and stored: the memory of its process has a ceiling."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from support.waiting import wait_until

from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
LARGE = 8 * MIB - 200
AT_ONCE = 4


def memory_mib(server: ServerProcess) -> int:
    """The resident memory of the server's process."""
    assert server.process is not None
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


async def post(server: ServerProcess, path: str, body: bytes) -> int:
    """The status of one request on a connection of its own; 0 where it was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        head = server._head("POST", path, None, f"Content-Length: {len(body)}\r\nConnection: close\r\n")
        writer.write(head + body)
        await writer.drain()
        line = await reader.readline()
        await reader.read()
        return int(line.split(b" ")[1])
    except ConnectionError:
        return 0
    finally:
        writer.transport.abort()


async def post_many(server: ServerProcess, path: str, body: bytes, count: int) -> Counter[int]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> int:
        async with places:
            return await post(server, path, body)

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


async def test_refused_bodies_leave_no_memory_behind(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    try:
        _, chat = await server.ask("POST", "/chats", {})
        path = f"/chats/{chat['id']}/messages"
        before = memory_mib(server)
        text = b"y" * LARGE
        for expected, place, body in (
            (422, path, text),
            (422, path, b'{"content": 7, "x": "' + text[:-30] + b'"}'),
            (422, path, b'{"content": [{"type": "text", "text": 7}], "x": "' + text[:-60] + b'"}'),
            (413, path, b'{"content": "' + text[:-20] + b'"}'),
            (404, "/chats/nothing/messages", b'{"content": "' + text[:-20] + b'"}'),
        ):
            assert set(await post_many(server, place, body, 12)) == {expected}
        assert memory_mib(server) - before < 200
    finally:
        await server.kill()


@pytest.mark.parametrize("letter", ["x", "\N{GRINNING FACE}"], ids=["ascii", "an emoji"])
async def test_stored_messages_take_no_memory_after_their_turns(tmp_path: Path, letter: str) -> None:
    """One emoji makes Python store the text in four bytes for each character."""
    server = ServerProcess(tmp_path / "data")
    await server.start()
    try:
        before = memory_mib(server)
        body = json.dumps({"content": "x" * (4 * MIB - 200) + letter}, ensure_ascii=False).encode()
        for _ in range(16):
            _, chat = await server.ask("POST", "/chats", {})
            assert await post(server, f"/chats/{chat['id']}/messages", body) == 201
        await wait_until(
            lambda: server.ask("GET", f"/chats/{chat['id']}"), accept=lambda answer: answer[1]["status"] == "waiting"
        )
        assert memory_mib(server) - before < 250
    finally:
        await server.kill()
