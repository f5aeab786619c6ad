"""Large files in real processes: the memory of a server has a ceiling, and a kill leaves nothing of an upload."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.proxy import CuttingProxy
from support.s3 import S3Server
from support.waiting import wait_until

from .fleet import Fleet
from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
RSS_MIB_MAX = 100
BLOCK = os.urandom(MIB)
LIMITS = ("--limit", f"file_bytes={2048 * MIB}")

sizes = pytest.mark.parametrize("size_mib", [64, pytest.param(1024, marks=pytest.mark.slow)])


def peak_mib(server: ServerProcess) -> int:
    """The greatest resident memory that the server's process has had."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


async def upload(server: ServerProcess, size_mib: int, *, token: str | None = None) -> Any:
    """The response to an upload of `size_mib` blocks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    more = f"Content-Length: {size_mib * MIB}\r\nConnection: close\r\n"
    writer.write(server._head("POST", "/files", token, more))
    for _ in range(size_mib):
        writer.write(BLOCK)
        await writer.drain()
    answer = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
    writer.transport.abort()
    return answer


async def download(server: ServerProcess, file_id: str) -> tuple[int, str]:
    """The size and the hash of a file."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(server._head("GET", f"/files/{file_id}", None, "Connection: close\r\n"))
    await reader.readuntil(b"\r\n\r\n")
    digest, size = hashlib.sha256(), 0
    while piece := await reader.read(MIB):
        digest.update(piece)
        size += len(piece)
    writer.transport.abort()
    return size, digest.hexdigest()


async def check_memory(server: ServerProcess, size_mib: int) -> None:
    await server.start()
    try:
        made = await upload(server, size_mib)
        assert made["size"] == size_mib * MIB
        assert await download(server, made["file_id"]) == (made["size"], made["sha256"])
        assert peak_mib(server) < RSS_MIB_MAX
    finally:
        await server.kill()


@sizes
async def test_a_large_file_takes_no_memory_on_sqlite(tmp_path: Path, size_mib: int) -> None:
    await check_memory(ServerProcess(tmp_path / "data", options=LIMITS), size_mib)


@sizes
async def test_a_large_file_takes_no_memory_on_postgresql(tmp_path: Path, postgres_url: str, size_mib: int) -> None:
    await check_memory(ServerProcess(tmp_path / "data", options=(*LIMITS, "--store", postgres_url)), size_mib)


@sizes
async def test_a_large_file_takes_no_memory_with_files_in_s3(
    tmp_path: Path, s3_server: S3Server, size_mib: int
) -> None:
    options = (*LIMITS, "--files", s3_server.new_bucket())
    await check_memory(ServerProcess(tmp_path / "data", options=options), size_mib)


async def test_a_file_storage_that_is_lost_is_loud_and_chats_go_on(tmp_path: Path, s3_server: S3Server) -> None:
    address = s3_server.new_bucket()
    async with CuttingProxy(s3_server.port) as proxy:
        reached = address.replace(f":{s3_server.port}", f":{proxy.port}")
        server = ServerProcess(tmp_path / "data", options=("--files", reached))
        await server.start()
        try:
            made = await upload(server, 5)
            proxy.is_down = True
            proxy.cut()
            head, error = await got(server, f"/files/{made['file_id']}")
            assert "503" in head.splitlines()[0]
            assert "retry-after:" in head.lower()
            assert error["error"]["code"] == "unavailable"
            assert (await upload(server, 1))["error"]["code"] == "unavailable"
            head, ready = await got(server, "/../../readyz")
            assert "200" in head.splitlines()[0], "chats go on"
            assert "file_storage" in json.dumps(ready)
            named = {"type": "file-reference", "file_id": made["file_id"]}
            for content in ("hello", [{"type": "text", "text": "see"}, named]):
                status, _ = await server.ask("POST", "/chats", {"content": content})
                assert status == 201
            proxy.is_down = False
            assert await download(server, made["file_id"]) == (5 * MIB, made["sha256"])
            assert (await upload(server, 1))["size"] == MIB
        finally:
            await server.kill()


