"""`kill -9` of the server in the middle of an answer: A2A's client subscribes to the same task, to the character."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from a2a.client import A2AClientError, Client
from a2a.types import GetTaskRequest, SubscribeToTaskRequest
from a2a.utils.errors import InternalError

from support.ports import free_port

from ..http.process import server_process
from .conftest import Seen, connected, follow, request_of, state_of, text_of

pytestmark = pytest.mark.anyio

COUNT = 120
WHOLE = "".join(f"w{n} " for n in range(1, COUNT + 1))
SLOW = f"/tokens {COUNT}\n/rate 200"


async def watch(client: Client, seen: Seen, end: Callable[[], None]) -> None:
    """Send a message and follow its task. `end` is called once, in the middle."""
    has_ended = False
    async for response in client.send_message(request_of(SLOW)):
        seen.add(response)
        if len(seen.text) >= 20 and not has_ended:
            has_ended = True
            end()


@pytest.mark.parametrize("on_worker_lost", ["restart", "continue"])
async def test_a_task_goes_on_after_the_server_was_killed(tmp_path: Path, on_worker_lost: str) -> None:
    data, port = tmp_path / "data", free_port()
    options = ("--on-worker-lost", on_worker_lost)
    seen = Seen()
    with server_process(data, *options, port=port) as server:
        async with connected(server.url, server.token) as client:
            with pytest.raises(A2AClientError):
                await watch(client, seen, server.kill)
    assert WHOLE.startswith(seen.text)
    with server_process(data, *options, port=port) as server:
        async with connected(server.url, server.token) as client:
            rest = await follow(client.subscribe(SubscribeToTaskRequest(id=seen.task.id)))
            assert (rest.text, rest.states[-1]) == (WHOLE, "COMPLETED")
            task = await client.get_task(GetTaskRequest(id=seen.task.id))
            assert (text_of(task), state_of(task), task.context_id) == (WHOLE, "COMPLETED", seen.task.context_id)


async def test_a_stream_that_the_server_closes_says_how_to_go_on(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", "--drain-s", "0") as server:
        async with connected(server.url, server.token) as client:
            seen = Seen()
            with pytest.raises(InternalError, match="SubscribeToTask"):
                await watch(client, seen, server.signal)
