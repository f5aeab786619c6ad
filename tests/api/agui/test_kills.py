"""`kill -9` of the server in the middle of an answer: AG-UI's client joins it again, to the character."""

from __future__ import annotations

from pathlib import Path

import pytest

from how_to.node import node_marks
from support.ports import free_port

from ..http.process import server_process
from .conftest import NodeClient

pytestmark = [pytest.mark.anyio, *node_marks()]

COUNT = 500
WHOLE = "".join(f"w{n} " for n in range(1, COUNT + 1))


@pytest.mark.parametrize("on_worker_lost", ["restart", "continue"])
async def test_an_answer_goes_on_after_the_server_was_killed(
    node_client: NodeClient, tmp_path: Path, on_worker_lost: str
) -> None:
    data, port = tmp_path / "data", free_port()
    options = ("--on-worker-lost", on_worker_lost)
    with server_process(data, *options, port=port) as server:
        agent = await node_client.open(server.url, server.token)
        await agent.do("runUntil", message={"content": f"/tokens {COUNT}\n/rate 200"}, length=20)
        server.kill()
        seen = await agent.do("settled")
    assert seen.errors
    assert WHOLE.startswith(seen.text)
    assert seen.text != WHOLE
    with server_process(data, *options, port=port) as server:
        seen = await agent.connect()
        assert (seen.text, len(seen.messages), seen.outcome) == (WHOLE, 2, {"type": "success"})
        seen = await agent.run()
        assert (seen.text, len(seen.messages)) == (WHOLE, 2)