async def got(server: ServerProcess, path: str) -> tuple[str, Any]:
    """The head and the JSON of a response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = server._head("GET", path, None, "Connection: close\r\n").replace(b"/api/v1/../../", b"/")
    writer.write(head)
    answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.transport.abort()
    return answer.decode(), json.loads(body)


async def test_a_large_file_takes_no_memory_of_a_standby(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "data", size=2)
    await fleet.start()
    try:
        standby = fleet.standby
        made = await upload(standby, 64)
        assert await download(standby, made["file_id"]) == (64 * MIB, made["sha256"])
        assert peak_mib(standby) < RSS_MIB_MAX
        assert peak_mib(fleet.primary) < RSS_MIB_MAX
    finally:
        await fleet.kill()


async def test_a_file_of_a_tool_that_a_kill_ended_before_its_commit_is_removed(tmp_path: Path) -> None:
    app = f"{Path(__file__).parent.parent / 'page' / 'file_app.py'}:agent"
    options = ("--limit", "file_unused_s=0.5")
    server = ServerProcess(tmp_path / "data", app=app, options=options)
    server._env["ANTIPHON_CRASH_AT"] = "tool-after-run"
    folder = tmp_path / "data" / "files"
    await server.start()
    try:
        _, made = await server.ask("POST", "/chats", {"content": "/call drawing {}"})
        assert server.process is not None
        await server.process.wait()
        assert len(list(folder.iterdir())) == 1, "the tool has stored it"
        del server._env["ANTIPHON_CRASH_AT"]
        await server.start()

        async def is_removed() -> bool:
            _, other = await server.ask("POST", "/chats", {})
            await server.ask("DELETE", f"/chats/{other['id']}")  # wakes the removal of expired files
            return not list(folder.iterdir())

        await wait_until(is_removed)
        _, page = await server.ask("GET", f"/chats/{made['id']}/messages")
        assert "file-reference" not in json.dumps(page)
    finally:
        await server.kill()


async def test_a_kill_in_an_upload_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    folder = tmp_path / "data" / "files"
    await server.start()
    try:
        kept = await upload(server, 1)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(server._head("POST", "/files", None, f"Content-Length: {50 * MIB}\r\n") + BLOCK * 8)
        await wait_until(lambda: any(part.stat().st_size > 4 * MIB for part in folder.glob("*.part")))
        await server.kill()
        writer.transport.abort()
        assert len(list(folder.iterdir())) == 2
        await server.start()
        assert [path.name for path in folder.iterdir()] == [kept["file_id"]]
        assert await download(server, kept["file_id"]) == (MIB, kept["sha256"])
    finally:
        await server.kill()


async def test_a_kill_at_any_time_leaves_each_file_whole_or_not_at_all(tmp_path: Path) -> None:
    """Every file that an upload was answered with is there after the kill, with the same bytes."""
    server = ServerProcess(tmp_path / "data")
    await server.start()
    try:
        answered = [await upload(server, 1, token=server.token)]
        for round_ in range(4):
            uploads = [asyncio.create_task(_upload_own(server, f"{round_} {n}")) for n in range(4)]
            await asyncio.wait(uploads, timeout=0.02 * round_)
            await server.kill()
            results = await asyncio.gather(*uploads, return_exceptions=True)
            answered += [result for result in results if isinstance(result, dict)]
            await server.start()
            for made in answered:
                assert await download(server, made["file_id"]) == (made["size"], made["sha256"])
        names = {path.name for path in (tmp_path / "data" / "files").iterdir()}
        assert names >= {made["file_id"] for made in answered}
        assert not any(name.endswith(".part") for name in names)
    finally:
        await server.kill()


async def _upload_own(server: ServerProcess, text: str) -> Any:
    """Upload a file of its own. Raises where there is no whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    data = BLOCK * 2 + text.encode()
    try:
        writer.write(server._head("POST", "/files", None, f"Content-Length: {len(data)}\r\nConnection: close\r\n"))
        writer.write(data)
        await writer.drain()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201"), head
        return json.loads(body)
    finally:
        writer.transport.abort()
