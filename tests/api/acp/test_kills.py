"""`kill -9` of the server in the middle of an answer: the editor gets the rest, each character once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from client.servers import ServerProcess

from .editor import open_editor

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
