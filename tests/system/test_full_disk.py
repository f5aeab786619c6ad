"""A full disk: refused clearly, nothing lost, well again without a restart when there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from programs import PRIVILEGES
from support.waiting import wait_until

from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

SIZE = "3m"


@pytest.fixture
def small_disk(tmp_path: Path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"{PRIVILEGES}a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # also while a failed test has files open


async def test_a_full_disk_is_survived_without_a_restart(small_disk: Path, tmp_path: Path) -> None:
    server = ServerProcess(small_disk / "data")
    server.log_path = tmp_path / "server.log"
    await server.start()
    try:
        _, chat = await server.ask("POST", "/chats", {})
        path = f"/chats/{chat['id']}/messages"
        _, first = await server.ask("POST", path, {"content": "/stall 600"})
        acked: list[int] = []
        refused = 0
        filler = small_disk / "filler"
        for i in range(400):
            status, answer = await server.ask(
                "POST", path, {"content": f"{i} " + "x" * 60_000, "client_message_id": str(i)}
            )
            if status == 202:
                acked.append(answer["queued_message"]["id"])
                if len(acked) > 5:
                    status, answer = await server.ask("DELETE", f"/chats/{chat['id']}/queue/{acked[0]}")
                    acked = acked[1:] if status == 200 else acked
            if status not in (200, 202):
                assert status == 503, answer
                assert answer["error"]["code"] == "unavailable"
                refused += 1
                break
            filler.write_bytes(b"x" * 40_000 * (i + 1)) if i > 10 and _has_room(small_disk) else None
        assert refused, "the disk became full"
        await _until(server, 503)
        filler.unlink(missing_ok=True)
        _make_room(small_disk)
        await _until(server, 200)
        status, answer = await server.ask("POST", path, {"content": "after", "client_message_id": "after"})
        assert status == 202
        _, page = await server.ask("GET", path)
        assert [m["id"] for m in page["queued_messages"]] == [*acked, answer["queued_message"]["id"]]
        assert page["messages"][0]["id"] == first["message"]["id"]
    finally:
        await server.kill()


def _has_room(folder: Path) -> bool:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize > 600_000


def _make_room(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=32m", str(folder)], check=True)


async def _until(server: ServerProcess, status: int) -> None:
    """Until /readyz answers so (a path outside the API)."""
    await wait_until(lambda: _readyz(server), accept=lambda found: found == status)


async def _readyz(server: ServerProcess) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(head.split(b" ")[1])
