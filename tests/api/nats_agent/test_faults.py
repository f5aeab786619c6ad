"""The NATS server restarts or is missing, and the instance stops: callers get an error, a repeat gets the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from synadia_ai.agents import ProtocolError

from antiphon.api.nats_agent.endpoint import NatsAgents, open_nats_agents
from antiphon.errors import Invalid
from antiphon.server.open_instance import EmbeddedInstance, open_instance
from programs import needs_program
from support.nats import NatsServer
from support.waiting import wait_until

from .conftest import QUICK, SESSION, Caller, answer_of

pytestmark = [pytest.mark.anyio, needs_program("nats-server")]

TOKENS = "/tokens 100\n/rate 100"
WHOLE = "".join(f"w{n} " for n in range(1, 101))


async def test_after_a_restart_of_nats_the_caller_gets_an_error_and_a_repeat_the_whole_answer(
    caller: Caller, agents: NatsAgents, instance: EmbeddedInstance, nats_server: NatsServer, session: str
) -> None:
    agent = await caller.find()
    prompting = asyncio.create_task(answer_of(agent, TOKENS, session=session, message_id="m1"))
    await wait_until(lambda: agents.prompt_count, "the prompt is in progress")
    nats_server.kill()
    await wait_until(lambda: agents.error, "the lost connection is noticed")
    assert "nats_agents" in instance.health.degradations()
    nats_server.start()
    with pytest.raises(ProtocolError, match="500: The server's connection to NATS was lost"):
        await prompting
    assert agents.error is None
    again = await caller.find()
    assert again.instance_id == agent.instance_id
    assert (await answer_of(again, TOKENS, session=session, message_id="m1")).text == WHOLE


async def test_a_frozen_server_is_noticed(agents: NatsAgents, nats_server: NatsServer) -> None:
    nats_server.freeze()
    await wait_until(lambda: agents.error, "the frozen server is noticed")
    nats_server.thaw()
    await wait_until(lambda: not agents.error, "the agents are back")


async def test_a_stop_refuses_new_prompts_and_ends_the_streams(nats_server: NatsServer) -> None:
    async with open_instance(bus=nats_server.url, nats_agent=("stopping",), drain_s=0) as instance:
        async with open_nats_agents(instance, timing=QUICK) as agents:
            caller = await Caller.connect(nats_server.url)
            agent = await caller.find("stopping")
            prompting = asyncio.create_task(answer_of(agent, "/stall 60"))
            await wait_until(lambda: agents.prompt_count, "the prompt is in progress")
            await agents.leave()
            with pytest.raises(AssertionError):
                await caller.find("stopping", deadline_s=0.3)
            await instance.stop()
            with pytest.raises(ProtocolError, match="500: The server closed the stream"):
                await prompting
        await caller.close()


async def test_agents_start_before_their_server(tmp_path: Any) -> None:
    server = NatsServer(tmp_path / "late")
    async with (
        open_instance(bus=server.url, nats_agent=(SESSION,)) as instance,
        open_nats_agents(instance, timing=QUICK) as agents,
    ):
        assert agents.error
        server.start()
        await wait_until(lambda: not agents.error, "the agents are registered")
    server.stop()


async def test_a_wrong_password_is_an_error_without_the_password(tmp_path: Any) -> None:
    server = NatsServer(tmp_path / "closed", config='authorization { user: "u", password: "p" }')
    server.start()
    url = server.url.replace("nats://", "nats://u:secret@")
    async with (
        open_instance(bus=url, nats_agent=(SESSION,)) as instance,
        open_nats_agents(instance, timing=QUICK) as agents,
    ):
        await wait_until(lambda: agents.error, accept=lambda error: "Authorization" in error)
        assert "secret" not in (agents.error or "")
    server.stop()


async def test_a_user_that_may_not_subscribe_is_a_problem_that_shows(tmp_path: Any) -> None:
    config = 'authorization { users: [{user: u, password: p, permissions: {subscribe: ["_INBOX.>"]}}] }'
    server = NatsServer(tmp_path / "closed", config=config)
    server.start()
    async with (
        open_instance(bus=server.url.replace("nats://", "nats://u:p@"), nats_agent=(SESSION,)) as instance,
        open_nats_agents(instance, timing=QUICK) as agents,
    ):
        await wait_until(lambda: agents.error, accept=lambda error: "ermissions" in error)
    server.stop()


async def test_options_that_do_not_fit_are_refused() -> None:
    for name, bus in (("main", ""), ("main", "postgresql://h/d"), ("a.b", "nats://h")):
        with pytest.raises(Invalid, match="--nats-agent"):
            async with open_instance(nats_agent=(name,), bus=bus):
                pass
