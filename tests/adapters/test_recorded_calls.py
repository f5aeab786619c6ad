"""Calls that a framework makes in one run: gathered, stored with their metadata, and found again by their ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon.adapters.recorded_calls import RecordedCalls
from antiphon.adapters.usage_meter import UsageMeter
from antiphon.core.parts import Role, ToolCall
from antiphon.worker.turn import Turn
from worker.running import ask, running

pytestmark = pytest.mark.anyio


async def left(args: Any, call_id: str) -> Any:
    return f"left {args}"


async def use(turn: Turn) -> RecordedCalls:
    calls = RecordedCalls(turn)
    await turn.use_tools(calls.tool("add", description="Adds.", parameters={"type": "object"}, execute=left))
    return calls


async def test_calls_at_the_same_time_are_stored_in_one_message_and_run_concurrently() -> None:
    both = asyncio.Barrier(2)

    async def execute(args: Any) -> Any:
        await both.wait()
        return args["x"]

    async def agent(turn: Turn) -> AsyncIterator[str]:
        calls = await use(turn)
        results = await asyncio.gather(*(calls.call("add", {"x": x}, f"c{x}", execute) for x in (1, 2)))
        yield f"{[one.result for one in results]}"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["", "[1, 2]"]


async def test_a_call_is_stored_with_its_metadata_and_a_repeated_id_runs_its_own_function() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        calls = await use(turn)
        for number in (1, 2):

            async def execute(args: Any, number: int = number) -> Any:
                return f"run {number}"

            metadata = {"p": {"signature": f"s{number}"}}
            result = await calls.call("add", {"x": number}, "same", execute, metadata=metadata)
            yield f"{result.result}. "

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        history = [part for role, content in await talk.history() if role is Role.ASSISTANT for part in content]
        made = [part for part in history if isinstance(part, ToolCall)]
        assert [(one.tool_call_id, one.provider_metadata) for one in made] == [
            ("same", {"p": {"signature": "s1"}}),
            ("same#2", {"p": {"signature": "s2"}}),
        ]
        assert [one.result for one in await talk.results()] == ["run 1", "run 2"]


async def test_calls_that_could_not_be_stored_fail_together() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        calls = await use(turn)

        async def execute(args: Any) -> Any:
            return None

        made = [calls.call("add", {}, "c", execute, metadata={"p": "x" * 2_000_000}) for _ in range(2)]
        results = await asyncio.gather(*made, return_exceptions=True)
        yield " ".join(type(one).__name__ for one in results)

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["AttemptFailed RuntimeError"]


async def test_running_totals_are_counted_once() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        meter = UsageMeter(turn)
        for total in (3, 3, 10):
            meter.report(input_tokens=total, output_tokens=None)
        yield "done"

    async with running(agent) as instance:
        chat = await (await ask(instance)).wait_ended()
        assert (chat.usage.input_tokens, chat.usage.output_tokens) == (10, None)
