"""Two replicas on one database: what an owner uses and sends is counted for both together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon import Turn
from antiphon.chats.spending import FRESH_S
from antiphon.errors import BudgetExhausted, RateLimited
from antiphon.server.open_instance import EmbeddedInstance, open_instance
from support.waiting import wait_until

pytestmark = pytest.mark.anyio

PRICES = {"acme:big": {"input": 10, "output": 100}}
TOKENS, COST = 120, 100 * 10 + 20 * 100


async def metered(turn: Turn) -> AsyncIterator[str]:
    await turn.start_call(model="big", provider="acme")
    turn.add_usage(input_tokens=100, output_tokens=20)
    yield "answer"


@asynccontextmanager
async def replicas(url: str, **budgets: Any) -> AsyncIterator[tuple[EmbeddedInstance, EmbeddedInstance]]:
    async with (
        open_instance(agent=metered, store=url, drain_s=0.0, prices=PRICES, budgets=budgets) as first,
        open_instance(agent=metered, store=url, drain_s=0.0, prices=PRICES, budgets=budgets) as second,
    ):
        yield first, second


async def turns_of(instance: EmbeddedInstance) -> int:
    rows = await instance.spending.read(instance.owner_id, 0, 1 << 30, limit=100)
    assert all(row.usage.cost_micros == row.turns * COST for row in rows)
    return sum(row.turns for row in rows)


async def test_turns_of_both_replicas_at_once_are_counted_once_each(postgres_url: str) -> None:
    async with replicas(postgres_url, tokens_per_day=TOKENS * 24) as (first, second):
        await asyncio.gather(*(one.chats.create(content="hi") for one in (first, second) for _ in range(12)))
        await wait_until(lambda: turns_of(first), accept=lambda turns: turns == 24)
        assert await turns_of(second) == 24
        await asyncio.sleep(FRESH_S)  # as long as a sum may be cached
        for one in (first, second):
            with pytest.raises(BudgetExhausted) as refused:
                await one.chats.create(content="one more")
            assert refused.value.used == 24 * TOKENS


async def test_the_rate_limit_of_both_replicas_is_one(postgres_url: str) -> None:
    async with replicas(postgres_url, messages_per_minute=10) as (first, second):
        if time.time() % 60 > 50:
            await asyncio.sleep(60 - time.time() % 60)  # else the next minute may begin in between
        sends = [one.chats.create(content="hi") for one in (first, second) for _ in range(8)]
        results = await asyncio.gather(*sends, return_exceptions=True)
        refused = [result for result in results if isinstance(result, BaseException)]
        assert len(refused) == 6
        assert all(isinstance(result, RateLimited) for result in refused)
