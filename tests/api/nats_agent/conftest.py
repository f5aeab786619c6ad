"""One NATS server, one instance with agents and one caller for all tests of a file; each test has its own session."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from synadia_ai.agents import Agent, Agents, Envelope, Query, ResponseChunk, StatusChunk

from antiphon import ask_person, tool
from antiphon.api.nats_agent.endpoint import NatsAgents, open_nats_agents
from antiphon.api.nats_agent.limits import AgentTiming
from antiphon.backoff import Backoff
from antiphon.server.open_instance import EmbeddedInstance, open_instance
from support.nats import NatsServer
from support.waiting import DEADLINE_S, wait_until

SESSION = "main"
QUICK = AgentTiming(
    heartbeat_s=1,
    keep_alive_s=0.3,
    reply_s=0.5,
    report_s=0.5,
    check_s=0.2,
    answer_s=1.0,
    backoff=Backoff(first_s=0.01, max_s=0.05),
)
_numbers = itertools.count(1)


@tool(needs_approval=True)
def pay(amount: int = 1) -> str:
    """Pay, if a person allows it."""
    return f"paid {amount}"


@tool(needs_approval=True)
async def ship() -> str:
    """Takes longer than a caller may take to reply."""
    await asyncio.sleep(QUICK.reply_s * 1.5)
    return "shipped"


class Answered:
    """What a caller got for a prompt."""

    def __init__(self) -> None:
        self.text = ""
        self.acks = 0
        self.queries: list[Query] = []
        self.attachments: list[Any] = []


class Caller:
    """The protocol's own client library, on a connection of its own."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.agents = Agents(nc=client)

    @classmethod
    async def connect(cls, url: str) -> Caller:
        return cls(await nats.connect(url, reconnect_time_wait=0.05, max_reconnect_attempts=-1))  # type: ignore[arg-type]

    async def find(self, session: str = SESSION, *, count: int = 1, deadline_s: float = DEADLINE_S) -> Agent:
        """One of the agents of a session, when there are `count` of them."""

        async def found() -> list[Agent]:
            return [one for one in await self.agents.discover(stall=0.1) if one.session_name == session]

        agents = await wait_until(
            found, "the agent is found", accept=lambda agents: len(agents) == count, deadline_s=deadline_s
        )
        return agents[0]

    async def close(self) -> None:
        await self.agents.close()
        await self.client.close()


async def answer_of(
    agent: Agent, prompt: str, *, session: str = "", replies: tuple[str, ...] = (), **fields: Any
) -> Answered:
    """Prompt, reply to the questions in turn, and collect the answer."""
    answered, left = Answered(), iter(replies)
    options = {name: fields.pop(name) for name in ("timeout", "attachments") if name in fields}
    if session:
        fields["session"] = session
    async for item in agent.prompt(Envelope(prompt=prompt, **fields), **options):
        if isinstance(item, ResponseChunk):
            answered.text += item.text
            answered.attachments += item.attachments or []
        elif isinstance(item, StatusChunk):
            answered.acks += 1
        else:
            answered.queries.append(item)
            if (reply := next(left, None)) is not None:
                await item.reply(reply)
    return answered


@pytest.fixture
def session() -> str:
    """The name of a chat of the test's own."""
    return f"session {next(_numbers)}"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
async def instance(anyio_backend: Any, nats_server: NatsServer) -> AsyncIterator[EmbeddedInstance]:
    agents = (SESSION, "alice/desk")
    async with open_instance(
        tools=(pay, ship, ask_person), bus=nats_server.url, nats_agent=agents, concurrency=100
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
async def agents(instance: EmbeddedInstance) -> AsyncIterator[NatsAgents]:
    async with open_nats_agents(instance, timing=QUICK) as opened:
        yield opened


@pytest.fixture(scope="module")
async def caller(agents: NatsAgents, nats_server: NatsServer) -> AsyncIterator[Caller]:
    opened = await Caller.connect(nats_server.url)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def agent(caller: Caller) -> Agent:
    return await caller.find()
