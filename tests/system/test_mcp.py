"""A real server with MCP servers: killed in the middle of a call, and attacked by one while it answers probes."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from antiphon.client import AsyncClient
from support import preloaded
from support.stopwatch import Stopwatch
from support.waiting import wait_until

from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

SERVERS = Path(__file__).parents[1] / "worker" / "mcp"
READY_S_MAX = 1.0
"""Maximum response time of /readyz while a server attacks, in seconds."""


def served(tmp_path: Path, *command: str) -> ServerProcess:
    file = tmp_path / "antiphon.toml"
    file.write_text(f"[mcp.t]\ncommand = {json.dumps(command)}\ncall_s = 5\n")
    return ServerProcess(tmp_path / "data", options=("--config", str(file)))


async def wait_connected(client: AsyncClient) -> None:
    """Wait until the MCP server has started. A turn goes on without its tools after ten seconds, and a busy machine
    may need more."""

    async def states() -> set[str]:
        return {server["state"] for server in await client.mcp_servers()}

    await wait_until(states, accept=lambda found: found == {"connected"})


async def results(client: AsyncClient, chat_id: str) -> list[dict[str, Any]]:
    page = await client.messages(chat_id)
    parts = [part for message in page["messages"] for part in message["content"]]
    return [part for part in parts if part["type"] == "tool-result"]


async def test_a_call_whose_antiphon_is_killed_is_never_run_twice(tmp_path: Path) -> None:
    log = tmp_path / "calls.log"
    server = served(tmp_path, *preloaded.command(str(SERVERS / "tool_server.py"), str(log)))
    await server.start()
    try:
        async with AsyncClient(f"http://127.0.0.1:{server.port}", server.token) as client:
            await wait_connected(client)
            chat = await client.create_chat('/call t_slow {"name": "n"}')
            await wait_until(lambda: log.exists() and "begin n" in log.read_text(), "the call runs")
            await server.kill()
            await server.start()
            found = await wait_until(lambda: results(client, chat["id"]), "the call has a result")
            assert found[0]["is_error"]
            assert found[0]["result"]["error"] == "unknown"
            await wait_connected(client)
            again = await client.create_chat('/call t_add {"a": 1, "b": 2}')
            (added,) = await wait_until(lambda: results(client, again["id"]))
            assert added["result"] == {"result": 3}
        assert log.read_text().splitlines().count("begin n") == 1
    finally:
        await server.stop()


@pytest.mark.parametrize("attack", ["flood", "gigabyte", "changes without end"])
async def test_readiness_is_answered_while_a_server_attacks(tmp_path: Path, attack: str) -> None:
    server = served(tmp_path, sys.executable, str(SERVERS / "hostile_server.py"), attack)
    await server.start()
    try:
        async with AsyncClient(f"http://127.0.0.1:{server.port}", server.token) as client:
            chat = await client.create_chat("/call t_call {}")
            slowest = 0.0
            found: list[dict[str, Any]] = []
            while not found:
                stopwatch = Stopwatch(server.pid)
                assert await asyncio.to_thread(is_ready, server.port)
                slowest = max(slowest, stopwatch.elapsed_s())
                found = await results(client, chat["id"])
            assert found[0]["is_error"]
            assert slowest < READY_S_MAX
    finally:
        await server.stop()


def is_ready(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as response:
        return int(response.status) == 200
