"""A file that the provider refuses fails the turn that it is sent with, and is left out of later ones."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon import Agent, Turn, tool
from antiphon.core.model import Outcome
from antiphon.core.parts import File, Part, Reasoning, Text
from antiphon.errors import AttemptFailed
from antiphon.models.anthropic import AnthropicModel
from antiphon.models.openai import OpenAIModel
from antiphon.server.open_instance import EmbeddedInstance
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer, Fault
from antiphon.worker.refused_files import CHATS_MAX, RefusedFiles
from antiphon.worker.tools import ToolContext

from .running import Talk, running

pytestmark = pytest.mark.anyio

REFUSED = Fault(status=400, type="invalid_request_error", message="Could not process image")
OTHER = Fault(status=400, type="invalid_request_error", message="no such thing")


def image(name: str) -> File:
    return File("image/png", base64.b64encode(b"\x89PNG\r\n\x1a\n" + name.encode()).decode(), name=name)


def shown(request: Any) -> list[str]:
    """The files and their stand-ins in a request, in order."""
    found = []
    for message in request.body["messages"]:
        content = message["content"]
        for piece in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            if piece["type"] == "image_url":
                data = piece["image_url"]["url"].partition("base64,")[2]
                found.append(base64.b64decode(data)[8:].decode())
            else:
                found += [line for line in piece["text"].splitlines() if line.startswith("[")]
    return found


LEFT_OUT = "[the file {}: refused by the provider]"


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[EmbeddedInstance, FakeModelServer]]:
    async with FakeModelServer() as server:
        model = OpenAIModel("any", api_key="k", base_url=server.base_url)
        async with running(Agent(model=model, **options)) as instance:
            yield instance, server
        await model.aclose()


async def begin(instance: EmbeddedInstance, *content: Part) -> Talk:
    talk = Talk(instance, (await instance.chats.create(content=content)).chat_id)
    await talk.wait_ended()
    return talk


async def say(talk: Talk, *content: Part) -> None:
    await talk.instance.chats.send(talk.chat_id, content)
    await talk.wait_ended()


async def last_error(talk: Talk) -> str:
    error = (await talk.chat()).last_error
    assert error is not None
    assert (error.kind, error.retryable, error.status_code) == ("invalid_request", False, 400)
    return error.message


async def test_the_error_names_the_file_and_the_next_turns_go_without_it() -> None:
    async with serving() as (instance, server):
        server.plan(REFUSED, REFUSED, Answer(text="I cannot see it."), Answer(text="Fine."))
        talk = await begin(instance, Text("What is this?"), image("bad.png"))
        message = await last_error(talk)
        assert "Could not process image" in message
        assert "The message has the file bad.png" in message
        assert "edit the message" in message
        await say(talk, Text("And now?"))
        assert shown(server.requests[1]) == ["bad.png"]
        assert shown(server.requests[2]) == [LEFT_OUT.format("bad.png")]
        _, content = (await talk.history())[-1]
        assert content == (
            Reasoning("(Left out: the file bad.png. The model's provider refused the request with it.)"),
            Text("I cannot see it."),
        )
        await say(talk, Text("Thanks."))
        assert [shown(request) for request in server.requests[3:]] == [[LEFT_OUT.format("bad.png")]], (
            "it is remembered"
        )
        assert (await talk.history())[-1][1] == (Text("Fine."),)


async def test_an_edit_without_the_file_and_a_retry_of_the_turn_work() -> None:
    async with serving() as (instance, server):
        server.plan(REFUSED, REFUSED, Answer(text="Fine."))
        talk = await begin(instance, Text("What is this?"), image("bad.png"))
        await instance.chats.retry(talk.chat_id)
        await talk.wait_ended()
        assert "bad.png" in await last_error(talk)
        await instance.chats.edit(talk.chat_id, 2, "Never mind.")
        await talk.wait_ended()
        assert await talk.said() == ["Fine."]
        assert shown(server.requests[2]) == []


async def test_other_files_of_the_chat_stay() -> None:
    async with serving() as (instance, server):
        talk = await begin(instance, Text("One."), image("one.png"))
        await say(talk, Text("Two."), image("two.png"))
        server.plan(REFUSED, REFUSED, REFUSED, REFUSED)
        await say(talk, Text("Three."), image("bad.png"), image("worse.png"))
        assert "the files bad.png, worse.png" in await last_error(talk)
        assert [shown(request) for request in server.requests[2:]] == [
            ["one.png", "two.png", "bad.png", "worse.png"],
            ["one.png", LEFT_OUT.format("two.png"), "bad.png", "worse.png"],
            [LEFT_OUT.format("one.png"), "two.png", "bad.png", "worse.png"],
            [*(LEFT_OUT.format(name) for name in ("one.png", "two.png")), "bad.png", "worse.png"],
        ]
        server.plan(REFUSED)
        await say(talk, Text("Four."), image("four.png"))
        left_out = [LEFT_OUT.format(name) for name in ("bad.png", "worse.png")]
        assert shown(server.requests[-1]) == ["one.png", "two.png", *left_out, "four.png"]
        assert (await talk.endings())[-1] is Outcome.ANSWERED


async def test_a_model_that_takes_no_images_answers_without_any() -> None:
    async with serving() as (instance, server):
        talk = await begin(instance, Text("One."), image("one.png"))
        await say(talk, Text("Two."), image("two.png"))
        server.plan(REFUSED, REFUSED, REFUSED)
        await say(talk, Text("Three."))
        assert shown(server.requests[-1]) == [LEFT_OUT.format("one.png"), LEFT_OUT.format("two.png")]
        assert (await talk.endings())[-1] is Outcome.ANSWERED


async def test_a_refusal_for_another_reason_costs_one_more_request() -> None:
    async with serving() as (instance, server):
        talk = await begin(instance, Text("One."), image("one.png"))
        await say(talk, Text("Two."), image("two.png"))
        server.plan(OTHER, OTHER)
        await say(talk, Text("Three."))
        assert len(server.requests) == 4
        assert (await last_error(talk)).endswith("no such thing")
        await say(talk, Text("Four."))
        assert shown(server.requests[-1]) == ["one.png", "two.png"]


async def test_a_file_of_a_tool_is_left_out_of_the_same_turn() -> None:
    @tool
    async def draw(context: ToolContext) -> Any:
        """Draw."""
        return await context.store_file(b"\x89PNG\r\n\x1a\ndrawn", name="drawn.png")

    async with FakeModelServer() as server:
        model = AnthropicModel("any", api_key="k", base_url=server.base_url)
        async with running(Agent(model=model, tools=[draw])) as instance:
            server.plan(Answer(text="", calls=(FakeCall("draw", {}),)), REFUSED, Answer(text="Drawn."))
            talk = await begin(instance, Text("Draw."))
            assert (await talk.said())[-1] == "Drawn."
            (result,) = server.requests[2].body["messages"][-1]["content"]
            assert LEFT_OUT.format("drawn.png") in str(result)
        await model.aclose()


async def test_the_error_of_an_agent_with_a_client_of_its_own_names_the_file() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        raise ValueError from AttemptFailed("invalid_request", "acme refused the request.", status_code=400)
        yield ""

    async with running(agent) as instance:
        talk = await begin(instance, Text("What is this?"), image("bad.png"))
        assert "acme refused the request. The message has the file bad.png" in await last_error(talk)


def test_the_least_recently_used_chat_is_forgotten() -> None:
    refused = RefusedFiles()
    for number in range(CHATS_MAX):
        refused.put((str(number), "p", "m"), frozenset({number}))
    assert refused.get(("0", "p", "m")) == {0}
    refused.put(("another", "p", "m"), frozenset({1}))
    assert refused.get(("0", "p", "m")) == {0}
    assert refused.get(("1", "p", "m")) == frozenset()
