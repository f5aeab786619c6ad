"""An instance whose agent uses the instance's own `/mcp`: chats start chats, to a bounded depth and without a
deadlock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antiphon import McpServer
from antiphon.mcp_settings import DEPTH_LABEL, DEPTH_MAX
from support.ports import free_port
from support.waiting import wait_until

from ..http.api_client import open_api

pytestmark = pytest.mark.anyio

LEVELS = DEPTH_MAX + 2


def nested(levels: int) -> str:
    """A script that starts a chat whose script starts a chat, and so on."""
    text = "/say bottom"
    for _ in range(levels):
        text = "/call self_start_chat " + json.dumps({"text": text, "wait_s": 0.3}) + "\n/say up"
    return text


async def test_an_agent_that_uses_its_own_server_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers: a chat waits for one that waits for a worker, until its call returns `running`."""
    data, port = tmp_path / "data", free_port()
    async with open_api(data=data) as first:
        monkeypatch.setenv("OWN_TOKEN", first.token)
    own = McpServer(url=f"http://127.0.0.1:{port}/mcp", token_env="OWN_TOKEN")
    options = {"mcp": {"self": own}, "allow_outbound": ("127.0.0.1",), "port": port, "concurrency": 2}
    async with open_api(data=data, **options) as api:
        await wait_until(
            lambda: all(one.state == "connected" for one in api.instance.mcp.states()), "it is connected"
        )
        await api.make_chat(nested(LEVELS))

        async def rested() -> list[dict[str, str]]:
            chats = (await api.ask("GET", "/chats")).json["chats"]
            is_done = len(chats) == 1 + DEPTH_MAX and all(chat["status"] == "waiting" for chat in chats)
            return [chat["labels"] for chat in chats] if is_done else []

        labels = await wait_until(rested, "all chats are answered")
        assert sorted(one.get(DEPTH_LABEL, "0") for one in labels) == [str(n) for n in range(DEPTH_MAX + 1)]
        deepest = next(
            chat["id"]
            for chat in (await api.ask("GET", "/chats")).json["chats"]
            if chat["labels"].get(DEPTH_LABEL) == str(DEPTH_MAX)
        )
        history = (await api.ask("GET", f"/chats/{deepest}/messages")).body
        assert f"at most {DEPTH_MAX} are allowed".encode() in history
