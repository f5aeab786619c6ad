"""What a server must keep up while it is abused: answers to other clients, a small memory, and interrupts."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.stopwatch import Stopwatch
from support.waiting import wait_until

from .server_process import ServerProcess

MIB = 1024 * 1024
HEALTH_S = 1.0
INTERRUPT_S = 1.0
GROWTH_MIB = 300
TURN_S = 60.0


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
            stopwatch = Stopwatch(self._server.pid)
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
            try:
                writer.write(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{self._server.port}\r\n\r\n".encode())
                await reader.readuntil(b"\r\n\r\n")
            finally:
                writer.close()
            self.slowest_s = max(self.slowest_s, stopwatch.elapsed_s())
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
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def wait_status(
    server: ServerProcess, chat_id: str, *statuses: str, deadline_s: float = TURN_S
) -> dict[str, Any]:
    _, chat = await wait_until(
        lambda: server.ask("GET", f"/chats/{chat_id}"),
        f"chat {chat_id} is {' or '.join(statuses)}",
        accept=lambda answer: answer[1]["status"] in statuses,
        deadline_s=deadline_s,
    )
    return dict(chat)
