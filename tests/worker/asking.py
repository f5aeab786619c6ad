"""How the tests of the OpenAI model ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from antiphon.core.draft import Draft
from antiphon.core.parts import (
    PartMetadata,
    Role,
    Text,
    ToolCall,
    Usage,
)
from antiphon.errors import AttemptFailed
from antiphon.models.openai import OpenAIModel
from antiphon.ports import AnswerEnded, Message, ModelEvent, ModelRequest, ToolSpec
from antiphon.testing.model_server import FakeModelServer

KEY = "sk-canary-0123456789"
PROMPT = "the prompt canary"


@asynccontextmanager
async def opened(server: FakeModelServer, **limits: float) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel("test-model", api_key=KEY, base_url=server.base_url, **limits)
    try:
        yield model
    finally:
        await model.aclose()


def request(
    *messages: Message, system: str = "", tools: tuple[ToolSpec, ...] = (), model: str = "test-model"
) -> ModelRequest:
    asked = messages or (Message(id=2, role=Role.USER, content=(Text(PROMPT),)),)
    return ModelRequest(chat_id="c", turn_id=2, model=model, system=system, messages=asked, tools=tools)


async def answer(server: FakeModelServer, asked: ModelRequest | None = None, **limits: float) -> list[ModelEvent]:
    async with opened(server, **limits) as model:
        return [event async for event in model.stream(asked or request())]


async def failure(server: FakeModelServer, asked: ModelRequest | None = None, **limits: float) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as failed:
        await answer(server, asked, **limits)
    assert failed.value.provider == "openai"
    assert KEY not in str(failed.value)
    assert PROMPT not in str(failed.value)
    return failed.value


def text(events: Sequence[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def calls(events: Sequence[ModelEvent]) -> list[ToolCall]:
    """The calls as a draft makes them, which takes arguments for those of the call opened last."""
    draft = Draft(1)
    for event in events:
        if not isinstance(event, Usage | AnswerEnded | PartMetadata):
            draft.write(event)
    return [part for part in draft.content() if isinstance(part, ToolCall)]
