"""An attempt from its start to its end: what an agent yields is what is committed, and how it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from antiphon import Agent, AgentError, Reasoning, ToolCall, Turn, Usage, tool
from antiphon.core import commands as c
from antiphon.core.facts import (
    AttemptLost,
    AttemptReleased,
    AttemptStarted,
    MessageAppended,
    RetryScheduled,
    TurnEnded,
)
from antiphon.core.model import Outcome, Status
from antiphon.core.parts import Role, Text, ToolResult
from antiphon.errors import Invalid, NotAllowedNow, NotFound, Unavailable
from antiphon.models.openai import OpenAIModel
from antiphon.ports import Append, Appended
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.model_server import FakeModelServer
from antiphon.testing.store import WrappedStore
from antiphon.worker.attempt import RETRY_AFTER_S_MAX
from antiphon.worker.draft_writer import ANSWER_BYTES_MAX
from antiphon.worker.tools import ToolContext
from support.waiting import wait_until

from .running import answered, answers_of, ask, facts_of, messages_of, results_of, running

pytestmark = pytest.mark.anyio

SECRET = "sk-canary-0123456789"


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


# --- what is yielded is what is committed


async def test_the_message_is_what_was_yielded_and_closes_the_draft() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "one "
        await asyncio.sleep(0)
        yield "zwölf 🎵"

    entries = await answered(agent)
    (answer,) = answers_of(entries)
    assert messages_of(entries)[-1] == (Role.ASSISTANT, (Text("one zwölf 🎵"),))
    started = next(entry.seq for entry in entries if isinstance(entry.fact, AttemptStarted))
    assert answer.closes is not None
    assert (answer.closes.draft, answer.closes.upto) == (started, len("one zwölf 🎵"))
    assert [fact.outcome for fact in facts_of(entries, TurnEnded)] == [Outcome.ANSWERED]


async def test_a_watcher_is_sent_exactly_the_text_that_is_committed() -> None:
    go_on = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await go_on.wait()
        for n in range(50):
            yield f"{n} "
            await asyncio.sleep(0)

    async with running(agent) as instance:
        talk = await ask(instance)
        watching = asyncio.create_task(talk.watch())
        await wait_until(lambda: len(instance.watch) == 1)
        go_on.set()
        frames = await watching
        deltas = [msgspec.json.decode(frame.data) for frame in frames if frame.type == "delta"]
        assert "".join(delta["part"]["text"] for delta in deltas) == (await talk.said())[0]
        assert all(later["from"] == earlier["to"] for earlier, later in pairwise(deltas))


async def test_several_pieces_in_one_turn_of_the_loop_become_few_deltas() -> None:
    go_on = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await go_on.wait()
        for n in range(300):
            yield f"{n} "

    async with running(agent) as instance:
        talk = await ask(instance)
        watching = asyncio.create_task(talk.watch())
        await wait_until(lambda: len(instance.watch) == 1)
        go_on.set()
        deltas = [frame for frame in await watching if frame.type == "delta"]
        assert 1 <= len(deltas) <= 300 / 64 + 2


async def test_reasoning_and_text_become_parts_in_their_order() -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield Reasoning("Let me ")
        yield Reasoning("see.")
        yield "Here "
        yield Text("it is.")
        yield Reasoning("Done?")

    entries = await answered(agent)
    assert messages_of(entries)[-1][1] == (Reasoning("Let me see."), Text("Here it is."), Reasoning("Done?"))


async def test_an_agent_gets_the_history_and_the_chats_settings() -> None:
    seen: list[Turn] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        seen.append(turn)
        yield "fine"

    async with running(agent, config={"key": "value"}, model="some:model") as instance:
        talk = await ask(instance, "how are you?", system="Be brief.")
        await talk.wait_ended()
        await talk.send("and now?")
        await wait_until(lambda: len(seen) == 2)
        turn = seen[1]
        assert (turn.chat_id, turn.system, turn.model) == (talk.chat_id, "Be brief.", "some:model")
        assert turn.config == {"key": "value"}
        said = [(message.role, message.content) for message in turn.messages[:3]]
        assert said == [
            (Role.USER, (Text("how are you?"),)),
            (Role.ASSISTANT, (Text("fine"),)),
            (Role.USER, (Text("and now?"),)),
        ]
        assert turn.turn_id == turn.messages[2].id


async def test_a_lone_surrogate_that_is_yielded_is_written_as_the_replacement_character() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "a\ud800b"

    assert messages_of(await answered(agent))[-1][1] == (Text("a�b"),)


@pytest.mark.parametrize("yields", [(), ("",), ("", "")], ids=["nothing", "an empty text", "empty texts"])
async def test_an_empty_answer_ends_the_turn_without_a_message(yields: tuple[str, ...]) -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        for text in yields:
            yield text

    entries = await answered(agent)
    assert answers_of(entries) == []
    assert [fact.outcome for fact in facts_of(entries, TurnEnded)] == [Outcome.ANSWERED]


async def test_a_plain_function_that_yields_nothing_ends_the_turn() -> None:
    def agent(turn: Turn) -> Any:
        return
        yield

    entries = await answered(agent)
    assert answers_of(entries) == []
    assert [fact.outcome for fact in facts_of(entries, TurnEnded)] == [Outcome.ANSWERED]


@pytest.mark.parametrize("agent", [object(), "no_colon", lambda turn: "text"], ids=["object", "name", "function"])
async def test_a_value_that_is_not_an_agent_is_refused_at_the_start(agent: Any) -> None:
    with pytest.raises(Invalid):
        async with running(agent):
            pass


# --- usage


async def test_an_agents_usage_counts_for_the_message_the_turn_and_the_chat() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        turn.add_usage(input_tokens=10, output_tokens=1)
        yield "text"
        turn.add_usage(output_tokens=2, reasoning_tokens=5)

    async with running(agent) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        expected = Usage(input_tokens=10, output_tokens=3, reasoning_tokens=5)
        (answer,), (ended,) = answers_of(await talk.entries()), await talk.facts(TurnEnded)
        assert (answer.usage, ended.usage, chat.usage) == (expected, expected, expected)


async def test_usage_without_a_text_counts_for_the_turn() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        turn.add_usage(input_tokens=7)
        return
        yield ""

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.usage == Usage(input_tokens=7)


async def test_a_models_usage_is_counted_once_for_each_call_and_summed_for_the_turn() -> None:
    entries = await answered(Agent(tools=[add]), '/say a\n/call add {"a": 1, "b": 2}\n/say b')
    first, second = answers_of(entries)
    assert first.usage.output_tokens == 1
    assert second.usage.output_tokens == 1
    (ended,) = facts_of(entries, TurnEnded)
    assert ended.usage == first.usage + second.usage


async def test_a_model_given_as_an_object_is_named_in_the_message() -> None:
    async with FakeModelServer() as server:
        model = OpenAIModel("test-model", api_key=SECRET, base_url=server.base_url)
        (answer,) = answers_of(await answered(Agent(model=model)))
        await model.aclose()
    assert answer.model == "test-model"
    assert answer.usage == Usage(input_tokens=10, output_tokens=8, total_tokens=18)


# --- failures


async def test_an_exception_fails_the_turn_without_its_text() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "partial"
        raise RuntimeError(f"no entry with {SECRET}")

    async with running(agent) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.status is Status.ERROR
        assert chat.last_error is not None
        assert (chat.last_error.kind, chat.last_error.retryable) == ("unknown", False)
        assert chat.last_error.message == "The agent failed (RuntimeError)."
        assert await talk.said() == ["partial"]
        assert all(SECRET.encode() not in frame.data for frame in await talk.watch())


@pytest.mark.parametrize("error", [NotFound(), NotAllowedNow("interrupting"), Invalid("x", "y"), KeyError("x")])
async def test_an_agents_own_error_is_never_treated_as_the_end_of_the_attempt(error: Exception) -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "partial"
        raise error

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED


@pytest.mark.parametrize("piece", [42, None, b"bytes", ToolCall("add")], ids=["number", "None", "bytes", "call"])
async def test_an_agent_that_yields_an_unsupported_value_fails_its_turn(piece: Any) -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield piece

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.error is not None
    assert ended.error.message.startswith("The agent yielded ")


async def test_an_agent_that_cancels_its_own_task_fails_its_turn() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "partial"
        inner = asyncio.create_task(asyncio.sleep(60))
        inner.cancel()
        await inner

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED


@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_an_agent_that_exits_fails_its_turn_only(is_async: bool) -> None:
    async def async_agent(turn: Turn) -> AsyncIterator[str]:
        yield "partial"
        raise SystemExit(3)

    def plain_agent(turn: Turn) -> Any:
        yield "partial"
        raise SystemExit(3)

    (ended,) = facts_of(await answered(async_agent if is_async else plain_agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED


async def test_a_model_that_does_not_exist_is_named_in_the_turns_error() -> None:
    async with running(Agent()) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        await instance.service.execute(talk.chat_id, c.SetModel(model="unknown:model"))  # as an older instance would
        await instance.chats.send(talk.chat_id, "again")
        chat = await talk.wait(lambda chat: chat.last_error)
        assert chat.last_error is not None
        assert chat.last_error.kind == "invalid_request"
        assert "unknown:model" in chat.last_error.message


async def test_a_retryable_error_is_recorded_with_its_try_and_delay_and_a_new_draft_begins() -> None:
    tries: list[int] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        tries.append(await turn.start_call(model="m", provider="p"))
        yield f"try {len(tries)}"
        if len(tries) < 3:
            raise AgentError("overloaded", "Busy.", provider="p", status_code=529, retry_after_s=0.25)

    entries = await answered(agent)
    assert tries == [1, 2, 3]
    retries = facts_of(entries, RetryScheduled)
    assert [(fact.tries, fact.delay_ms, fact.kind, fact.provider, fact.status_code) for fact in retries] == [
        (1, 250, "overloaded", "p", 529),
        (2, 250, "overloaded", "p", 529),
    ]
    for entry in entries:
        if isinstance(entry.fact, RetryScheduled):
            assert entry.fact.retrying_at == entry.recorded.at + 250_000
            assert entry.fact.error == "Busy."
    (answer,) = answers_of(entries)
    assert messages_of(entries)[-1][1] == (Text("try 3"),)
    last_retry = next(entry.seq for entry in reversed(entries) if isinstance(entry.fact, RetryScheduled))
    assert answer.closes is not None
    assert answer.closes.draft == last_retry
    assert len(facts_of(entries, AttemptStarted)) == 1


async def test_usage_of_tries_that_failed_is_recorded_with_each_and_counts_for_the_turn() -> None:
    count = 0

    async def agent(turn: Turn) -> AsyncIterator[str]:
        nonlocal count
        count += 1
        turn.add_usage(output_tokens=count)
        yield "x"
        if count < 3:
            raise AgentError("server", retry_after_s=0)

    entries = await answered(agent)
    (ended,) = facts_of(entries, TurnEnded)
    assert ended.usage == Usage(output_tokens=6)
    assert [retry.usage.output_tokens for retry in facts_of(entries, RetryScheduled)] == [1, 2]


async def test_a_long_delay_releases_the_chat_until_the_next_try_is_due() -> None:
    clock = FakeClock(tick_us=1)
    tries = 0

    async def agent(turn: Turn) -> AsyncIterator[str]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise AgentError("rate_limit", retry_after_s=30)
        yield "at last"

    async with running(agent, clock=clock) as instance:
        talk = await ask(instance)
        await talk.wait_kind("attempt_released")
        (retry,), (released,) = await talk.retries(), await talk.facts(AttemptReleased)
        assert (retry.tries, retry.delay_ms, released.calls_not_begun) == (1, 30_000, ())
        chat = await talk.chat()
        assert (chat.status, chat.attempt, chat.retrying_at) == (Status.RUNNING, 0, retry.retrying_at)
        await wait_until(lambda: len(instance.worker) == 0)
        clock.advance(29)
        with pytest.raises(NotAllowedNow):
            await instance.service.execute(talk.chat_id, c.StartAttempt(instance_id=instance.instance_id))
        assert await instance.store.claimable(limit=10) == ()
        clock.advance(2)
        await talk.wait_ended()
        assert await talk.said() == ["at last"]
        assert len(await talk.facts(AttemptStarted)) == 2


async def test_a_delay_is_never_longer_than_an_hour() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        raise AgentError("rate_limit", retry_after_s=1e9)
        yield ""

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_kind("retry_scheduled")
        assert [fact.delay_ms for fact in await talk.retries()] == [RETRY_AFTER_S_MAX * 1000]


async def test_after_the_last_try_the_turn_fails_and_a_users_retry_restarts_it() -> None:
    fails = True
    turns: list[tuple[int, int]] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        turns.append((turn.turn_id, turn.failures))
        yield f"try {turn.failures}" if fails else "fine now"
        if fails:
            raise AgentError("server", "It broke.", provider="p", retry_after_s=0)

    async with running(agent) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.status is Status.ERROR
        assert chat.last_error is not None
        assert (chat.last_error.message, chat.last_error.retryable) == ("It broke.", True)
        assert [fact.tries for fact in await talk.retries()] == [1, 2, 3, 4]
        assert await talk.said() == ["try 4"], "what the last try wrote is kept, and nothing of the others"
        fails = False
        await talk.change(c.Retry())
        chat = await talk.wait_status(Status.WAITING)
        assert await talk.said() == ["fine now"]
        assert chat.last_error is None
        assert {turn_id for turn_id, _ in turns} == {2}
        assert [failures for _, failures in turns] == [0, 1, 2, 3, 4, 5]


async def test_tries_are_counted_for_each_step() -> None:
    failed: set[int] = set()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        step = sum(message.role is Role.TOOL for message in turn.messages)
        if step not in failed:
            failed.add(step)
            raise AgentError("server", retry_after_s=0)
        if step < 2:
            await turn.call(ToolCall("add", {"a": step, "b": 1}))
            raise AgentError("server", retry_after_s=0)
        yield "done"

    entries = await answered(agent, tools=(add,))
    assert [fact.tries for fact in facts_of(entries, RetryScheduled)] == [1, 1, 2, 1, 2]
    assert facts_of(entries, TurnEnded)[0].outcome is Outcome.ANSWERED


async def test_an_answer_over_the_limit_fails_the_turn_and_closes_the_agent() -> None:
    is_closed = False

    async def agent(turn: Turn) -> AsyncIterator[str]:
        nonlocal is_closed
        try:
            yield "x" * ANSWER_BYTES_MAX
            yield "y"
            raise AssertionError("it continued")
        finally:
            is_closed = True

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED
    assert ended.error is not None
    assert f"{ANSWER_BYTES_MAX:,}" in ended.error.message
    assert is_closed


async def test_a_clean_up_that_does_not_end_delays_the_turn_only_briefly() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        try:
            yield "x" * (ANSWER_BYTES_MAX + 1)
        finally:
            await asyncio.sleep(3600)

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED


async def test_a_temporary_failure_of_the_store_loses_no_answer() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "kept"

    store = MomentaryTrouble(MemoryStore(clock=FakeClock(tick_us=1)))
    async with running(agent, store=store) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["kept"]
        assert await talk.endings() == [Outcome.ANSWERED]
        assert store.refused == 2


class MomentaryTrouble(WrappedStore):
    """Refuses the first two appends of an answer."""

    refused = 0

    async def append(self, append: Append) -> Appended:
        is_answer = any(
            isinstance(entry.fact, MessageAppended) and entry.fact.role is Role.ASSISTANT for entry in append.entries
        )
        if is_answer and self.refused < 2:
            self.refused += 1
            raise Unavailable("the disk is full")
        return await super().append(append)


async def test_reading_the_history_is_retried() -> None:
    go_on = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await go_on.wait()
        yield f"{len(turn.messages)} messages"

    store = NotReadable(MemoryStore(clock=FakeClock(tick_us=1)))
    async with running(agent, store=store) as instance:
        talk = await ask(instance)
        await talk.send("queued: its content lies where it waited")
        go_on.set()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED, Outcome.ANSWERED]
        assert await talk.said() == ["1 messages", "3 messages"]
        assert store.refused == 1


class NotReadable(WrappedStore):
    """Refuses the first read of contents."""

    refused = 0

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        if not self.refused:
            self.refused += 1
            raise Unavailable("the connection was lost")
        return await super().read_contents(chat_id, seqs)


async def test_writing_the_end_of_an_interrupted_turn_is_retried() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "partial"
        await asyncio.sleep(3600)

    store = NotStoppable(MemoryStore(clock=FakeClock(tick_us=1)))
    async with running(agent, store=store) as instance:
        talk = await ask(instance)
        await talk.wait_preview("partial")
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.INTERRUPTED]
        assert await talk.facts(AttemptLost) == []
        assert store.refused == 1


class NotStoppable(WrappedStore):
    """Refuses the first end of a turn."""

    refused = 0

    async def append(self, append: Append) -> Appended:
        if not self.refused and any(isinstance(entry.fact, TurnEnded) for entry in append.entries):
            self.refused += 1
            raise Unavailable("the connection was lost")
        return await super().append(append)


# --- the end of an agent


@pytest.mark.parametrize("how", ["answered", "failed", "retried", "interrupted", "released"])
async def test_a_generator_is_closed_on_every_kind_of_end(how: str) -> None:
    opened = closed = 0

    async def agent(turn: Turn) -> AsyncIterator[str]:
        nonlocal opened, closed
        opened += 1
        try:
            yield "text"
            if how == "failed":
                raise RuntimeError
            if how == "retried" and opened == 1:
                raise AgentError("server", retry_after_s=0)
            if how in ("interrupted", "released"):
                await asyncio.sleep(3600)
        finally:
            closed += 1

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("text") if how in ("interrupted", "released") else None
        if how == "interrupted":
            await talk.interrupt()
        elif how == "released":
            await instance.worker.drain(0)
        await wait_until(lambda: closed and not len(instance.worker))
    assert (opened, closed) == ((2, 2) if how == "retried" else (1, 1))


async def test_the_models_stream_is_closed_and_its_usage_counted_before_an_interrupted_turn_ends() -> None:
    model = FastModel()
    async with running(Agent(model=model)) as instance:
        talk = await ask(instance)
        await talk.wait_preview("word")
        await talk.interrupt()
        await talk.wait_ended()
        assert model.is_closed
        (ended,) = await talk.facts(TurnEnded)
        assert ended.usage == Usage(output_tokens=5)


class FastModel:
    """Never waits, so that its reader is never inside it when it is stopped."""

    provider = name = "fast"
    is_closed = False

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        try:
            yield Usage(output_tokens=5)
            while True:
                yield Text("word ")
        finally:
            self.is_closed = True

    async def aclose(self) -> None: ...


# --- calls


async def test_calls_in_concurrent_tasks_are_committed_one_after_another() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "Adding. "
        results = await asyncio.gather(*(turn.call(ToolCall("add", {"a": n, "b": 1})) for n in range(5)))
        yield " ".join(str(result.result) for result in results)

    entries = await answered(agent, tools=(add,))
    assert messages_of(entries)[-1][1] == (Text("1 2 3 4 5"),)
    assert [result.result for result in results_of(entries)] == [1, 2, 3, 4, 5]
    ids = [result.tool_call_id for result in results_of(entries)]
    assert len(set(ids)) == 5


async def test_a_call_that_an_agent_does_not_await_fails_its_turn_at_once() -> None:
    is_begun = asyncio.Event()

    @tool
    async def slow(context: ToolContext) -> None:
        is_begun.set()
        await asyncio.sleep(3600)

    async def agent(turn: Turn) -> AsyncIterator[str]:
        tasks.append(asyncio.create_task(turn.call(ToolCall("slow"))))
        await is_begun.wait()
        yield "I am done."

    tasks: list[asyncio.Task[Any]] = []
    async with running(agent, tools=(slow,)) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.status is Status.ERROR
        assert [result.result["error"] for result in await talk.results()] == ["cancelled"]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_an_agent_cannot_catch_the_end_of_its_attempt() -> None:
    """Where the attempt ends beneath a call, nothing that the agent does then is shown or kept."""
    caught: list[BaseException] = []

    @tool(needs_approval=True)
    async def dangerous() -> None: ...

    async def agent(turn: Turn) -> AsyncIterator[str]:
        try:
            await turn.call(ToolCall("dangerous"))
        except Exception as error:
            caught.append(error)
            yield "never mind"

    async with running(agent, tools=(dangerous,)) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        await wait_until(lambda: not len(instance.worker))
        assert caught == []
        assert all(b"never mind" not in frame.data for frame in await talk.watch())


async def test_a_failed_tool_is_a_result_and_not_an_exception() -> None:
    seen: list[Any] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        seen.append(await turn.call(ToolCall("nothing")))
        yield "fine"

    await answered(agent)
    (result,) = seen
    assert isinstance(result, ToolResult)
    assert result.is_error


async def test_an_empty_list_of_calls_commits_nothing() -> None:
    seen: list[Any] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "before "
        seen.append(await turn.call())
        yield "after"

    entries = await answered(agent)
    assert seen == [()]
    assert [text for _, text in messages_of(entries)][1:] in (
        [(Text("before "),), (Text("after"),)],
        [(Text("before after"),)],
    )
