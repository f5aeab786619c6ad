"""A failed turn stores what its last try wrote, marked as interrupted; a retried one begins with a new draft."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import AgentError, Reasoning, ToolCall, Turn, tool
from antiphon.core import commands as c
from antiphon.core.facts import MessageAppended, TurnEnded
from antiphon.core.model import Outcome, Status
from antiphon.core.parts import NO_USAGE, Role, Text, ToolCallArgs, ToolCallOpened
from antiphon.core.parts import Reasoning as ReasoningPart
from antiphon.core.view import View
from antiphon.wire.stream import decode_event

from .running import ask, facts_of, running

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def assistant(facts: list[MessageAppended]) -> list[MessageAppended]:
    return [fact for fact in facts if fact.role is Role.ASSISTANT]


async def test_text_and_reasoning_are_stored_and_calls_are_dropped_visibly() -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield Reasoning("Let me see.")
        yield "It is "
        yield ToolCallOpened("c1", "add")
        yield ToolCallArgs('{"a": 1')
        turn.add_usage(output_tokens=5)
        raise AgentError("server", "It broke.", retryable=False)

    async with running(agent) as instance:
        talk = await ask(instance)
        assert (await talk.wait_ended()).status is Status.ERROR
        (message,) = assistant(await talk.facts(MessageAppended))
        assert message.interrupted
        assert [(call.tool_call_id, call.tool_name) for call in message.dropped] == [("c1", "add")]
        assert message.closes is not None
        assert message.closes.upto > len("It is ")
        assert (await talk.history())[-1] == (Role.ASSISTANT, (ReasoningPart("Let me see."), Text("It is ")))
        (ended,) = await talk.facts(TurnEnded)
        assert ended.outcome is Outcome.FAILED
        assert ended.usage.output_tokens == 5, "it is counted once"
        assert message.usage.output_tokens == 5


async def test_an_attempt_that_wrote_nothing_leaves_no_message() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        turn.add_usage(input_tokens=2)
        raise AgentError("auth", "No key.")
        yield ""

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert assistant(await talk.facts(MessageAppended)) == []
        (ended,) = await talk.facts(TurnEnded)
        assert ended.usage.input_tokens == 2


async def test_text_after_a_tool_is_stored_and_earlier_text_is_not_stored_twice() -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield "Adding. "
        (result,) = [await turn.call(ToolCall("add", {"a": 1, "b": 2}))]
        yield f"It is {result.result}, and"
        raise RuntimeError("gone")

    async with running(agent, tools=(add,)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        first, second = assistant(await talk.facts(MessageAppended))
        assert (first.interrupted, second.interrupted) == (False, True)
        assert await talk.said() == ["Adding. ", "It is 3, and"]


async def test_for_a_watcher_the_partial_answer_replaces_the_draft_before_the_failure() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "half an answer"
        raise RuntimeError("gone")

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        view = View()
        for frame in await talk.watch():
            view.apply(decode_event(frame.data, cursor=f"{frame.seq}.{frame.position}" if frame.seq else ""))
        assert view.messages[-1]["content"][0]["text"] == "half an answer"
        assert view.messages[-1]["interrupted"] is True
        assert not view.draft or not view.draft.text()


async def test_the_next_turn_gets_the_partial_answer_and_a_retry_removes_it() -> None:
    fails = True
    seen: list[list[str]] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        seen.append([m.content[0].text for m in turn.messages if m.role is Role.ASSISTANT])  # type: ignore[union-attr]
        yield "half" if fails else "whole"
        if fails:
            raise RuntimeError("gone")

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        await talk.change(c.Retry())
        await talk.wait(lambda chat: chat.status is Status.ERROR and len(seen) == 2)
        assert await talk.said() == ["half"], "the retry has removed the first one"
        fails = False
        await instance.chats.send(talk.chat_id, "and now?")
        await talk.wait_status(Status.WAITING)
        assert seen == [[], [], ["half"]]
        assert await talk.said() == ["half", "whole"]
        usages = [fact.usage for fact in facts_of(await talk.entries(), TurnEnded)]
        assert usages == [NO_USAGE] * 3
