"""One server and one Node process for all tests of a file; each test has its own owner and chats."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import ask_person, tool
from how_to.node import FOLDER, node
from support.waiting import DEADLINE_S

from ..http.api_client import ApiClient, open_api

CLIENT = Path(__file__).parent / "client.mjs"
LINE_MAX = 1 << 24
_numbers = itertools.count(1)


@tool(needs_approval=True)
def pay(amount: int = 1) -> str:
    """Pay, if a person allows it."""
    return f"paid {amount}"


@tool
def clock() -> str:
    """The time."""
    return "noon"


class Seen:
    """What the AI SDK's chat has after an operation."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.failure: str | None = found["failure"]
        self.status: str = found["status"]
        self.error: str | None = found["error"]
        self.messages: list[Any] = found["messages"]
        self.data: list[Any] = found["data"]
        self.calls: list[Any] = found["calls"]
        self.finished: list[Any] = found["finished"]
        self.requests: list[Any] = found["requests"]
        self.repeated: str = found.get("repeated", "")

    @property
    def text(self) -> str:
        """The text of the last message."""
        return "".join(part["text"] for part in self.parts("text"))

    def parts(self, kind: str = "") -> list[Any]:
        """The parts of the last message."""
        return [part for part in self.messages[-1]["parts"] if part["type"] == kind or not kind]


class UiChat:
    """A chat of the AI SDK in the Node process."""

    def __init__(self, client: NodeClient, name: str) -> None:
        self._client = client
        self.name = name

    async def do(self, op: str, **fields: Any) -> Seen:
        return Seen(await self._client.ask({"op": op, "chat": self.name, **fields}))

    async def send(self, text: str, **fields: Any) -> Seen:
        return await self.do("send", message={"text": text, **fields})


class NodeClient:
    """Node with the npm package `ai`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> NodeClient:
        pipe = asyncio.subprocess.PIPE
        command = [node(), "--input-type=module", "-e", CLIENT.read_text()]
        started = await asyncio.create_subprocess_exec(*command, cwd=FOLDER, stdin=pipe, stdout=pipe, limit=LINE_MAX)
        return cls(started)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            found = json.loads(line)
            self._waiting.pop(found["id"]).set_result(found)
        for waiting in self._waiting.values():
            waiting.set_exception(RuntimeError("the Node process has ended"))

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        number = next(self._ids)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, **command}).encode() + b"\n")
        async with asyncio.timeout(DEADLINE_S):
            return await waiting

    async def open(self, url: str, token: str, name: str = "", **options: Any) -> UiChat:
        chat = UiChat(self, name or f"chat {next(_numbers)}")
        seen = await chat.do("open", api=f"{url}/api/ui/chat", token=token, **options)
        assert seen.failure is None, seen.failure
        return chat

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def shared_api(anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    async with open_api(
        data=tmp_path_factory.mktemp("ui") / "data", concurrency=1_000, tools=(pay, clock, ask_person)
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
async def node_client(anyio_backend: Any) -> AsyncIterator[NodeClient]:
    client = await NodeClient.start()
    yield client
    await client.close()
