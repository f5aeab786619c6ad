"""The built-in agent on a model server that breaks in every way: what the chat shows in the end, and that nothing of
a try that failed is ever kept or shown twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from antiphon import Agent, tool
from antiphon.backoff import Backoff
from antiphon.core import commands as c
from antiphon.core.facts import AttemptStarted, MessageAppended, RetryScheduled, TurnEnded
from antiphon.core.model import Outcome, Status
from antiphon.core.parts import Reasoning, Role, Text, ToolCall
from antiphon.core.view import View
from antiphon.models.openai import OpenAIModel
from antiphon.options import Timing, WorkerTiming
from antiphon.testing.model_server import FOREVER, Answer, FakeCall, FakeModelServer, Fault, Reply
from antiphon.wire.stream import decode_event
from support.waiting import wait_until

from .running import Talk, answers_of, ask, facts_of, messages_of, results_of, running

pytestmark = pytest.mark.anyio

KEY = "sk-canary-0123456789"
NO_DELAY = Timing(worker=WorkerTiming(retry=Backoff(first_s=0.0, max_s=0.0)))
"""Tries follow each other at once, unless the server asks for a delay."""
SHORT_S = {"model_first_byte_s": 1.5, "model_idle_s": 1.5}
"""For servers that fall silent; long enough for one that answers on a busy machine."""


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@asynccontextmanager
async def talking(
    *replies: Reply, text: str = "hello", **limits: float
) -> AsyncIterator[tuple[Talk, FakeModelServer]]:
    """A chat whose first turn is answered by these replies."""
    async with FakeModelServer() as server:
        server.plan(*replies)
        model = OpenAIModel("test-model", api_key=KEY, base_url=server.base_url, **limits)
        try:
            async with running(Agent(model=model, tools=[add]), timing=NO_DELAY) as instance:
                yield await ask(instance, text), server
        finally:
            await model.aclose()


async def kinds_of_retries(talk: Talk) -> list[tuple[int, str, int]]:
    """Of each: which try failed, of what kind, with which status."""
    return [(fact.tries, fact.kind, fact.status_code) for fact in await talk.retries()]


# --- faults that pass


@pytest.mark.parametrize(
    ("fault", "kind", "status_code"),
    [
        (Answer(stall_headers_s=FOREVER), "timeout", 0),
        (Answer(stall_after=0), "timeout", 0),
        (Answer(stall_after=3), "timeout", 0),
        (Answer(stall_after=3, keep_alive=True), "timeout", 0),
        (Answer(cut_after=0), "network", 0),
        (Answer(cut_after=3), "network", 0),
        (Answer(finish_reason=None, sends_done=False), "network", 0),
        (Fault(status=429, headers={"retry-after-ms": "5"}), "rate_limit", 429),
        (Fault(status=500), "server", 500),
        (Fault(status=503), "server", 503),
        (Fault(status=529, type="overloaded_error"), "overloaded", 529),
        (Fault(status=502, body=b"<html>no gateway</html>"), "server", 502),
        (Answer(error_after=3), "server", 0),
        (Answer(error_after=3, error={"type": "overloaded_error", "message": "x"}), "overloaded", 0),
        (Answer(write_bytes=1, cut_after=2, text="Grüße 🎵 für alle"), "network", 0),
    ],
    ids=[
        "silent before the headers",
        "silent before the first piece",
        "silent in the stream",
        "silent but for keep-alives",
        "cut before the first piece",
        "cut in a piece",
        "ended without an end",
        "429",
        "500",
        "503",
        "529",
        "502 that is no JSON",
        "an error in the stream",
        "overloaded in the stream",
        "cut in a character",
    ],
)
async def test_a_fault_is_told_tried_again_and_leaves_nothing_behind(
    fault: Reply, kind: str, status_code: int
) -> None:
    async with talking(fault, Answer(text="all is well"), **SHORT_S) as (talk, server):
        await talk.wait_ended()
        assert await kinds_of_retries(talk) == [(1, kind, status_code)]
        entries = await talk.entries()
        (answer,) = answers_of(entries)
        assert messages_of(entries)[-1] == (Role.ASSISTANT, (Text("all is well"),))
        retry = next(entry.seq for entry in entries if isinstance(entry.fact, RetryScheduled))
        assert answer.closes is not None
        assert answer.closes.draft == retry
        assert len(facts_of(entries, AttemptStarted)) == 1
        assert await talk.endings() == [Outcome.ANSWERED]
        first, second = server.requests
        assert first.body == second.body
        retried = (await talk.retries())[0]
        assert retried.provider == "openai"
        assert KEY not in retried.error
        assert "hello" not in retried.error


async def test_a_watcher_sees_no_word_twice_over_all_tries() -> None:
    faults = (Answer(cut_after=4), Answer(error_after=2), Fault(status=500), Answer(stall_after=6))
    async with talking(*faults, **SHORT_S) as (talk, server):
        frames = await talk.watch()
        view = View()
        shown: list[str] = []
        for frame in frames:
            view.apply(decode_event(frame.data))
            if frame.type == "delta":
                shown.append(view.draft.text())
        assert [text_of_message(message) for message in view.messages] == [
            "hello",
            "".join(f"c5t{n} " for n in range(1, 9)),
        ]
        for text in shown:
            calls = {word[:2] for word in text.split()}
            assert len(calls) <= 1, f"words of several calls in one draft: {text}"
        assert len(server.requests) == 5
        assert view.draft.text() == ""


def text_of_message(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["content"])


async def test_what_a_try_showed_is_taken_back_by_the_fact_that_it_failed() -> None:
    async with talking(Answer(token_count=50, stall_after=3), Answer(text="anew"), model_idle_s=0.5) as (talk, _):
        await talk.wait_preview("c1t3")
        await talk.wait_ended()
        frames = await talk.watch()
        kinds = [frame.type for frame in frames]
        assert kinds.index("retry_scheduled") < kinds.index("turn_ended")
        assert all(b"c1t" not in frame.data for frame in frames if frame.type == "message_appended")


async def test_retry_after_is_honoured_in_seconds() -> None:
    async with talking(Fault(status=429, headers={"Retry-After": "2"}), Answer(text="ok")) as (talk, _):
        await talk.wait_kind("retry_scheduled")
        assert [fact.delay_ms for fact in await talk.retries()] == [2000]
        chat = await talk.chat()
        assert (chat.status, bool(chat.attempt)) == (Status.RUNNING, True)
        await talk.interrupt()
        await talk.wait_ended()


async def test_a_long_retry_after_lets_go_of_the_chat() -> None:
    async with talking(Fault(status=429, headers={"Retry-After": "90"})) as (talk, _):
        await talk.wait_kind("attempt_released")
        (retry,) = await talk.retries()
        chat = await talk.chat()
        assert (retry.delay_ms, chat.attempt, chat.retrying_at) == (90_000, 0, retry.retrying_at)
        await wait_until(lambda: not len(talk.instance.worker))


# --- faults that do not pass


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=401, message=f"Incorrect API key {KEY}"), "auth"),
        (Fault(status=400, message="hello is no good"), "invalid_request"),
        (Fault(status=400, code="context_length_exceeded"), "context_length"),
        (Fault(status=404), "invalid_request"),
        (Fault(status=429, code="insufficient_quota"), "rate_limit"),
        (Answer(text="", finish_reason="content_filter"), "content_filter"),
    ],
    ids=["key", "request", "length", "no such model", "no money", "filter"],
)
async def test_what_would_fail_again_fails_the_turn_at_once(fault: Reply, kind: str) -> None:
    async with talking(fault) as (talk, server):
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert (chat.status, chat.last_error.kind, chat.last_error.retryable) == (Status.ERROR, kind, False)
        assert KEY not in chat.last_error.message
        assert "hello" not in chat.last_error.message
        assert await talk.retries() == []
        assert answers_of(await talk.entries()) == []
        assert len(server.requests) == 1


async def test_a_server_that_stays_broken_is_asked_five_times_and_again_when_a_person_wants_it() -> None:
    async with talking(*[Fault(status=500)] * 5, Answer(text="better now")) as (talk, server):
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert (chat.status, chat.last_error.kind, chat.last_error.status_code) == (Status.ERROR, "server", 500)
        assert [fact.tries for fact in await talk.retries()] == [1, 2, 3, 4]
        assert len(server.requests) == 5
        await talk.change(c.Retry())
        await talk.wait_status(Status.WAITING)
        assert await talk.said() == ["better now"]
        assert await talk.endings() == [Outcome.FAILED, Outcome.ANSWERED]


async def test_a_server_that_is_not_there_is_a_network_error() -> None:
    async with FakeModelServer() as server:
        gone = server.base_url
    model = OpenAIModel("test-model", api_key=KEY, base_url=gone)
    async with running(Agent(model=model), timing=NO_DELAY) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert chat.last_error.kind == "network"
        assert len(await talk.retries()) == 4
    await model.aclose()


# --- answers that are odd but whole


async def test_characters_split_over_writes_arrive_whole() -> None:
    text = "Grüße 🎵 – für alle: 中文, \u2028 und \x00 dazu. "
    async with talking(Answer(text=text, write_bytes=1)) as (talk, _):
        await talk.wait_ended()
        assert await talk.said() == [text]


async def test_an_answer_of_eight_megabytes_is_kept_whole() -> None:
    text = "0123456 " * (1024 * 1024)
    async with talking(Answer(text=None, deltas=({"content": text},))) as (talk, _):
        await talk.wait_ended()
        assert await talk.said() == [text]
        (answer,) = answers_of(await talk.entries())
        assert answer.closes is not None
        assert answer.closes.upto == len(text) + 1


async def test_an_answer_over_the_limit_fails_the_turn() -> None:
    piece = {"content": "x" * (1024 * 1024)}
    async with talking(Answer(deltas=(piece,) * 17)) as (talk, server):
        chat = await talk.wait_ended()
        assert chat.status is Status.ERROR
        (kept,) = answers_of(await talk.entries())
        assert kept.interrupted
        assert kept.content_size < 16 * 1024 * 1024 + 1024, "what fits is kept"
        assert len(server.requests) == 1


async def test_an_empty_answer_ends_the_turn_and_is_called_empty() -> None:
    async with talking(Answer(text="")) as (talk, _):
        await talk.wait_ended()
        (message,) = answers_of(await talk.entries())
        assert (message.outcome, message.usage.input_tokens) == ("empty", 10)
        assert (await talk.history())[-1][1] == ()
        assert await talk.endings() == [Outcome.ANSWERED]


async def test_an_answer_of_which_nothing_fitted_says_so() -> None:
    async with talking(Answer(text="", finish_reason="length")) as (talk, _):
        await talk.wait_ended()
        (message,) = answers_of(await talk.entries())
        assert message.outcome == "length"


@pytest.mark.parametrize("outcome", ["length", "content_filter"])
async def test_an_answer_that_the_model_cut_short_says_so(outcome: str) -> None:
    async with talking(Answer(text="Once upon", finish_reason=outcome), Answer(text="Twice")) as (talk, _):
        await talk.wait_ended()
        await talk.send("again")
        await talk.wait_ended()
        assert [message.outcome for message in answers_of(await talk.entries())] == [outcome, ""]
        frames = await talk.watch()
        shown = [json.loads(frame.data) for frame in frames if frame.type == "message_appended"]
        assert [(fact.get("outcome"), fact["message"].get("outcome")) for fact in shown[1::2]] == [
            (outcome, outcome),
            (None, None),
        ]


async def test_reasoning_is_a_part_of_its_own() -> None:
    async with talking(Answer(reasoning="Let me think.", text="Four.")) as (talk, _):
        await talk.wait_ended()
        metadata = {"openai": {"reasoning_field": "reasoning_content"}}
        assert (await talk.history())[-1][1] == (Reasoning("Let me think.", metadata), Text("Four."))


# --- tools


async def test_calls_of_one_answer_run_and_their_results_go_back() -> None:
    calls = (FakeCall("add", {"a": 1, "b": 2}, "x"), FakeCall("add", {"a": 3, "b": 4}, "y"))
    async with talking(Answer(text="Adding. ", calls=calls), Answer(text="3 and 7")) as (talk, server):
        await talk.wait_ended()
        assert sorted((r.tool_call_id, r.result) for r in await talk.results()) == [("x", 3), ("y", 7)]
        told = {m["tool_call_id"]: m["content"] for m in server.requests[1].body["messages"] if m["role"] == "tool"}
        assert told == {"x": "3", "y": "7"}
        assert [spec["function"]["name"] for spec in server.requests[0].body["tools"]] == ["add"]
        assert await talk.said() == ["Adding. ", "3 and 7"]


async def test_a_repeated_id_is_another_call() -> None:
    same = FakeCall("add", {"a": 1, "b": 1}, "same")
    replies = (Answer(calls=(same, same)), Answer(calls=(same,)), Answer(text="done"))
    async with talking(*replies) as (talk, server):
        await talk.wait_ended()
        ids = [result.tool_call_id for result in await talk.results()]
        assert sorted(ids) == ["same", "same#2", "same#3"]
        for request in server.requests[1:]:
            asked = [call["id"] for message in request.body["messages"] for call in message.get("tool_calls", ())]
            given = [message["tool_call_id"] for message in request.body["messages"] if message["role"] == "tool"]
            assert sorted(asked) == sorted(given)


async def test_arguments_that_are_no_json_come_back_to_the_model_as_an_error() -> None:
    broken = {"index": 0, "id": "x", "function": {"name": "add", "arguments": '{"a": 1, "b"'}}
    replies = (Answer(deltas=({"tool_calls": [broken]},), finish_reason="tool_calls"), Answer(text="sorry"))
    async with talking(*replies) as (talk, server):
        await talk.wait_ended()
        (result,) = await talk.results()
        assert (result.is_error, result.result["error"]) == (True, "invalid_args")
        told = next(m for m in server.requests[1].body["messages"] if m["role"] == "tool")
        assert told["content"].startswith("Error: ")
        assert await talk.said() == ["", "sorry"]


async def test_a_call_that_was_cut_off_never_runs() -> None:
    cut = Answer(text="Adding. ", calls=(FakeCall("add", {"a": 1, "b": 2}, "x"),), cut_after=3)
    async with talking(cut, Answer(text="without it")) as (talk, _):
        await talk.wait_ended()
        assert await talk.results() == []
        assert await talk.said() == ["without it"]
        entries = await talk.entries()
        assert all(not isinstance(part, ToolCall) for _, content in messages_of(entries) for part in content)


async def test_a_step_that_fails_is_tried_again_without_running_the_tools_before_it_again() -> None:
    replies = (
        Answer(calls=(FakeCall("add", {"a": 1, "b": 2}, "x"),)),
        Fault(status=500),
        Answer(cut_after=2),
        Answer(text="three"),
    )
    async with talking(*replies) as (talk, server):
        await talk.wait_ended()
        assert [result.result for result in await talk.results()] == [3]
        assert await kinds_of_retries(talk) == [(1, "server", 500), (2, "network", 0)]
        assert await talk.said() == ["", "three"]
        bodies = [msgspec.json.encode(request.body["messages"]) for request in server.requests[1:]]
        assert len(set(bodies)) == 1


async def test_usage_is_that_of_the_calls_that_were_answered() -> None:
    replies = (Answer(calls=(FakeCall("add", {"a": 1, "b": 2}, "x"),)), Fault(status=500), Answer(token_count=3))
    async with talking(*replies) as (talk, _):
        await talk.wait_ended()
        first, second = answers_of(await talk.entries())
        (ended,) = await talk.facts(TurnEnded)
        assert second.usage.output_tokens == 3
        assert ended.usage == first.usage + second.usage
        assert (await talk.chat()).usage == ended.usage


async def test_every_fault_in_one_conversation() -> None:
    """Ten turns, each over another fault: history holds what was asked and what was answered, once."""
    faults: list[Reply] = [
        Answer(stall_headers_s=FOREVER),
        Answer(stall_after=2),
        Answer(cut_after=1),
        Answer(error_after=1),
        Fault(status=429, headers={"retry-after-ms": "1"}),
        Fault(status=529),
        Answer(write_bytes=1, cut_after=3),
        Fault(status=500),
        Answer(finish_reason=None, sends_done=False),
        Answer(keep_alive=True, stall_after=1),
    ]
    async with talking(faults[0], Answer(text="answer 0"), text="question 0", **SHORT_S) as (talk, server):
        for n, fault in enumerate(faults[1:], start=1):
            await talk.wait_ended()
            server.plan(fault, Answer(text=f"answer {n}"))
            await talk.send(f"question {n}")
        await talk.wait_ended()
        history = [(role, content[0].text) for role, content in await talk.history() if isinstance(content[0], Text)]
        assert history == [
            pair for n in range(10) for pair in ((Role.USER, f"question {n}"), (Role.ASSISTANT, f"answer {n}"))
        ]
        assert len(await talk.retries()) == 10
        assert {fact.tries for fact in await talk.retries()} == {1}
        assert len(await talk.facts(MessageAppended)) == 20
        assert results_of(await talk.entries()) == []
