"""A call that an earlier attempt left waits for an MCP server that has not started, within bounds."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from random import Random

import pytest

from antiphon import McpServer
from antiphon.core.model import Chat, Status
from antiphon.core.parts import ToolCall
from antiphon.models.outbound import Outbound
from antiphon.worker.tools import ToolContext
from antiphon.worker.tools.call import result_of
from antiphon.worker.tools.mcp.servers import McpServers
from support import preloaded

from ..running import Talk, ask, running
from .servers import TOOL_SERVER, call, wait_state

pytestmark = pytest.mark.anyio


async def test_an_approved_call_waits_for_its_server_and_runs(tmp_path: Path) -> None:
    """The server does not start with the second instance; the call that a person approves waits for it."""
    gate, log, data = tmp_path / "gate", tmp_path / "calls.log", tmp_path / "data"
    script = f"test -e {gate} && exec {shlex.join(preloaded.command(TOOL_SERVER, str(log)))}"
    late = {"t": McpServer(command=("sh", "-c", script), tool_approval={"add": "always"})}
    gate.touch()
    async with running(mcp=late, data=data) as instance:
        talk = await ask(instance, '/call t_add {"a": 1, "b": 2}')
        await talk.wait_status(Status.REQUIRES_ACTION)
    gate.unlink()
    async with running(mcp=late, data=data) as instance:
        talk = Talk(instance, talk.chat_id)
        (waiting,) = (await talk.chat()).calls
        await instance.chats.approve(talk.chat_id, waiting.tool_call_id)
        await talk.wait_kind("attempt_started", 2)
        assert await talk.results() == []
        gate.touch()
        await talk.wait_ended()
        (result,) = await talk.results()
        assert result.result == {"result": 3}
    assert log.read_text().splitlines().count("add 1 2") == 1


async def test_a_server_that_does_not_start_makes_the_call_unavailable() -> None:
    servers = McpServers(
        {"t": McpServer(command=("false",))},
        outbound=Outbound.make(()),
        tool_s=5.0,
        random=Random(1),
        missing_wait_s=0.3,
    )
    working = asyncio.create_task(servers.run())
    try:
        missing = await servers.wait_tool(Chat(owner_id="o"), "t_add")
        assert missing == ("t",)
        assert await servers.wait_tool(Chat(owner_id="o", mcp_server_ids=()), "t_add") == ()
        context = ToolContext(chat_id="c", turn_id=2, tool_call_id="c", progress=lambda text: None)
        result = await result_of(ToolCall("c", "t_add", {}), {}, context, tool_s=1.0, missing=missing)
        sentence = "The tool 't_add' did not run: the MCP server 't' has not started."
        assert result.result == {"error": "unavailable", "message": sentence}
    finally:
        working.cancel()
        await asyncio.wait({working})


@pytest.mark.slow
async def test_a_new_call_of_an_unknown_tool_is_unavailable_while_a_server_starts(tmp_path: Path) -> None:
    """The model has the tool from earlier turns, and may call it again. The turn first waits for the server."""
    gate, log = tmp_path / "gate", tmp_path / "calls.log"
    script = (
        f"while ! test -e {gate}; do sleep 0.05; done; exec {shlex.join(preloaded.command(TOOL_SERVER, str(log)))}"
    )
    async with running(mcp={"t": McpServer(command=("sh", "-c", script))}) as instance:
        assert instance.mcp.starting(Chat(owner_id="o", mcp_server_ids=())) == ()
        result = (await call(instance, "t_add", '{"a": 1, "b": 2}')).result
        sentence = "The tool 't_add' did not run: the MCP server 't' has not started."
        assert result == {"error": "unavailable", "message": sentence}
        gate.touch()
        await wait_state(instance, "connected")
        assert instance.mcp.starting(Chat(owner_id="o")) == ()
        assert (await call(instance, "t_add", '{"a": 1, "b": 2}')).result == {"result": 3}


async def test_a_tool_that_a_model_invents_is_not_waited_for() -> None:
    async with running(mcp={"t": McpServer(command=("false",))}) as instance:
        assert (await call(instance, "t_add")).result["error"] == "unknown_tool"
