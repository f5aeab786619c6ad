"""Wrapping an SDK of one's own: any OpenAI-compatible server, called by the official SDK.

Tools that an SDK runs by itself run inside the agent: after `kill -9` the turn runs again, and they may run twice.
Run them with `turn.call`, or make them idempotent (docs/how-to/wrap-a-framework.md).

Run it: OPENAI_API_KEY=… ./dev run examples/openai_sdk.py:agent   (OPENAI_BASE_URL for another server)
"""

import os
from collections.abc import AsyncIterator

import openai

from antiphon import AgentError, Turn
from antiphon.core.parts import text_of


async def agent(turn: Turn) -> AsyncIterator[str]:
    model = os.environ.get("EXAMPLE_MODEL", "gpt-4o-mini")
    history = [
        {"role": message.role.value, "content": text_of(message.content)}
        for message in turn.messages
        if message.role in ("user", "assistant")
    ]
    await turn.start_call(model=model, provider="openai")
    async with openai.AsyncOpenAI(max_retries=0) as client:
        try:
            stream = await client.chat.completions.create(
                model=model, messages=history, stream=True, stream_options={"include_usage": True}
            )
            async for chunk in stream:
                if chunk.usage is not None:
                    turn.add_usage(
                        input_tokens=chunk.usage.prompt_tokens, output_tokens=chunk.usage.completion_tokens
                    )
                for choice in chunk.choices:
                    if choice.delta.content:
                        yield choice.delta.content
        except openai.RateLimitError as error:
            raise AgentError("rate_limit", "The provider asks for a pause.", provider="openai") from error
        except openai.APIConnectionError as error:
            raise AgentError("network", "The provider cannot be reached.", provider="openai") from error
