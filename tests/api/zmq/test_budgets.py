"""A peer's message beyond a budget or a rate limit is refused with the error's code in `data`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon import Turn
from support.waiting import wait_until

from .peers import Peer, open_endpoint

pytestmark = pytest.mark.anyio

REFUSED = -32000


async def metered(turn: Turn) -> AsyncIterator[str]:
    turn.add_usage(input_tokens=100, output_tokens=20)
    yield "answer"


async def test_a_message_beyond_the_budget_is_refused(tmp_path: Path) -> None:
    async with (
        open_endpoint(tmp_path / "data", agent=metered, budgets={"tokens_per_day": 100}) as (instance, endpoint),
        Peer(endpoint) as peer,
    ):
        session_id = (await peer.ask("session.create", {"title": "t"}))["id"]
        await peer.ask("antiphon.command", {"session_id": session_id, "command": "send_message", "content": "hi"})
        await wait_until(lambda: instance.spending.read(instance.owner_id, 0, 1 << 30, limit=1))
        command = {"session_id": session_id, "command": "send_message", "content": "again"}
        error = (await peer.call("antiphon.command", command))["error"]
        assert (error["code"], error["data"]["code"]) == (REFUSED, "budget_exhausted")
        assert "120 of 100 tokens" in error["message"]
        assert error["data"]["retry_after_ms"] > 0
        usage = await peer.ask("antiphon.request", {"method": "GET", "path": "/api/v1/usage", "query": {}})
        assert "120" in str(usage)


async def test_a_message_beyond_the_rate_is_refused(tmp_path: Path) -> None:
    async with (
        open_endpoint(tmp_path / "data", agent=metered, budgets={"turns_per_minute": 1}) as (_, endpoint),
        Peer(endpoint) as peer,
    ):
        session_id = (await peer.ask("session.create", {"title": "t"}))["id"]
        command = {"session_id": session_id, "command": "send_message", "content": "hi"}
        answers = [await peer.call("antiphon.command", command) for _ in range(3)]
        (code,) = {answer["error"]["data"]["code"] for answer in answers if "error" in answer}
        assert code == "rate_limited"
