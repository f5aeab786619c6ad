"""Two replicas share an agent: each prompt is handled once, and a repeat after `kill -9` gets the whole answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from synadia_ai.agents import Envelope, ProtocolError, ResponseChunk, StatusChunk, StreamMessage

from antiphon.wire.nats_agent.service import AgentName, AgentRecord
from programs import needs_program
from replicas.fleet import ReplicaFleet
from support.nats import NatsServer
from support.waiting import DEADLINE_S

from .conftest import SESSION, Caller, answer_of

pytestmark = [pytest.mark.anyio, needs_program("nats-server")]

TOKENS = "/tokens 200\n/rate 200"
WHOLE = "".join(f"w{n} " for n in range(1, 201))


@pytest.fixture
async def fleet(tmp_path: Path, postgres_url: str, nats_server: NatsServer) -> AsyncIterator[ReplicaFleet]:
    options = ("--nats-agent", SESSION)
    members = ReplicaFleet(tmp_path / "fleet", store=postgres_url, bus=nats_server.url, size=2, options=options)
    await members.start()
    yield members
    await members.kill()


async def chats_of(fleet: ReplicaFleet) -> dict[str, Any]:
    _, shown = await fleet.ask("GET", "/chats?limit=100")
    return {chat["title"]: chat for chat in shown["chats"]}


async def roles_of(fleet: ReplicaFleet, title: str) -> list[str]:
    chat = (await chats_of(fleet))[title]
    _, shown = await fleet.ask("GET", f"/chats/{chat['id']}/messages")
    return [message["role"] for message in shown["messages"]]


async def prompts_of(caller: Caller, fleet: ReplicaFleet) -> dict[str, int]:
    """How many prompts each replica was given, by its instance id."""
    counts = {}
    for member in fleet.members:
        name = AgentName.parse(SESSION)
        record = AgentRecord(name=name, instance_id=member.instance_id, max_payload=1)
        stats = await caller.client.request(record.control_subjects("STATS")[2], timeout=DEADLINE_S)
        counts[member.instance_id] = json.loads(stats.data)["endpoints"][0]["num_requests"]
    return counts


async def collect(stream: AsyncIterator[StreamMessage], texts: list[str]) -> None:
    async for item in stream:
        if isinstance(item, ResponseChunk):
            texts.append(item.text)


async def test_each_prompt_is_handled_once_and_survives_a_kill(fleet: ReplicaFleet, nats_server: NatsServer) -> None:
    caller = await Caller.connect(nats_server.url)
    agent = await caller.find(count=2)
    names = [f"p{number}" for number in range(16)]
    answers = await asyncio.gather(*(answer_of(agent, f"/say {name}", session=name) for name in names))
    assert [answered.text for answered in answers] == names
    for name in names[:4]:
        assert await roles_of(fleet, name) == ["user", "assistant"]
    counts = await prompts_of(caller, fleet)
    assert sum(counts.values()) == len(names)
    assert min(counts.values()) > 0

    prompt = Envelope(prompt=TOKENS, session="killed", message_id="m1")  # type: ignore[call-arg]
    stream = agent.prompt(prompt, timeout=1.0)
    assert await anext(stream) == StatusChunk(status="ack")
    texts = [(await anext(stream)).text]  # type: ignore[union-attr]
    now = await prompts_of(caller, fleet)
    (handler,) = (one for one in now if now[one] > counts[one])
    await fleet.member(handler).kill()
    with pytest.raises(ProtocolError, match="stalled"):
        await collect(stream, texts)
    assert WHOLE.startswith("".join(texts))
    assert "".join(texts) != WHOLE
    again = await answer_of(await caller.find(), TOKENS, session="killed", message_id="m1")
    assert again.text == WHOLE
    assert await roles_of(fleet, "killed") == ["user", "assistant"]
    await caller.close()
