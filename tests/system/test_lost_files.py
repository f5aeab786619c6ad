"""The database's files are renamed or removed under a running server: refused at once, and loud."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from support.waiting import wait_until

from .server_process import ServerProcess

pytestmark = pytest.mark.anyio


def _remove_all(data: Path) -> None:
    for file in list(data.glob("antiphon.db*")):
        file.unlink()


def _rename_all(data: Path) -> None:
    for file in list(data.glob("antiphon.db*")):
        file.rename(data / f"old.{file.name}")


LOSSES: dict[str, Callable[[Path], None]] = {
    "removed": _remove_all,
    "renamed": _rename_all,
    "the log alone removed": lambda data: (data / "antiphon.db-wal").unlink(),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
async def test_no_send_is_acknowledged_after_the_database_was_lost(
    tmp_path: Path, loss: Callable[[Path], None]
) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    try:
        _, chat = await server.ask("POST", "/chats", {})
        loss(server.data)
        answers = [
            await server.ask("POST", f"/chats/{chat['id']}/messages", {"content": f"{number}"})
            for number in range(25)
        ]
        assert {status for status, _ in answers} == {503}
        assert "antiphon.db" in answers[0][1]["error"]["message"]
        assert str(tmp_path) not in answers[0][1]["error"]["message"]
        await wait_until(lambda: "database_file_lost" in server.log())
        assert await _readyz(server) == 503
    finally:
        await server.kill()


async def _readyz(server: ServerProcess) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head = await reader.read()
    writer.close()
    return int(head.split(b" ")[1])
