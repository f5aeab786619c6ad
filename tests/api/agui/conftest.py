"""One server and one Node process for all tests of a file; each test has its own owner and threads."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import Agent, Source, ToolCall, Turn, ask_person, tool

from ..http.api_client import ApiClient, open_api
from ..node_process import NodeProcess

CLIENT = Path(__file__).parent / "client.mjs"
_numbers = itertools.count(1)


@tool(needs_approval=True)
def pay(amount: int = 1) -> str:
    """Pay, if a person allows it."""
    return f"paid {amount}"


@tool
def clock() -> dict[str, str]:
    """The time."""
    return {"time": "noon"}


class Planner(Agent):
    """The built-in loop over the rehearsal model, and one text that it answers itself."""

    async def run(self, turn: Turn, models: Any) -> AsyncIterator[Any]:
        if turn.text == "/plan":
            turn.state = {"steps": ["read"], "done": False}
            yield "planned"
            await turn.call(ToolCall("clock", {}))
            turn.state["steps"].append("write")
            turn.state["done"] = True
            yield Source(url="https://example.org", title="a source")
            yield "done"
        else:
            async for piece in super().run(turn, models):
                yield piece


class Seen:
    """What AG-UI's client has after an operation. `events` are those of the operation, without pieces of text."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.failure: str | None = found["failure"]
        self.messages: list[Any] = found["messages"]
        self.state: Any = found["state"]
        self.interrupts: list[Any] = found["interrupts"]
        self.all_events: list[Any] = found["events"]
        self.events: list[Any] = [e for e in self.all_events if not e["type"].endswith(("_CONTENT", "_ARGS"))]
        self.requests: list[Any] = found["requests"]
        self.errors: list[str] = found["errors"]
        self.warnings: list[str] = found["warnings"]
        self.repeated: str = found.get("repeated", "")

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def text(self) -> str:
        """The text of the last message of the assistant."""
        return str(self.of("assistant")[-1].get("content", ""))

    @property
    def outcome(self) -> Any:
        (finished,) = (event for event in self.events if event["type"] == "RUN_FINISHED")
        return finished["outcome"]

    def of(self, role: str) -> list[Any]:
        """The messages of a role."""
        return [message for message in self.messages if message["role"] == role]

    def custom(self, name: str) -> list[Any]:
        """The values of a custom event."""
        return [event["value"] for event in self.events if event.get("name") == f"antiphon.{name}"]


class Client:
    """An `HttpAgent` in the Node process."""

    def __init__(self, client: NodeClient, name: str) -> None:
        self._client = client
        self.name = name

    async def do(self, op: str, **fields: Any) -> Seen:
        seen = Seen(await self._client.ask({"op": op, "agent": self.name, **fields}))
        assert seen.warnings == []
        return seen

    async def say(self, content: Any, **options: Any) -> Seen:
        """A run with a user's message. It must not fail."""
        seen = await self.do("run", message={"content": content}, options=options)
        assert seen.failure is None, seen.failure
        return seen

    async def run(self, **options: Any) -> Seen:
        """A run without a new message. It must not fail."""
        seen = await self.do("run", options=options)
        assert seen.failure is None, seen.failure
        return seen

    async def connect(self) -> Seen:
        seen = await self.do("connect")
        assert seen.failure is None, seen.failure
        return seen


class NodeClient(NodeProcess):
    """Node with the npm package `@ag-ui/client`."""

    async def open(self, url: str, token: str, thread: str = "", **options: Any) -> Client:
        number = next(_numbers)
        agent = Client(self, f"agent {number}")
        seen = await agent.do(
            "open", url=f"{url}/agui", token=token, threadId=thread or f"thread {number}", **options
        )
        assert seen.failure is None, seen.failure
        return agent


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def shared_api(anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    async with open_api(
        agent=Planner(),
        data=tmp_path_factory.mktemp("agui") / "data",
        concurrency=1_000,
        tools=(pay, clock, ask_person),
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
async def node_client(anyio_backend: Any) -> AsyncIterator[NodeClient]:
    client = await NodeClient.start(CLIENT)
    yield client
    await client.close()
