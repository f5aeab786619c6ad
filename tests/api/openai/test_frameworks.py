"""Antiphon as a model of other frameworks: their own model classes, unchanged, pointed at a real server."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ASKED = '/say a\n/call pick {"x": 3}\n/say b'


@pytest.mark.parametrize("kind", ["responses", "chat"])
async def test_pydantic_ai_runs_its_tools_and_streams(client: AsyncOpenAI, kind: str) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(openai_client=client)
    models: dict[str, Any] = {"responses": OpenAIResponsesModel, "chat": OpenAIChatModel}
    agent = Agent(models[kind]("rehearsal", provider=provider), instructions="be brief")
    ran: list[int] = []

    @agent.tool_plain
    def pick(x: int) -> str:
        """Pick."""
        ran.append(x)
        return "7"

    result = await agent.run(ASKED)
    assert (result.output, ran) == ("b", [3])
    more = await agent.run("/say again", message_history=result.all_messages())
    assert more.output == "again"
    async with agent.run_stream("/tokens 5") as stream:
        texts = [text async for text in stream.stream_text(delta=True, debounce_by=None)]
    assert "".join(texts) == "w1 w2 w3 w4 w5 "


@pytest.mark.parametrize("kind", ["responses", "chat"])
async def test_the_agents_sdk_runs_its_tools_and_streams(client: AsyncOpenAI, kind: str) -> None:
    from agents import (
        Agent,
        OpenAIChatCompletionsModel,
        OpenAIResponsesModel,
        Runner,
        function_tool,
        set_tracing_disabled,
    )

    set_tracing_disabled(True)
    ran: list[int] = []

    @function_tool
    def pick(x: int) -> str:
        """Pick."""
        ran.append(x)
        return "7"

    models: dict[str, Any] = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}
    agent = Agent(
        name="a", instructions="be brief", tools=[pick], model=models[kind]("rehearsal", openai_client=client)
    )
    result = await Runner.run(agent, ASKED)
    assert (result.final_output, ran) == ("b", [3])
    again = await Runner.run(agent, [*result.to_input_list(), {"role": "user", "content": "/say again"}])
    assert again.final_output == "again"
    streamed = Runner.run_streamed(agent, "/tokens 5")
    deltas = [
        event.data.delta
        async for event in streamed.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(deltas) == streamed.final_output == "w1 w2 w3 w4 w5 "
