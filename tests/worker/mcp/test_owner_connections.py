"""With `per_owner` the calls of each owner go over a connection of their own, which is closed when it is idle."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from antiphon import McpServer
from antiphon.models.outbound import Outbound
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.worker.tools import ToolContext
from antiphon.worker.tools.mcp.connection import McpConnection
from antiphon.worker.tools.mcp.owner_connections import OwnerConnections
from antiphon.worker.tools.tool import ToolFailed
from support.waiting import wait_until

from ..running import Talk, running
from .servers import wait_state

pytestmark = pytest.mark.anyio

PROGRAM = '''
import anyio
from mcp.server.mcpserver import MCPServer

server = MCPServer("memory")
seen = []


@server.tool()
async def remember(text: str, wait_s: float = 0.0) -> str:
    """Remember a text."""
    seen.append(text)
    await anyio.sleep(wait_s)
    return " ".join(seen)


server.run("stdio")
'''


@pytest.fixture
def settings(tmp_path: Path) -> McpServer:
    """A server that keeps state per session."""
    program = tmp_path / "memory.py"
    program.write_text(PROGRAM)
    return McpServer(command=(sys.executable, str(program)), per_owner=True)


async def remembered(instance: Instance, owner_id: str, text: str) -> Any:
    chats = instance.chats_of(owner_id)
    talk = Talk(instance, (await chats.create(content=f'/call m_remember {{"text": "{text}"}}')).chat_id)
    await talk.wait_ended()
    (result,) = await talk.results()
    return result.result


async def test_a_server_with_state_sees_the_calls_of_one_owner(settings: McpServer) -> None:
    async with running(mcp={"m": settings}) as instance:
        await wait_state(instance, "connected")
        ann, bob = [await instance.owner_id_of(name) for name in ("ann", "bob")]
        first = await asyncio.gather(remembered(instance, ann, "a1"), remembered(instance, bob, "b1"))
        assert [result["result"] for result in first] == ["a1", "b1"]
        assert (await remembered(instance, ann, "a2"))["result"] == "a1 a2"
        (state,) = instance.mcp.states()
        assert (state.state, state.tools) == ("connected", ("m_remember",))


def context(owner: str) -> ToolContext:
    return ToolContext(chat_id="c", turn_id=2, tool_call_id="t", progress=lambda text: None, owner=owner)


@asynccontextmanager
async def connections(settings: McpServer, **options: Any) -> AsyncIterator[OwnerConnections]:
    make = partial(
        McpConnection, "m", settings, outbound=Outbound.make(()), tool_s=30.0, random=Random(1), is_counted=False
    )
    owners = OwnerConnections("m", make, start_s=30.0, **options)
    task = asyncio.create_task(owners.run())
    try:
        yield owners
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_the_places_are_bounded_and_an_idle_connection_is_closed(settings: McpServer) -> None:
    async with connections(settings, open_max=1, idle_s=0.4, place_wait_s=2.5) as owners:
        busy = asyncio.create_task(owners.call("remember", {"text": "a1", "wait_s": 60}, context("ann")))
        await wait_until(lambda: owners.owner_ids == ("ann",))
        with pytest.raises(ToolFailed) as refused:
            await owners.call("remember", {"text": "b1"}, context("bob"))
        assert "busy with calls of others" in refused.value.value["message"]
        busy.cancel()
        await asyncio.wait({busy})
        assert (await owners.call("remember", {"text": "b2"}, context("bob")))["result"] == "b2"
        await wait_until(lambda: owners.owner_ids == ())
        assert (await owners.call("remember", {"text": "b3"}, context("bob")))["result"] == "b3", "its state is gone"
    with pytest.raises(ToolFailed) as refused:
        await owners.call("remember", {"text": "c"}, context("cid"))
    assert "not connected" in refused.value.value["message"]
