"""What turns use is counted for their owner, by model and day: once, whatever happens to the turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest

from antiphon import AgentError, ToolCall, Turn, tool
from antiphon.core import commands as c
from antiphon.core.facts import TurnEnded
from antiphon.core.model import Outcome, Status
from antiphon.errors import BudgetExhausted, Invalid, RateLimited
from antiphon.ports import DayUsage
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.model_server import Answer, FakeModelServer
from antiphon.testing.store import UncertainStore
from support.waiting import wait_until

from .running import Talk, ask, metric, running
from .stores import Gated

pytestmark = pytest.mark.anyio

PRICES = {"acme:big": {"input": 10, "output": 100}, "openai:gpt": {"input": 1, "output": 2}}
CALL_COST = 100 * 10 + 20 * 100


async def call(turn: Turn, model: str = "big") -> None:
    await turn.start_call(model=model, provider="acme")
    turn.add_usage(input_tokens=100, output_tokens=20)


async def metered(turn: Turn) -> AsyncIterator[str]:
    await call(turn)
    yield "answer"


async def usage_of(instance: Instance, owner_id: str = "") -> tuple[DayUsage, ...]:
    return await instance.spending.read(owner_id or instance.owner_id, 0, 1 << 30, limit=100)


@tool
def work() -> str:
    """Work."""
    return "done"


# --- what is counted


async def test_a_turn_has_its_cost_and_so_have_its_chat_and_its_owner() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        await call(turn)
        await turn.call(ToolCall("work"))
        await call(turn, "small")
        yield "answer"

    async with running(agent, prices=PRICES, tools=[work]) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        (ended,) = await talk.facts(TurnEnded)
        assert (ended.usage.tokens, ended.usage.cost_micros, ended.usage.unpriced_tokens) == (240, CALL_COST, 120)
        assert (chat.usage, chat.turn_used) == (ended.usage, ())
        big, small = await usage_of(instance)
        assert (big.model, big.calls, big.turns, big.usage.cost_micros) == ("acme:big", 1, 1, CALL_COST)
        assert (small.model, small.calls, small.turns, small.usage.cost_micros) == ("acme:small", 1, 0, None)


async def test_failed_and_retried_calls_are_counted() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        await call(turn)
        raise AgentError("server", "down", retryable=turn.failures < 1)
        yield ""

    async with running(agent, prices=PRICES) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.FAILED]
        (row,) = await usage_of(instance)
        assert (row.calls, row.turns, row.usage.cost_micros) == (2, 1, 2 * CALL_COST)


async def test_an_interrupt_during_a_commit_does_not_count_the_usage_twice() -> None:
    """Both are written in one append, so the attempt is stopped before it knows that its commit was written."""
    store = Gated(MemoryStore(clock=FakeClock(tick_us=1)))
    goes_on = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await call(turn)
        yield "words"
        await goes_on.wait()
        await turn.call(ToolCall("work"))

    async with running(agent, prices=PRICES, tools=[work], store=store) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        queue = instance.service._queues.get(talk.chat_id)
        store.is_open.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk.change(c.Rename(title="delays the others")))
            await asyncio.sleep(0)
            goes_on.set()
            await wait_until(lambda: len(queue.jobs) == 1)
            tasks.create_task(talk.interrupt())
            await wait_until(lambda: len(queue.jobs) == 2)
            store.is_open.set()
        await talk.wait_ended()
        (ended,) = await talk.facts(TurnEnded)
        assert (ended.outcome, ended.usage.cost_micros) == (Outcome.INTERRUPTED, CALL_COST)
        (row,) = await usage_of(instance)
        assert row.usage.cost_micros == CALL_COST


async def test_the_usage_of_an_attempt_that_loses_its_turn_is_counted() -> None:
    """An edit replaces the turn while its model call is under way."""

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await call(turn)
        if turn.text == "hello":
            await asyncio.sleep(3600)
        yield "answer"

    async with running(agent, prices=PRICES) as instance:
        talk = await ask(instance)
        await wait_until(lambda: _has_called(instance))
        await instance.chats.edit(talk.chat_id, 2, "better")
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.REPLACED, Outcome.ANSWERED]

        async def counted() -> bool:
            return sum(row.calls for row in await usage_of(instance)) == 2

        await wait_until(counted)
        (row,) = await usage_of(instance)
        assert row.usage.cost_micros == 2 * CALL_COST


def _has_called(instance: Instance) -> bool:
    return any(attempt._held.usage.total.tokens for attempt in instance.worker._attempts.values())


async def test_appends_with_an_unknown_outcome_are_counted_once() -> None:
    store = UncertainStore(MemoryStore(clock=FakeClock(tick_us=1)), Random(5), lost_after=0.3, lost_before=0.2)
    async with running(metered, prices=PRICES, store=store) as instance:
        talks = [await ask(instance) for _ in range(8)]
        for talk in talks:
            await talk.wait_ended()
        assert store.committed_unknown > 2
        (row,) = await usage_of(instance)
        assert (row.calls, row.turns, row.usage.cost_micros) == (8, 8, 8 * CALL_COST)


async def test_titles_are_counted_with_their_chat_and_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text="Tea"))
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        async with running(metered, prices=PRICES, title_model="openai:gpt") as instance:
            talk = await ask(instance)
            chat = await talk.wait(lambda chat: chat.title == "Tea")
            big, gpt = await usage_of(instance)
            assert (big.model, gpt.model, gpt.calls, gpt.turns) == ("acme:big", "openai:gpt", 1, 0)
            assert gpt.usage.cost_micros == 10 + 2 * (gpt.usage.output_tokens or 0)
            assert chat.usage.cost_micros == CALL_COST + gpt.usage.cost_micros


async def test_the_model_of_a_configured_provider_has_its_full_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text="hi"))
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        async with running(prices=PRICES, model="openai:gpt") as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            (row,) = await usage_of(instance)
            assert row.model == "openai:gpt"
            assert row.usage.cost_micros == 10 + 2 * (row.usage.output_tokens or 0)


async def test_a_deleted_chat_leaves_its_usage() -> None:
    async with running(metered, prices=PRICES) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        await instance.chats.delete(talk.chat_id)
        (row,) = await usage_of(instance)
        assert row.usage.cost_micros == CALL_COST


async def test_the_currency_of_a_store_does_not_change() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    async with running(metered, prices={**PRICES, "currency": "EUR"}, store=store) as instance:
        assert await instance.spending.currency() == "EUR"
    store._is_closed = False
    with pytest.raises(Invalid, match="EUR, not USD"):
        async with running(metered, prices=PRICES, store=store):
            pass


# --- budgets


async def test_a_message_beyond_the_budget_of_the_day_is_refused_until_the_next_day() -> None:
    clock = FakeClock(tick_us=1)
    async with running(metered, prices=PRICES, budgets={"tokens_per_day": 240}, clock=clock) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        await talk.send("again")
        await talk.wait_ended()
        refused_before = metric("limited", limit="tokens_per_day")
        with pytest.raises(BudgetExhausted) as refused:
            await talk.send("once more")
        error = refused.value
        assert (error.limit_name, error.limit, error.used) == ("tokens_per_day", 240, 240)
        assert "240 of 240 tokens" in str(error)
        assert error.resets_at in str(error)
        for send in (
            instance.chats.create(content="another chat"),
            instance.chats.edit(talk.chat_id, 2, "other words"),
            instance.chats.retry(talk.chat_id),
        ):
            with pytest.raises(BudgetExhausted):
                await send
        assert metric("limited", limit="tokens_per_day") == refused_before + 4
        await instance.chats.create(title="without a message")
        other = await instance.owner_id_of("other")
        await instance.chats_of(other).create(content="of another owner")
        clock.advance(error.retry_after_ms / 1000)
        await talk.send("tomorrow")


async def test_a_budget_of_money_counts_what_has_a_price() -> None:
    async with running(metered, prices=PRICES, budgets={"cost_per_day": "0.003"}) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        with pytest.raises(BudgetExhausted, match=r"0\.003 of 0\.003 USD"):
            await talk.send("again")


async def test_a_repeated_send_gets_its_receipt_beyond_the_budget() -> None:
    async with running(metered, budgets={"tokens_per_day": 1, "messages_per_minute": 1}) as instance:
        chat_id = instance.ids.uuid()
        await instance.chats.create(chat_id=chat_id)
        first = await instance.chats.send(chat_id, "hello", client_message_id="a")
        await Talk(instance, chat_id).wait_ended()
        repeat = await instance.chats.send(chat_id, "hello", client_message_id="a")
        assert (repeat.is_repeat, repeat.entries[0].seq) == (True, first.entries[0].seq)
        with pytest.raises(BudgetExhausted):
            await instance.chats.send(chat_id, "hello", client_message_id="b")


async def test_a_running_turn_fails_before_its_next_model_call() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        await call(turn)
        await turn.call(ToolCall("work"))
        await call(turn)
        yield "never"

    async with running(agent, budgets={"tokens_per_day": 100}, tools=[work]) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.status is Status.ERROR
        assert chat.last_error is not None
        assert (chat.last_error.kind, chat.last_error.retryable) == ("budget_exhausted", False)
        assert "120 of 100 tokens" in chat.last_error.message
        assert await talk.retries() == []
        (row,) = await usage_of(instance)
        assert (row.calls, row.usage.tokens) == (1, 120)


STEPS: dict[str, tuple[Callable[[Turn], Awaitable[Any]], int]] = {
    # name: (what the agent does after it has used the budget, the number of stored calls)
    "call": (lambda turn: turn.call(ToolCall("work")), 0),
    "ask": (lambda turn: turn.ask("Go on?"), 0),
    "spawn": (lambda turn: turn.spawn("Go on."), 0),
    "record": (lambda turn: turn.record(ToolCall("work"), "done"), 1),
}


@pytest.mark.parametrize("step", STEPS)
async def test_an_agent_that_starts_no_calls_fails_at_its_next_tool_call(step: str) -> None:
    go_on, stored = STEPS[step]

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "words"
        turn.add_usage(input_tokens=100, output_tokens=20)
        await go_on(turn)
        yield "never"

    async with running(agent, budgets={"tokens_per_day": 100}, tools=[work]) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert (chat.last_error.kind, chat.last_error.retryable) == ("budget_exhausted", False)
        assert "120 of 100 tokens" in chat.last_error.message
        assert await talk.said() == ["words"]
        assert len(await talk.results()) == stored


async def test_a_queued_message_that_was_accepted_fails_in_words() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        await call(turn)
        yield "words"
        if turn.text == "hello":
            await turn.wait_interrupted()

    async with running(agent, budgets={"tokens_per_day": 200}) as instance:
        talk, other = await ask(instance), await ask(instance, "other")
        await other.wait_ended()
        await talk.wait_preview("words")
        with pytest.raises(BudgetExhausted):  # also by turns that are in progress
            await talk.send("later")
    async with running(agent, budgets={"tokens_per_day": 100}) as instance:
        talk = Talk(instance, (await instance.chats.create(content="hello")).chat_id)
        await instance.chats.send(talk.chat_id, "later")
        await talk.wait_preview("words")
        await talk.interrupt()
        chat = await talk.wait(lambda chat: chat.status is Status.ERROR)
        assert chat.last_error is not None
        assert chat.last_error.kind == "budget_exhausted"
        assert await talk.endings() == [Outcome.INTERRUPTED, Outcome.FAILED]


async def test_nothing_is_read_or_refused_without_budgets() -> None:
    async with running(metered) as instance:
        assert await instance.spending.budgets_of(instance.owner_id) == ()
        await instance.spending.check(instance.owner_id)


# --- rates


async def test_messages_beyond_the_rate_of_a_minute_are_refused_until_the_next_one() -> None:
    clock = FakeClock(tick_us=1)
    async with running(metered, budgets={"messages_per_minute": 3}, clock=clock) as instance:
        before = metric("limited", limit="messages_per_minute")
        results = await asyncio.gather(
            *(instance.chats.create(content="hi") for _ in range(5)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, RateLimited)]
        assert len(refused) == 2
        assert (refused[0].limit_name, refused[0].limit, refused[0].used) == ("messages_per_minute", 3, 3)
        assert 0 < refused[0].retry_after_ms <= 60_000
        assert metric("limited", limit="messages_per_minute") == before + 2
        clock.advance(refused[0].retry_after_ms / 1000 + 0.001)
        await instance.chats.create(content="hi")


async def test_of_messages_to_one_chat_at_once_the_first_ones_are_accepted() -> None:
    async with running(metered, budgets={"turns_per_minute": 2}) as instance:
        chat_id = (await instance.chats.create(title="a chat")).chat_id
        sends = [instance.chats.send(chat_id, f"message {number}") for number in range(4)]
        results = await asyncio.gather(*sends, return_exceptions=True)
        assert [isinstance(result, RateLimited) for result in results] == [False, False, True, True]
        await Talk(instance, chat_id).wait_ended()
