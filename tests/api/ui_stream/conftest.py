"""One server and one Node process for all tests of a file; each test has its own owner and chats."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import ask_person, tool

from ..http.api_client import ApiClient, open_api
from ..node_process import NodeProcess

CLIENT = Path(__file__).parent / "client.mjs"
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


class NodeClient(NodeProcess):
    """Node with the npm package `ai`."""

    async def open(self, url: str, token: str, name: str = "", **options: Any) -> UiChat:
        chat = UiChat(self, name or f"chat {next(_numbers)}")
        seen = await chat.do("open", api=f"{url}/api/ui/chat", token=token, **options)
        assert seen.failure is None, seen.failure
        return chat


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
    client = await NodeClient.start(CLIENT)
    yield client
    await client.close()
