"""MCP servers for tests: programs that the instance starts, and one behind an address that can be killed and started
again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from antiphon import McpServer
from antiphon.core.parts import ToolResult
from antiphon.server.open_instance import EmbeddedInstance as Instance
from support import preloaded
from support.ports import free_port
from support.waiting import wait_until

from ..running import Talk, ask, running

HERE = Path(__file__).parent
TOOL_SERVER = str(HERE / "tool_server.py")
HOSTILE_SERVER = str(HERE / "hostile_server.py")


class ToolServer:
    """`tool_server.py`, over stdio (the instance starts it) or streamable HTTP (this object does)."""

    def __init__(self, log: Path, *, transport: str) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()
        self.is_http = transport == "http"

    def settings(self, **more: Any) -> McpServer:
        if self.is_http:
            return McpServer(url=f"http://127.0.0.1:{self.port}/mcp", **more)
        return McpServer(command=preloaded.command(TOOL_SERVER, str(self._log)), **more)

    def lines(self) -> list[str]:
        """What the server has noted."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    async def wait_line(self, line: str, count: int = 1) -> None:
        await wait_until(lambda: self.lines().count(line) >= count, what=f"the server notes {line!r}")

    async def start(self) -> None:
        """Start it, unless the instance does."""
        if not self.is_http:
            return
        self._process = await asyncio.create_subprocess_exec(
            *preloaded.command(TOOL_SERVER, str(self._log), str(self.port)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await wait_until(self._accepts, what="the server accepts connections")

    async def is_running(self) -> bool:
        """Whether an instance can connect."""
        return not self.is_http or await self._accepts()

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._process = None


@asynccontextmanager
async def tool_server(tmp_path: Path, transport: str) -> AsyncIterator[ToolServer]:
    server = ToolServer(tmp_path / "calls.log", transport=transport)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def serving(server: ToolServer, agent: Any = None, **more: Any) -> AsyncIterator[Instance]:
    """An instance that uses the server under the name `t`; `more` are settings of the server."""
    mcp = {"t": server.settings(**more)}
    async with running(agent, mcp=mcp, allow_outbound=("127.0.0.1",)) as instance:
        if await server.is_running():
            await wait_state(instance, "connected")
        yield instance


async def call(instance: Instance, tool: str, args: str = "{}", **fields: Any) -> ToolResult:
    """The result of one call by the rehearsal model, in a chat of its own."""
    talk = await ask(instance, f"/call {tool} {args}", **fields)
    await talk.wait_ended()
    return await result_of(talk)


async def result_of(talk: Talk) -> ToolResult:
    (result,) = await talk.results()
    return result


async def wait_state(instance: Instance, state: str) -> None:
    await wait_until(lambda: all(one.state == state for one in instance.mcp.states()), what=f"all are {state}")
