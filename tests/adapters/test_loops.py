"""A person's own loop over the package of a provider: reasoning goes back as it came, and usage is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from antiphon import Turn, tool
from antiphon.core.parts import Reasoning
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer
from worker.running import ask, running

if TYPE_CHECKING:  # imported when the first test of the file runs
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

    from antiphon.adapters import anthropic_history, openai_history

pytestmark = pytest.mark.anyio


@tool
def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


async def test_reasoning_in_a_field_of_its_own_goes_back_in_this_field() -> None:
    async with FakeModelServer() as server, AsyncOpenAI(base_url=server.base_url, api_key="k") as client:
        server.plan(
            Answer(reasoning="hm", text="So. ", calls=(FakeCall("pay", {"amount": 5}),)), Answer(text="Done.")
        )

        async def agent(turn: Turn) -> AsyncIterator[Any]:
            while True:
                request = await openai_history.request_of(turn)
                async with client.chat.completions.stream(model="m", **request) as stream:
                    async for piece in openai_history.pieces_of(turn, stream):
                        yield piece
                calls = openai_history.calls_of((await stream.get_final_completion()).choices[0].message)
                if not calls:
                    return
                await turn.call(*calls)

        async with running(agent, tools=(pay,)) as instance:
            talk = await ask(instance)
            chat = await talk.wait_ended()
            assert await talk.said() == ["So. ", "Done."]
            assert chat.usage.input_tokens == 20
        sent = server.requests[-1].body["messages"][1]
        assert (sent["reasoning_content"], sent["content"]) == ("hm", "So. ")


async def test_thinking_goes_back_with_its_signature() -> None:
    async with FakeModelServer() as server:
        base_url = server.base_url.removesuffix("/v1")
        server.plan(
            Answer(reasoning="hm", text="So. ", calls=(FakeCall("pay", {"amount": 5}),)), Answer(text="Done.")
        )

        async def agent(turn: Turn) -> AsyncIterator[Any]:
            while True:
                options: dict[str, Any] = {"model": "m", "max_tokens": 100} | await anthropic_history.request_of(turn)
                async with client.messages.stream(**options) as stream:
                    async for piece in anthropic_history.pieces_of(turn, stream):
                        yield piece
                if not (calls := anthropic_history.calls_of(await stream.get_final_message())):
                    return
                await turn.call(*calls)

        async with (
            AsyncAnthropic(base_url=base_url, api_key="k") as client,
            running(agent, tools=(pay,)) as instance,
        ):
            talk = await ask(instance, system="Be brief.")
            chat = await talk.wait_ended()
            assert await talk.said() == ["So. ", "Done."]
            _, (_, said), *_ = await talk.history()
            assert isinstance(said[0], Reasoning)
            assert said[0].text == "hm"
            assert chat.usage.input_tokens == 20
        body = server.requests[-1].body
        assert body["system"] == "Be brief."
        assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "text", "tool_use"]
        assert body["messages"][1]["content"][0]["signature"]
