"""A history that is too long for the model, and the hook that chooses the messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from antiphon import Agent
from antiphon.core.model import Status
from antiphon.core.parts import Reasoning, Role, Text, ToolCall, ToolResult
from antiphon.models.openai import OpenAIModel
from antiphon.ports import Message
from antiphon.testing.model_server import Answer, FakeModelServer, Fault
from antiphon.worker.trimming import halved

from .running import Talk, ask, running

pytestmark = pytest.mark.anyio

TOO_LONG = Fault(status=400, code="context_length_exceeded", message="too long")


def message(number: int, role: Role, *parts: Any) -> Message:
    return Message(id=number, role=role, content=parts)


def test_half_a_history_is_whole_turns() -> None:
    history: list[Message] = []
    for turn in range(4):
        start = 10 * turn
        history += [
            message(start, Role.USER, Text("x" * 100)),
            message(start + 1, Role.ASSISTANT, ToolCall(f"c{turn}", "t", {})),
            message(start + 2, Role.TOOL, ToolResult(f"c{turn}", "t", "r" * 100)),
            message(start + 3, Role.USER, Text("steering")),
            message(start + 4, Role.ASSISTANT, Text("so")),
        ]
    kept = halved(history)
    assert [one.id for one in kept] == [one.id for one in history if one.id >= 20]
    assert [one.id for one in halved(kept)] == [one.id for one in history if one.id >= 30]
    last = halved(halved(kept))
    assert [one.id for one in last] == [one.id for one in history if one.id >= 30], "the last turn stays"
    assert halved([]) == ()


async def test_older_turns_are_left_out_until_the_model_takes_the_rest() -> None:
    async with FakeModelServer() as server:
        model = OpenAIModel("m", api_key="k", base_url=server.base_url)
        server.plan(*(Answer(text=f"answer {n}") for n in range(4)), TOO_LONG, TOO_LONG, Answer(text="fits"))
        async with running(Agent(model=model, system="be brief")) as instance:
            talk = await ask(instance, "question 0 " + "x" * 1_000)
            for number in range(1, 5):
                await talk.wait_ended()
                await talk.send(f"question {number} " + "x" * 1_000)
            await talk.wait_ended()
            content = (await talk.history())[-1][1]
        await model.aclose()
        sent = [seen.body["messages"] for seen in server.requests[4:]]
    assert [len(messages) for messages in sent] == [10, 4, 2]
    assert "The first 8 messages of this chat were left out" in sent[-1][0]["content"]
    assert sent[-1][0]["content"].startswith("be brief")
    assert [type(part) for part in content] == [Reasoning, Text]
    assert "The first 8 messages" in content[0].text  # type: ignore[union-attr]
    assert content[1] == Text("fits")


async def test_one_message_that_is_too_long_fails_the_turn() -> None:
    async with FakeModelServer(default=lambda seen: TOO_LONG) as server:
        model = OpenAIModel("m", api_key="k", base_url=server.base_url)
        async with running(Agent(model=model)) as instance:
            talk = await ask(instance, "x" * 1_000)
            chat = await talk.wait_ended()
            assert chat.status is Status.ERROR
            assert chat.last_error is not None
            assert chat.last_error.kind == "context_length"
        await model.aclose()
        assert len(server.requests) == 1


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_a_hook_chooses_the_messages_of_each_call(is_coroutine: bool) -> None:
    def newest(messages: Sequence[Message]) -> Sequence[Message]:
        return messages[-1:]

    async def newest_later(messages: Sequence[Message]) -> Sequence[Message]:
        return messages[-1:]

    async with FakeModelServer() as server:
        model = OpenAIModel("m", api_key="k", base_url=server.base_url)
        async with running(Agent(model=model, prepare=newest_later if is_coroutine else newest)) as instance:
            talk = Talk(instance, (await instance.chats.create(content="one")).chat_id)
            await talk.wait_ended()
            await talk.send("two")
            await talk.wait_ended()
        await model.aclose()
        assert json.dumps(server.requests[-1].body["messages"]) == '[{"role": "user", "content": "two"}]'
