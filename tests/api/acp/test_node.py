"""The official TypeScript SDK starts `antiphon acp` as an editor does, on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from how_to.node import FOLDER, node, node_marks
from support.waiting import DEADLINE_S

from ..http.api_client import ApiClient
from .conftest import address

pytestmark = [pytest.mark.anyio, *node_marks()]

CLIENT = Path(__file__).with_name("client.mjs")


async def seen_by_node(api: ApiClient) -> Any:
    option, url = address(api)
    command = [node(), "--input-type=module", "-e", CLIENT.read_text()]
    agent = [sys.executable, "-m", "antiphon.cli", "acp", option, url]
    env = os.environ | {"ANTIPHON_TOKEN": api.token, "ANTIPHON_URL": url}
    process = await asyncio.create_subprocess_exec(
        *command, *agent, cwd=FOLDER, env=env, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(DEADLINE_S):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


async def test_a_session_of_an_editor_with_the_typescript_sdk(shared_api: ApiClient) -> None:
    seen = await seen_by_node(shared_api)
    assert seen["initialized"]["agentInfo"]["name"] == "antiphon"
    assert seen["initialized"]["agentCapabilities"]["loadSession"]
    assert (seen["answered"]["stopReason"], seen["text"], seen["thought"]) == ("end_turn", "aw1 w2 w3 ", "hm")
    assert [one["title"].partition(":")[0] for one in seen["notices"]] == [
        "These MCP servers of the editor are not used"
    ]
    assert (seen["statuses"][0], seen["statuses"][-1]) == ("pending", "completed")
    assert (seen["permitted"], seen["paid"]) == ("end_turn", "paid 1")
    assert seen["form"]["message"] == "Which?"
    assert seen["asked"] == "end_turn"
    assert (seen["answeredByOther"], seen["cancelled"]) == ("end_turn", "cancelled")
    kinds = ["user_message_chunk", "agent_thought_chunk", "agent_message_chunk", "tool_call", "tool_call_update"]
    assert list(dict.fromkeys(seen["replayed"])) == [*kinds, "session_info_update"]
    assert seen["failed"]["code"] == -32603
    assert len(seen["listed"]) == 2
    assert seen["exit"] == 0
