"""A parent and its child chats in a real server that is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antiphon.client import AsyncClient
from support.waiting import wait_until

from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

APP = '''
import asyncio, os, pathlib
from antiphon import ToolCall, ToolContext, tool

GATE = pathlib.Path(os.environ["GATE"])
LOG = pathlib.Path(os.environ["CALLS"])

@tool
def pay(name: str) -> str:
    """Pay once."""
    with LOG.open("a") as log:
        log.write(name + chr(10))
    return "paid"

@tool(idempotent=True)
async def ask_child(name: str, context: ToolContext) -> str:
    """Ask a child chat."""
    return (await context.spawn(name)).text

async def agent(turn):
    if turn.parent_chat_id:
        await turn.call(ToolCall("pay", {"name": turn.text}))
        yield "begun "
        while not GATE.exists():
            await asyncio.sleep(0.02)
        yield turn.text
    elif turn.text == "by a tool":
        yield str((await turn.call(ToolCall("ask_child", {"name": "a"}))).result)
    else:
        answers = await turn.spawn("a", "b")
        yield " and ".join(answer.text for answer in answers)
'''


@pytest.fixture
def server(tmp_path: Path) -> ServerProcess:
    (tmp_path / "app.py").write_text(APP)
    env = {"GATE": str(tmp_path / "gate"), "CALLS": str(tmp_path / "calls")}
    return ServerProcess(tmp_path / "data", app=f"{tmp_path / 'app.py'}:agent", **env)


def client_of(server: ServerProcess) -> AsyncClient:
    return AsyncClient(f"http://127.0.0.1:{server.port}", server.token)


async def children_of(client: AsyncClient, chat_id: str) -> list[Any]:
    return (await client.chats(parent_chat_id=chat_id))["chats"]


async def answer_of(client: AsyncClient, chat_id: str) -> str:
    async def text() -> str | None:
        if (await client.chat(chat_id))["status"] != "waiting":
            return None
        last = max((await client.messages(chat_id))["messages"], key=lambda message: message["id"])
        return last["content"][0]["text"] if last["role"] == "assistant" else None

    found: str = await wait_until(text)
    return found


@pytest.mark.parametrize(
    ("said", "answer", "count"), [("hello", "begun a and begun b", 2), ("by a tool", "begun a", 1)]
)
async def test_a_killed_parent_finds_its_children_and_waits_on(
    server: ServerProcess, tmp_path: Path, said: str, answer: str, count: int
) -> None:
    await server.start()
    try:
        async with client_of(server) as client:
            chat = await client.create_chat(said)
            calls = tmp_path / "calls"
            await wait_until(lambda: calls.exists() and len(calls.read_text().split()) == count)
            for _ in range(2):
                await server.kill()
                await server.start()
            (tmp_path / "gate").touch()
            assert await answer_of(client, chat["id"]) == answer
            assert len(await children_of(client, chat["id"])) == count
            assert sorted(calls.read_text().split()) == ["a", "b"][:count]
    finally:
        await server.kill()


async def test_a_parent_that_dies_after_creating_its_child_creates_no_other(
    server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "gate").touch()
    await server.start(ANTIPHON_CRASH_AT="child-after-create")
    try:
        async with client_of(server) as client:
            chat = await client.create_chat("by a tool")
            assert server.process is not None
            await server.process.wait()
            await server.start()
            assert await answer_of(client, chat["id"]) == "begun a"
            assert len(await children_of(client, chat["id"])) == 1
            assert (tmp_path / "calls").read_text().split() == ["a"]
    finally:
        await server.kill()
