"""Configuration that is changed at one replica is used by the next model call of every other one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from antiphon.testing.model_server import Answer, FakeModelServer

from .fleet import ReplicaFleet
from .test_fleet import DEADLINE_S, follow

pytestmark = pytest.mark.anyio


async def shown(fleet: ReplicaFleet, path: str, name: str, wanted: Any) -> None:
    """Wait until every member shows it."""
    async with asyncio.timeout(DEADLINE_S):
        for member in fleet.members:
            while (await member.ask("GET", path, token=fleet.token))[1][name] != wanted:
                await asyncio.sleep(0.05)


async def holders(fleet: ReplicaFleet, server: FakeModelServer, count: int) -> set[str]:
    """Who answers so many chats that are opened at once; the model server has seen them all."""
    found = set()
    calls = len(server.requests) + count
    for _ in range(count):
        status, chat = await fleet.ask("POST", "/chats", {"content": "hello"})
        assert status == 201
        follower = await follow(fleet.members[0], chat["id"], fleet.token)
        found.add((await follower.until("attempt_started")).data["instance_id"])
    async with asyncio.timeout(DEADLINE_S):
        while len(server.requests) < calls:
            await asyncio.sleep(0.01)
    return found


@pytest.mark.slow  # tests/worker/test_configured_models.py has two instances on one store
async def test_a_change_at_one_is_used_by_the_next_call_of_every_other(tmp_path: Path, postgres_url: str) -> None:
    options = ("--allow-outbound", "127.0.0.1", "--drain-s", "0")
    fleet = ReplicaFleet(tmp_path / "fleet", store=postgres_url, size=2, options=options, ACME_KEY="sk-canary")
    async with FakeModelServer(default=lambda request: Answer(tokens_per_s=2)) as server:
        await fleet.start()
        try:
            first, second = fleet.members
            place = {"name": "acme", "kind": "openai", "base_url": server.base_url, "secret": "env:ACME_KEY"}
            assert (await first.ask("POST", "/providers", place, token=fleet.token))[0] == 201
            usual = {"name": "usual", "model": "acme:a", "parameters": {"seed": 1}, "is_default": True}
            _, config = await second.ask("POST", "/model-configs", usual, token=fleet.token)
            await shown(fleet, "/model-configs", "model_configs", [config])
            assert len(await holders(fleet, server, 6)) == 2
            assert {seen.body["seed"] for seen in server.requests} == {1}
            seen_before = len(server.requests)
            path = f"/model-configs/{config['id']}"
            _, changed = await first.ask("PATCH", path, {"parameters": {"seed": 2}}, token=fleet.token)
            await first.ask("PUT", "/me/prompt", {"prompt": "Be brief."}, token=fleet.token)
            await shown(fleet, "/model-configs", "model_configs", [changed])
            await shown(fleet, "/me/prompt", "prompt", "Be brief.")
            assert len(await holders(fleet, server, 6)) == 2
            later = server.requests[seen_before:]
            assert {seen.body["seed"] for seen in later} == {2}
            assert {seen.body["messages"][0]["content"] for seen in later} == {"Be brief."}
            assert {seen.headers["authorization"] for seen in server.requests} == {"Bearer sk-canary"}
        finally:
            await fleet.close_streams()
            await fleet.kill()
