"""Messages that come while a turn runs: steering joins it, what waits becomes the next turns, in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from antiphon import Agent, ToolCall, Turn, tool
from antiphon.core import commands as c
from antiphon.core.facts import MessageAppended, MessageQueued, TurnEnded
from antiphon.core.model import Outcome, Status, WhenBusy
from antiphon.core.parts import Role, text_of
from antiphon.errors import Busy
from antiphon.ports import Message
from antiphon.worker.blocking_turn import BlockingTurn
from support.waiting import wait_until

from .agents import Steps
from .running import ask, running

pytestmark = pytest.mark.anyio


def words(messages: Any) -> list[str]:
    return [text_of(message.content) for message in messages]


USER, ASSISTANT, TOOL = Role.USER, Role.ASSISTANT, Role.TOOL


# --- the built-in agent


async def test_steering_joins_after_the_last_result_and_before_the_next_model_call() -> None:
    results = asyncio.Semaphore(0)

    @tool
    async def work() -> None:
        await results.acquire()

    model = Steps(("work", "work"), "done")
    async with running(Agent(model=model, tools=[work])) as instance:
        talk = await ask(instance, "begin")
        await model.asked(1)
        model.go_on.release()
        await talk.wait(lambda chat: len(chat.calls) == 2)
        await talk.steer("rather so")
        results.release()
        await talk.wait(lambda chat: len(chat.calls) == 1)
        assert (await talk.chat()).steering
        results.release()
        shown = await model.asked(2)
        assert shown == [(USER, "begin"), (ASSISTANT, ""), (TOOL, ""), (TOOL, ""), (USER, "rather so")]
        model.go_on.release()
        await talk.wait_ended()
        turns = {fact.turn_id for fact in await talk.facts(MessageAppended)}
        assert turns == {2}
        assert await talk.endings() == [Outcome.ANSWERED]


async def test_steering_during_the_last_answer_continues_the_turn() -> None:
    model = Steps("first answer", "second answer")
    async with running(Agent(model=model)) as instance:
        talk = await ask(instance, "begin")
        await model.asked(1)
        await talk.steer("one more thing")
        await talk.steer("and another")
        model.go_on.release()
        assert await model.asked(2) == [
            (USER, "begin"),
            (ASSISTANT, "first answer"),
            (USER, "one more thing"),
            (USER, "and another"),
        ]
        model.go_on.release()
        await talk.wait_ended()
        assert await talk.said() == ["first answer", "second answer"]
        assert await talk.endings() == [Outcome.ANSWERED]
        assert {fact.turn_id for fact in await talk.facts(MessageAppended)} == {2}


async def test_steering_joins_after_an_empty_answer() -> None:
    model = Steps("", "now with words")
    async with running(Agent(model=model)) as instance:
        talk = await ask(instance, "begin")
        await model.asked(1)
        await talk.steer("say something")
        model.go_on.release()
        assert await model.asked(2) == [(USER, "begin"), (USER, "say something")]
        model.go_on.release()
        await talk.wait_ended()
        assert await talk.said() == ["now with words"]


async def test_steering_keeps_the_turns_model_and_names_its_author() -> None:
    model = Steps("a", "b")
    async with running(Agent(model=model)) as instance:
        talk = await ask(instance, "begin")
        await model.asked(1)
        queued_id = await talk.steer("and?")
        model.go_on.release()
        model.go_on.release()
        await talk.wait_ended()
        joined = next(fact for fact in await talk.facts(MessageAppended) if fact.queued_id == queued_id)
        assert (joined.turn_id, joined.created_by) == (2, instance.owner_id)


async def test_steering_of_an_idle_chat_is_a_message_like_any_other() -> None:
    model = Steps("a", "b")
    async with running(Agent(model=model)) as instance:
        talk = await ask(instance, "begin")
        model.go_on.release()
        await talk.wait_ended()
        await talk.steer("hello again")
        assert await talk.facts(MessageQueued) == []
        model.go_on.release()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED] * 2


async def test_steering_during_a_required_action_joins_after_it() -> None:
    @tool(needs_approval=True)
    async def dangerous() -> str:
        return "boom"

    model = Steps(("dangerous",), "done")
    async with running(Agent(model=model, tools=[dangerous])) as instance:
        talk = await ask(instance, "begin")
        model.go_on.release()
        await talk.wait_status(Status.REQUIRES_ACTION)
        await talk.steer("be careful")
        chat = await talk.chat()
        await talk.change(c.Approve(tool_call_id=chat.calls[0].tool_call_id))
        assert await model.asked(2) == [(USER, "begin"), (ASSISTANT, ""), (TOOL, ""), (USER, "be careful")]
        model.go_on.release()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]


# --- agent functions


async def test_a_function_agent_takes_steering_at_any_point() -> None:
    go_on = asyncio.Event()
    taken: list[tuple[Message, ...]] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        taken.append(await turn.take_steering())
        yield "before "
        await go_on.wait()
        taken.append(await turn.take_steering())
        assert words(turn.messages) == ["begin", "before ", "one", "two"]
        yield "after"

    async with running(agent) as instance:
        talk = await ask(instance, "begin")
        await talk.wait_preview("before")
        await talk.steer("one")
        await talk.steer("two")
        go_on.set()
        await talk.wait_ended()
        assert [words(messages) for messages in taken] == [[], ["one", "two"]]
        assert await talk.said() == ["before ", "after"]
        assert await talk.endings() == [Outcome.ANSWERED]


async def test_a_plain_agent_takes_steering() -> None:
    seen: list[list[str]] = []

    def agent(turn: BlockingTurn) -> Iterator[str]:
        yield "before "
        while not (messages := turn.take_steering()):
            threading.Event().wait(0.001)
        seen.append(words(messages))
        yield "after"

    async with running(agent) as instance:
        talk = await ask(instance, "begin")
        await wait_until(talk.said)
        await talk.steer("one")
        await talk.wait_ended()
        assert seen == [["one"]]
        assert await talk.said() == ["before ", "after"]


async def test_steering_that_the_agent_did_not_take_runs_it_again_in_the_same_turn() -> None:
    go_on = asyncio.Event()
    seen: list[list[str]] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        seen.append(words(turn.messages))
        yield f"answer {len(seen)}"
        await go_on.wait()

    async with running(agent) as instance:
        talk = await ask(instance, "begin")
        await talk.wait_preview("answer 1")
        await talk.steer("wait")
        go_on.set()
        await talk.wait_ended()
        assert seen == [["begin"], ["begin", "answer 1", "wait"]]
        (ended,) = await talk.facts(TurnEnded)
        assert ended.turn_id == 2


# --- what waits


async def answers_last_words(turn: Turn) -> AsyncIterator[str]:
    """Says after how many messages of people it speaks, and their last words; stalls where asked to."""
    said = words(message for message in turn.messages if message.role is Role.USER)
    yield f"{len(said)}: {said[-1]}"
    if said[-1] == "stall":
        await asyncio.sleep(3600)


async def test_steering_that_missed_its_turn_becomes_the_next_turn_before_the_queue() -> None:
    async with running(answers_last_words) as instance:
        talk = await ask(instance, "stall")
        await talk.wait_preview("1: stall")
        await talk.send("queued")
        await talk.steer("steering one")
        await talk.steer("steering two")
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.said() == ["1: stall", "3: steering two", "4: queued"]
        assert await talk.endings() == [Outcome.INTERRUPTED, Outcome.ANSWERED, Outcome.ANSWERED]
        turns = [fact.turn_id for fact in await talk.facts(MessageAppended) if fact.role is Role.USER]
        assert turns[1] == turns[2] != turns[3]


async def test_queued_messages_become_turns_one_after_another() -> None:
    async with running(answers_last_words) as instance:
        talk = await ask(instance, "stall")
        await talk.wait_preview("1: stall")
        for n in range(20):
            await talk.send(f"message {n}")
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.said() == ["1: stall", *(f"{n + 2}: message {n}" for n in range(20))]
        turns = [fact.turn_id for fact in await talk.facts(MessageAppended) if fact.role is Role.USER]
        assert turns == sorted(set(turns))


async def test_each_turn_of_the_queue_is_shown_and_flushed_while_it_is_written() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def agent(turn: Turn) -> AsyncIterator[str]:
        n = sum(message.role is Role.USER for message in turn.messages) - 1
        yield f"answer {n}"
        await gates[n].wait()

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("answer 0")
        await talk.send("two")
        await talk.send("three")
        for n, gate in enumerate(gates):
            await talk.wait_preview(f"answer {n}")
            draft = (await talk.chat()).draft
            await wait_until(lambda draft=draft: instance.store.read_flushed(talk.chat_id, draft))
            gate.set()
        await talk.wait_ended()
        assert await talk.said() == ["answer 0", "answer 1", "answer 2"]


async def test_promoted_messages_precede_the_others_in_the_order_of_their_promotion() -> None:
    async with running(answers_last_words) as instance:
        talk = await ask(instance, "stall")
        await talk.wait_preview("1: stall")
        ids = [await talk.send(f"message {n}") for n in range(4)]
        await talk.change(c.MoveQueued(queued_id=ids[3], before=ids[0]))
        await talk.change(c.PromoteQueued(queued_id=ids[2]), c.PromoteQueued(queued_id=ids[1]))
        await talk.wait_ended()
        said = [text.partition(": ")[2] for text in await talk.said()]
        assert said == ["stall", "message 2", "message 1", "message 3", "message 0"]


async def test_edits_and_deletions_of_queued_messages_take_effect() -> None:
    async with running(answers_last_words) as instance:
        talk = await ask(instance, "stall")
        await talk.wait_preview("1: stall")
        ids = [await talk.send(f"message {n}") for n in range(3)]
        await talk.change(
            c.EditQueued(queued_id=ids[0], content=b'[{"type":"text","text":"edited"}]'),
            c.DeleteQueued(queued_id=ids[1]),
        )
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.said() == ["1: stall", "2: edited", "3: message 2"]


async def test_after_a_failed_turn_the_queue_waits_for_the_user() -> None:
    fails = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        said = words(message for message in turn.messages if message.role is Role.USER)
        yield said[-1]
        if said[-1] == "begin":
            await fails.wait()
            raise RuntimeError

    async with running(agent) as instance:
        talk = await ask(instance, "begin")
        await talk.wait_preview("begin")
        await talk.send("one")
        await talk.send("two")
        fails.set()
        chat = await talk.wait_ended()
        assert (chat.status, chat.queue_length) == (Status.ERROR, 2)
        await talk.send("three")
        await talk.wait_status(Status.WAITING)
        assert await talk.said() == ["begin", "one", "two", "three"]


async def test_a_message_to_a_busy_chat_may_be_refused() -> None:
    async with running(answers_last_words) as instance:
        talk = await ask(instance, "stall")
        await talk.wait_preview("1: stall")
        with pytest.raises(Busy):
            await talk.send("now or never", WhenBusy.REJECT)
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.said() == ["1: stall"]


async def test_messages_sent_during_turns_are_neither_lost_nor_reordered() -> None:
    """Messages of every kind, sent at every moment of short turns: each is in history once, each kind in order."""

    async def agent(turn: Turn) -> AsyncIterator[str]:
        for n in range(3):
            yield f"{n} "
            await asyncio.sleep(0)
        await turn.call(ToolCall("nothing"))
        yield "done"

    async with running(agent) as instance:
        talk = await ask(instance, "begin")
        sent: dict[WhenBusy, list[str]] = {WhenBusy.QUEUE: [], WhenBusy.STEER: []}
        for n in range(60):
            when_busy = WhenBusy.STEER if n % 3 == 0 else WhenBusy.QUEUE
            await talk.send(f"message {n}", when_busy)
            sent[when_busy].append(f"message {n}")
            for _ in range(n % 7):
                await asyncio.sleep(0)
        await talk.wait_ended()
        in_history = [text_of(content) for role, content in await talk.history() if role is USER]
        for texts in sent.values():
            assert [text for text in in_history if text in texts] == texts
        assert len(in_history) == 61
        assert set(await talk.endings()) == {Outcome.ANSWERED}
