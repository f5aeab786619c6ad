"""The server is killed or stopped while official clients wait for an answer, over HTTP and through `antiphon mcp`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from antiphon.client import AsyncClient
from support.ports import free_port
from support.waiting import wait_until

from ..http.process import ServerProcess, server_process
from .conftest import connected

pytestmark = pytest.mark.anyio

COUNT = 300
TEXT = f"/tokens {COUNT}\n/rate 200"
WHOLE = "".join(f"w{n} " for n in range(1, COUNT + 1))


def bridge(data: Path, runtime: Path) -> Any:
    """`antiphon mcp`, started as a client's configuration says."""
    args = ["-m", "antiphon.cli", "mcp", "--data", str(data)]
    env = {"XDG_RUNTIME_DIR": str(runtime), "PATH": os.environ["PATH"]}
    return stdio_client(StdioServerParameters(command=sys.executable, args=args, env=env))


async def running_chats(server: ServerProcess) -> int:
    async with AsyncClient(server.url, server.token) as client:
        return sum(chat["status"] == "running" for chat in (await client.chats())["chats"])


async def test_answers_arrive_after_the_server_was_killed(tmp_path: Path) -> None:
    """A client over HTTP calls again with its key. One behind the command does nothing: its call is sent again."""
    data, port = tmp_path / "data", free_port()
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    reports: list[float] = []

    async def note(progress: float, total: float | None, text: str | None) -> None:
        reports.append(progress)

    async def both_begin(server: ServerProcess) -> bool:
        return await running_chats(server) == 2 and len(reports) > 0

    given = {"text": TEXT, "idempotency_key": "k"}
    with server_process(data, port=port) as server:
        async with connected(server.url, server.token) as client, Client(bridge(data, runtime)) as behind:
            plain = asyncio.create_task(client.call_tool("start_chat", given))
            piped = asyncio.create_task(behind.call_tool("start_chat", {"text": TEXT}, progress_callback=note))
            await wait_until(lambda: both_begin(server), "both answers are written")
            server.kill()
            with pytest.raises(MCPError):
                await plain
            with server_process(data, "--drain-s", "0", port=port) as server:
                again = (await client.call_tool("start_chat", given)).structured_content
                through = (await piped).structured_content
                listed = (await behind.call_tool("list_chats", {})).structured_content
                assert again is not None
                assert through is not None
                assert listed is not None
                assert [one["answer"] for one in (again, through)] == [WHOLE, WHOLE]
                assert {one["chat_id"] for one in listed["chats"]} == {again["chat_id"], through["chat_id"]}
                assert reports == sorted(set(reports))
                waiting = asyncio.create_task(client.call_tool("start_chat", {"text": "/stall 60"}))
                await wait_until(lambda: running_chats(server), "the answer is being written")
                server.signal()
                stopped = (await waiting).structured_content
                assert stopped is not None
                assert stopped["status"] == "running"
