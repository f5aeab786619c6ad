"""Agents and tools that raise any exception or cancel themselves: their turn ends, the worker continues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from antiphon import Agent, AgentError, ToolCall, ToolContext, Turn, tool
from antiphon.core.facts import TurnEnded
from antiphon.core.model import Outcome
from antiphon.core.parts import NO_USAGE, TOKENS_MAX, Reasoning, Text, ToolCallOpened, ToolProgress, Usage
from antiphon.core.parts import ToolCall as ToolCallPart
from antiphon.worker.draft_writer import PROGRESS_MAX
from antiphon.worker.tools.call import result_of
from support.waiting import DEADLINE_S, wait_until

from .running import answered, answers_of, ask, facts_of, results_of, running

pytestmark = pytest.mark.anyio


class Base(BaseException):
    """Neither an Exception nor a cancellation."""


class Mute(Exception):
    """It cannot say what went wrong."""

    def __str__(self) -> str:
        raise ValueError("no words")


def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def raiser(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


WILD = {
    "BaseException": raiser(Base()),
    "KeyboardInterrupt": raiser(KeyboardInterrupt()),
    "SystemExit": raiser(SystemExit(3)),
    "GeneratorExit": raiser(GeneratorExit()),
    "CancelledError": raiser(asyncio.CancelledError()),
    "a group": raiser(BaseExceptionGroup("g", [Base()])),
    "mute": raiser(Mute()),
    "cancels itself": cancel_itself,
}


@pytest.mark.parametrize("name", WILD)
async def test_an_agent_that_raises_anything_fails_its_turn_and_the_next_one_is_answered(name: str) -> None:
    is_wild = True

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "so far"
        if is_wild:
            WILD[name]()
            await asyncio.sleep(0)
        yield " so good"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.FAILED]
        is_wild = False
        await talk.send("again")
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.FAILED, Outcome.ANSWERED]
        assert (await talk.said())[-1] == "so far so good"


async def test_the_log_of_a_failed_agent_has_the_traceback_but_no_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also in a program that embeds an instance and has not configured structlog, whose default prints them."""

    async def agent(turn: Turn) -> AsyncIterator[str]:
        password = f"canary {turn.text}"
        yield password[:0]
        raise ValueError("no")

    await answered(agent, "secret question")
    logged = "".join(capsys.readouterr())
    assert "agent_failed" in logged
    assert "ValueError: no" in logged
    assert "canary" not in logged.replace('password = f"canary {turn.text}"', "")
    assert "secret question" not in logged


async def test_a_plain_agent_that_raises_anything_fails_its_turn() -> None:
    def agent(turn: Any) -> Iterator[str]:
        yield "x"
        raise Base

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("name", [name for name in WILD if name != "cancels itself"])
async def test_a_tool_that_raises_anything_has_an_error_as_its_result(name: str, is_async: bool) -> None:
    async def wild_async() -> str:
        WILD[name]()
        return "never"

    def wild_plain() -> str:
        WILD[name]()
        return "never"

    wild = tool(wild_async if is_async else wild_plain)
    entries = await answered(Agent(tools=[wild]), f"/call {wild.name} {{}}")
    (result,) = results_of(entries)
    assert (result.is_error, result.result["error"]) == (True, "failed")
    (ended,) = facts_of(entries, TurnEnded)
    assert ended.outcome is Outcome.ANSWERED


async def test_a_tool_that_cancels_itself_has_an_error_as_its_result() -> None:
    @tool
    async def wild() -> str:
        cancel_itself()
        await asyncio.sleep(0)
        return "never"

    entries = await answered(Agent(tools=[wild]), "/call wild {}")
    (result,) = results_of(entries)
    assert result.is_error
    assert [ended.outcome for ended in facts_of(entries, TurnEnded)] == [Outcome.ANSWERED]


@pytest.mark.parametrize(
    "counts",
    [
        {"output_tokens": 1.25},
        {"output_tokens": "x"},
        {"input_tokens": True},
        {"input_tokens": -1},
        {"total_tokens": TOKENS_MAX * 2},
    ],
    ids=str,
)
async def test_an_impossible_count_is_unknown_and_does_not_fail_a_whole_answer(counts: Any) -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "x"
        turn.add_usage(**counts)

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]
        (message,) = answers_of(await talk.entries())
        assert message.usage == NO_USAGE
        assert await instance.chats.list()


@pytest.mark.parametrize(
    "piece", [Text(5), Reasoning(["a"]), ToolCallOpened(1, "t"), ToolCallOpened("i", None), 7, b"x", None]
)  # type: ignore[arg-type]
async def test_an_invalid_piece_fails_the_turn(piece: Any) -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield piece

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED


async def test_an_invalid_model_name_fails_the_turn() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        turn.model = None  # type: ignore[assignment]
        yield "x"

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED


def test_a_failure_with_invalid_fields_says_so() -> None:
    for fields in ({"retryable": "yes"}, {"status_code": "429"}, {"provider": 5}, {"message": 5}):
        with pytest.raises(TypeError):
            AgentError("overloaded", **fields)


async def test_an_agent_that_waits_to_be_interrupted_ends_by_itself() -> None:
    said = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "until you say stop"
        await turn.wait_interrupted()
        said.append(turn.is_interrupted)
        yield " and what comes then is not kept"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_preview("until")
        await talk.interrupt()
        await talk.wait_ended()
        assert said == [True]
        assert await talk.said() == ["until you say stop"]
        assert await talk.endings() == [Outcome.INTERRUPTED]


async def test_progress_is_bounded_in_one_piece_and_in_all() -> None:
    go_on = asyncio.Event()

    @tool
    async def chatty(context: ToolContext) -> str:
        for _ in range(200):
            context.progress("x" * 1_000_000)
        await go_on.wait()
        return "done"

    async with running(Agent(tools=[chatty])) as instance:
        talk = await ask(instance, "/call chatty {}")
        draft = await wait_until(lambda: (d := instance.drafts.get(talk.chat_id)) and d.position >= 60 and d)
        shown = [delta.part for delta in draft.read(0) if isinstance(delta.part, ToolProgress)]
        assert sum(len(part.text) for part in shown) <= PROGRESS_MAX + 5_000
        assert "not shown" in shown[-1].text
        go_on.set()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]


async def test_a_tool_that_ignores_its_cancellation_does_not_block_its_attempt() -> None:
    go_on = asyncio.Event()

    @tool
    async def deaf() -> str:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    part = ToolCallPart("id", "deaf", {})
    context = ToolContext(chat_id="c", turn_id=2, tool_call_id="id", progress=lambda _: None)
    running = asyncio.create_task(result_of(part, {"deaf": deaf}, context, tool_s=60, cancel_s=0.05))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait({running})
    assert running.cancelled()
    go_on.set()


async def test_calls_with_an_invalid_id_fail_the_turn() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "x"
        await turn.call(ToolCall("t", {}, id=5))  # type: ignore[arg-type]

    (ended,) = facts_of(await answered(agent), TurnEnded)
    assert ended.outcome is Outcome.FAILED
    assert ended.usage == Usage()
