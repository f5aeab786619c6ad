"""`kill -9` of the server in the middle of an answer: the editor gets the rest, each character once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from antiphon.api.acp.agent import Agent
from antiphon.api.acp.limits import AcpLimits
from antiphon.client import AsyncClient
from client.servers import ServerProcess
from support.waiting import wait_until

from .editor import open_editor
from .lines import Lines, text

pytestmark = pytest.mark.anyio

COUNT = 300
WHOLE = "".join(f"w{n} " for n in range(1, COUNT + 1))


@pytest.mark.parametrize("on_worker_lost", ["restart", "continue"])
async def test_an_answer_goes_on_after_the_server_was_killed(tmp_path: Path, on_worker_lost: str) -> None:
    data, options = tmp_path / "data", ("--on-worker-lost", on_worker_lost)
    server = ServerProcess(data, *options)
    async with open_editor("--data", str(data)) as editor:
        chat_id = await editor.new()
        prompt = asyncio.create_task(editor.prompt(chat_id, f"/tokens {COUNT}\n/rate 200"))
        await editor.wait_text(chat_id, "w20 ")
        server.kill()
        server = ServerProcess(data, *options)
        assert await prompt == "end_turn"
        assert editor.text(chat_id) == WHOLE
        assert await editor.prompt(chat_id, "/say two") == "end_turn"
    assert server.stop() == 0


async def test_a_stop_without_an_instance_is_an_error_in_time(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    client = AsyncClient(server.url, server.token)
    async with client:
        lines, limits = Lines(), AcpLimits(stop_s=0.2, retry_s=0.05)
        agent = Agent(client, lines, configuration=client, report=lambda words: None, limits=limits)
        running = asyncio.create_task(agent.run())
        session = {"sessionId": (await lines.ask("session/new", {"cwd": "/", "mcpServers": []}))["sessionId"]}
        prompt = lines.send("session/prompt", {**session, **text("/tokens 4000\n/rate 50")})
        await wait_until(lambda: len(lines.updates) > 3, "the answer")
        server.kill()
        lines.send("session/cancel", session)
        answer = await wait_until(lambda: lines.answers.get(prompt), "the prompt is answered")
        assert answer["error"]["message"] == "The instance does not respond. The turn may go on."
        lines.end()
        await running
