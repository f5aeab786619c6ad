"""The official client of MCP for Node: other code than Python's, with its own checks and time limits."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from how_to.node import FOLDER, node, node_marks
from support.waiting import DEADLINE_S

from ..http.api_client import ApiClient
from .conftest import url_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow, *node_marks()]

CLIENT = Path(__file__).parent / "client.mjs"


async def test_a_client_for_node_waits_with_progress_and_cancels(api: ApiClient) -> None:
    """Its time limit is shorter than the wait: the reports of progress keep it going."""
    env = os.environ | {"ANTIPHON_URL": url_of(api), "ANTIPHON_TOKEN": api.token}
    process = await asyncio.create_subprocess_exec(
        *(node(), "--input-type=module", "-e", CLIENT.read_text()),
        cwd=FOLDER, env=env, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(DEADLINE_S):
        written, _ = await process.communicate()
    seen = json.loads(written)
    assert (seen["done"]["status"], seen["done"]["answer"]) == ("answered", "ab")
    assert seen["reports"] == ["writing: 1 characters"]
    assert "enough" in seen["aborted"]
    assert seen["statuses"] == ["running", "waiting"]
    assert "## Assistant" in seen["transcript"]
    assert (seen["tools"], seen["refused"], seen["unknown"]) == (7, True, -32602)
