"""`Agent(output=…)`: an answer as a JSON value, and the `data` part that holds it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from antiphon import Agent, Data, Turn, tool
from antiphon.backoff import Backoff
from antiphon.core.facts import RetryScheduled
from antiphon.core.model import Outcome
from antiphon.core.parts import Part, Role, Text, ToolCall
from antiphon.errors import AttemptFailed
from antiphon.models.anthropic import AnthropicModel
from antiphon.models.openai import OpenAIModel
from antiphon.models.responses import ResponsesModel
from antiphon.options import Timing, WorkerTiming
from antiphon.ports import Model
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer, Reply
from antiphon.worker.draft_writer import DATA_BYTES_MAX
from antiphon.worker.structured_output import StructuredOutput

from .running import Talk, answers_of, ask, running

pytestmark = pytest.mark.anyio

NO_DELAY = Timing(worker=WorkerTiming(retry=Backoff(first_s=0.0, max_s=0.0)))
MODELS: dict[str, Any] = {"openai": OpenAIModel, "responses": ResponsesModel, "anthropic": AnthropicModel}
every_model = pytest.mark.parametrize("kind", list(MODELS))


@dataclasses.dataclass
class Person:
    name: str
    age: int
    email: str | None = None


class Team(msgspec.Struct):
    members: list[Person]


@tool
async def look_up(name: str) -> int:
    """The age of a person."""
    return 41


@asynccontextmanager
async def talking(
    *replies: Reply, kind: str = "openai", output: Any = Person, **options: Any
) -> AsyncIterator[tuple[Talk, FakeModelServer]]:
    async with FakeModelServer() as server:
        server.plan(*replies)
        model: Model = MODELS[kind]("test-model", api_key="sk-test", base_url=server.base_url)
        try:
            agent = Agent(model=model, output=output, tools=[look_up])
            async with running(agent, timing=NO_DELAY, **options) as instance:
                yield await ask(instance), server
        finally:
            await model.aclose()  # type: ignore[attr-defined]


async def answer_of(talk: Talk) -> tuple[Part, ...]:
    return [content for role, content in await talk.history() if role is Role.ASSISTANT][-1]


# --- the request and the answer


@every_model
async def test_the_answer_is_one_value_of_the_type_for_every_model(kind: str) -> None:
    async with talking(Answer(text='{"name":"Ada","age":41}'), kind=kind) as (talk, server):
        await talk.wait_ended()
        (part,) = await answer_of(talk)
        assert isinstance(part, Data)
        assert (part.data, part.name) == ({"name": "Ada", "age": 41}, "Person")
        assert await talk.said() == [""], "no text was shown beside it"
        body = server.requests[0].body
        schema = {
            "openai": lambda: body["response_format"]["json_schema"]["schema"],
            "responses": lambda: body["text"]["format"]["schema"],
            "anthropic": lambda: body["output_config"]["format"]["schema"],
        }[kind]()
        assert (schema["required"], schema["additionalProperties"]) == (["name", "age"], False)


@every_model
async def test_the_next_call_has_the_value_as_the_text_of_the_answer(kind: str) -> None:
    first = '{"age":41,"email":null,"name":"Ada"}'
    async with talking(Answer(text=first), Answer(text=first), kind=kind) as (talk, server):
        await talk.wait_ended()
        await talk.send("again")
        await talk.wait_ended()
        assert first in msgspec.json.encode(server.requests[1].body).decode().replace('\\"', '"')


async def test_a_schema_that_lists_all_properties_is_asked_for_strictly() -> None:
    async with talking(Answer(text="{}"), output={"type": "object", "title": "Any thing!"}) as (talk, server):
        await talk.wait_ended()
        asked = server.requests[0].body["response_format"]["json_schema"]
        assert (asked["strict"], asked["name"]) == (False, "Any_thing_")
    both = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert StructuredOutput(both).format.is_strict
    assert not StructuredOutput(Person).format.is_strict, "email may be left out"
    nested = StructuredOutput(Team).format.schema
    assert nested["$defs"]["Person"]["additionalProperties"] is False


# --- answers that do not fit


async def test_an_answer_that_does_not_fit_is_a_failure_that_is_retried() -> None:
    wrong = Answer(text='{"name":"Ada","age":"old"}')
    async with talking(Answer(text="Ada is 41."), wrong, Answer(text='{"name":"Ada","age":41}')) as (talk, _):
        await talk.wait_ended()
        assert isinstance((await answer_of(talk))[0], Data)
        first, second = [fact.error for fact in await talk.facts(RetryScheduled)]
        assert "does not fit the output format: JSON is malformed" in first
        assert "Expected `int`, got `str` - at `$.age`" in second


async def test_text_before_a_tool_call_stays_text_and_the_last_answer_is_the_value() -> None:
    call = Answer(text="One moment.", calls=(FakeCall("look_up", {"name": "Ada"}),), finish_reason="tool_calls")
    async with talking(call, Answer(text='{"name":"Ada","age":41}')) as (talk, _):
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]
        first, last = [content for role, content in await talk.history() if role is Role.ASSISTANT]
        assert [type(part) for part in first] == [Text, ToolCall]
        assert [type(part) for part in last] == [Data]


async def test_an_answer_that_is_cut_off_or_refused_is_shown_as_it_is() -> None:
    async with talking(Answer(text='{"name":"A', finish_reason="length")) as (talk, _):
        await talk.wait_ended()
        assert await answer_of(talk) == (Text('{"name":"A'),)
        assert answers_of(await talk.entries())[-1].outcome == "length"


async def test_a_value_beyond_the_limit_is_a_failure() -> None:
    async with talking(Answer(text=f'"{"x" * DATA_BYTES_MAX}"'), output=str) as (talk, _):
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert f"at most {DATA_BYTES_MAX:,} bytes" in chat.last_error.message


def test_a_deeply_nested_answer_is_refused() -> None:
    with pytest.raises(AttemptFailed, match="nested too deeply"):
        StructuredOutput({}).parse("[" * 65 + "]" * 65)


# --- the part


async def test_an_agent_yields_data_which_its_watchers_get_as_one_delta() -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield "A chart: "
        value = {"points": [[1, 2.5], [2, None]]}
        yield Data(value, name="chart")
        value["points"] = []  # the agent's own value may change
        yield "."

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        chart = Data({"points": [[1, 2.5], [2, None]]}, name="chart")
        assert await answer_of(talk) == (Text("A chart: "), chart, Text("."))
        deltas = [msgspec.json.decode(frame.data) for frame in await talk.watch() if frame.type == "message_appended"]
        assert deltas[-1]["message"]["content"][1] == {
            "type": "data",
            "data": {"points": [[1, 2.5], [2, None]]},
            "name": "chart",
        }


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "is not JSON"),
        ("x" * DATA_BYTES_MAX, "at most 524,288 bytes"),
        (msgspec.json.decode("[" * 65 + "]" * 65), "deeper than 64"),
    ],
    ids=["an object", "too large", "too deep"],
)
async def test_data_that_cannot_be_stored_fails_the_turn_with_the_reason(value: Any, why: str) -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield Data(value)

    async with running(agent) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert why in chat.last_error.message
