"""Plain `def` agents: generators in threads of their own, with a turn whose calls block."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from antiphon import AgentError, Reasoning, ToolCall, ToolContext, Turn, Usage, tool
from antiphon.core.facts import RetryScheduled, TurnEnded
from antiphon.core.model import Outcome, Status
from antiphon.core.parts import CallStarted, Text
from antiphon.worker.agent import QUEUED_PIECES_MAX
from antiphon.worker.blocking_turn import BlockingTurn
from antiphon.worker.thread import run_in_thread
from support.waiting import wait_until

from .running import answered, answers_of, ask, facts_of, messages_of, metric, results_of, running

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def threads(*prefixes: str) -> list[str]:
    """Those of agents and tools, unless others are named."""
    wanted = prefixes or ("antiphon-agent", "antiphon-tool")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(wanted)]


# --- agents


async def test_the_pieces_of_a_plain_agent_are_committed() -> None:
    def agent(turn: BlockingTurn) -> Iterator[Any]:
        yield Reasoning("Hm.")
        for n in range(500):
            yield f"{n} "

    content = messages_of(await answered(agent))[-1][1]
    assert content == (Reasoning("Hm."), Text("".join(f"{n} " for n in range(500))))


async def test_a_plain_agent_runs_in_a_daemon_thread_of_its_own() -> None:
    seen: list[threading.Thread] = []

    def agent(turn: BlockingTurn) -> Iterator[str]:
        seen.append(threading.current_thread())
        yield "text"

    await answered(agent)
    (thread,) = seen
    assert thread is not threading.main_thread()
    assert thread.daemon
    await wait_until(lambda: not thread.is_alive())


async def test_a_plain_agent_gets_its_turn() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        yield f"{turn.turn_id} {turn.system} {turn.model} {len(turn.messages)} {turn.config['key']}"

    async with running(agent, config={"key": "value"}) as instance:
        talk = await ask(instance, system="Be brief.")
        await talk.wait_ended()
        assert await talk.said() == ["2 Be brief. rehearsal 1 value"]


async def test_calls_block_and_return_their_results_in_order() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        total = turn.call(ToolCall("add", {"a": 1, "b": 2})).result
        product, sum_ = turn.call(ToolCall("multiply", {"a": total, "b": 5}), ToolCall("add", {"a": total, "b": 5}))
        yield f"{total} {product.result} {sum_.result} {len(turn.messages)}"

    entries = await answered(agent, tools=(add, multiply))
    assert messages_of(entries)[-1][1] == (Text("3 15 8 6"),)
    assert [result.result for result in results_of(entries)] == [3, 15, 8]


async def test_model_calls_and_usage_are_reported() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        assert turn.start_call(model="m", provider="p") == 1
        turn.add_usage(input_tokens=1)
        yield "text"
        turn.add_usage(output_tokens=2)

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.usage == Usage(input_tokens=1, output_tokens=2)


async def test_a_started_call_is_the_first_delta_of_the_draft() -> None:
    go_on = threading.Event()

    def agent(turn: BlockingTurn) -> Iterator[str]:
        turn.start_call(model="m", provider="p")
        yield "text"
        go_on.wait(30)

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("text")
        draft = instance.drafts.get(talk.chat_id)
        assert draft is not None
        assert draft.read(0)[0].part == CallStarted("m", "p", 1)
        go_on.set()
        await talk.wait_ended()


async def test_an_exception_fails_the_turn() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        yield "partial"
        raise ValueError("secret words")

    entries = await answered(agent)
    (ended,) = facts_of(entries, TurnEnded)
    assert ended.outcome is Outcome.FAILED
    assert ended.error is not None
    assert ended.error.message == "The agent failed (ValueError)."
    assert [fact.interrupted for fact in answers_of(entries)] == [True]


async def test_a_retryable_error_is_retried() -> None:
    tries: list[int] = []

    def agent(turn: BlockingTurn) -> Iterator[str]:
        tries.append(turn.failures)
        yield f"try {len(tries)}"
        if len(tries) < 3:
            raise AgentError("server", retry_after_s=0)

    entries = await answered(agent)
    assert [fact.tries for fact in facts_of(entries, RetryScheduled)] == [1, 2]
    assert messages_of(entries)[-1][1] == (Text("try 3"),)
    assert tries == [0, 1, 2]


async def test_a_generator_that_raises_before_its_first_yield_fails_the_turn() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        raise KeyError("x")
        yield ""

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED


async def test_back_pressure_blocks_the_agent_at_a_fixed_number_of_pieces() -> None:
    """The loop stands still while the agent yields: no more pieces wait than the bound says."""
    yielded = 0
    has_begun = threading.Event()

    def agent(turn: BlockingTurn) -> Iterator[str]:
        nonlocal yielded
        for _ in range(1000):
            yielded += 1
            yield "x"
            has_begun.set()

    async with running(agent) as instance:
        talk = await ask(instance)
        await wait_until(has_begun.is_set)
        before = yielded
        threading.Event().wait(0.1)  # the loop's thread is ours: nothing is taken meanwhile
        assert yielded - before <= QUEUED_PIECES_MAX + 2
        await talk.wait_ended()
        assert await talk.said() == ["x" * 1000]


async def test_threads_end_with_their_turns() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        yield f"{turn.call(ToolCall('add', {'a': 1, 'b': 2})).result}"

    async with running(agent, tools=(add,)) as instance:
        talks = [await ask(instance) for _ in range(20)]
        for talk in talks:
            await talk.wait_ended()
            assert await talk.said() == ["", "3"]
    await wait_until(lambda: not threads())


async def test_a_turn_ended_by_another_instance_ends_the_thread_at_its_next_piece() -> None:
    is_closed = threading.Event()
    count = 0

    def agent(turn: BlockingTurn) -> Iterator[str]:
        nonlocal count
        try:
            while turn.turn_id == 2:
                count += 1
                yield "x"
            yield "fine"
        finally:
            is_closed.set()

    async with running(agent) as instance:
        talk = await ask(instance)
        await wait_until(lambda: count > 10)
        await instance.chats.edit(talk.chat_id, 2, "another question")
        await talk.wait_ended()
        assert is_closed.is_set()
        assert await talk.said() == ["fine"]
        await wait_until(lambda: not threads())


async def test_a_call_after_the_turn_has_ended_raises_an_error_that_agents_do_not_catch() -> None:
    turns: list[BlockingTurn] = []

    def agent(turn: BlockingTurn) -> Iterator[str]:
        turns.append(turn)
        yield "done"

    async with running(agent, tools=(add,)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        before = await talk.entries()
        (turn,) = turns
        for ask_again in (turn.take_steering, turn.call, turn.wait_interrupted):
            with pytest.raises(asyncio.CancelledError):
                ask_again()
        assert await talk.entries() == before


async def test_another_thread_of_the_agent_may_call_tools() -> None:
    def agent(turn: BlockingTurn) -> Iterator[str]:
        results: list[int] = []
        workers = [
            threading.Thread(
                target=lambda n=n: results.append(turn.call(ToolCall("add", {"a": n, "b": 0})).result), daemon=True
            )
            for n in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        yield f"{sorted(results)}"

    entries = await answered(agent, tools=(add,))
    assert messages_of(entries)[-1][1] == (Text("[0, 1, 2, 3]"),)


# --- tools in threads


async def test_a_plain_tool_runs_in_a_thread_and_may_report_progress() -> None:
    seen: list[threading.Thread] = []

    @tool
    def work(context: ToolContext) -> str:
        seen.append(threading.current_thread())
        context.progress("half")
        return context.tool_call_id

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield (await turn.call(ToolCall("work", id="id"))).result

    entries = await answered(agent, tools=(work,))
    assert messages_of(entries)[-1][1] == (Text("id"),)
    assert seen[0] is not threading.main_thread()
    assert seen[0].daemon


async def test_plain_tools_run_concurrently() -> None:
    together = threading.Barrier(8, timeout=10)

    @tool
    def meet() -> int:
        return together.wait()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        results = await turn.call(*(ToolCall("meet") for _ in range(8)))
        yield f"{sorted(result.result for result in results)}"

    entries = await answered(agent, tools=(meet,))
    assert messages_of(entries)[-1][1] == (Text("[0, 1, 2, 3, 4, 5, 6, 7]"),)


async def test_a_turn_that_requires_an_action_releases_its_thread() -> None:
    @tool(needs_approval=True)
    def dangerous() -> None: ...

    def agent(turn: BlockingTurn) -> Iterator[str]:
        yield "May I? "
        turn.call(ToolCall("dangerous"))
        raise AssertionError("the turn went on")

    async with running(agent, tools=(dangerous,)) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        await wait_until(lambda: not threads() and not len(instance.worker))


# --- functions in threads


async def test_a_functions_result_error_and_context_are_passed_on() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seen")
    assert await run_in_thread(variable.get, name="t") == "seen"
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 // 0, name="t")


async def test_an_error_that_would_end_the_event_loop_is_wrapped() -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="SystemExit"):
        await run_in_thread(leave, name="t")
    with pytest.raises(RuntimeError, match="StopIteration"):
        await run_in_thread(lambda: next(iter(())), name="t")


async def test_a_function_that_is_not_awaited_is_abandoned_and_counted() -> None:
    may_end = threading.Event()
    abandoned = metric("abandoned_tasks")
    waiting = asyncio.create_task(run_in_thread(lambda: may_end.wait(30), name="t-left"))
    await wait_until(lambda: threads("t-left"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert metric("abandoned_tasks") == abandoned + 1
    may_end.set()
    await wait_until(lambda: not threads("t-left"))
