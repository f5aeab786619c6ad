"""Agents for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from antiphon import Turn
from antiphon.core.parts import Role, Text, ToolCallArgs, ToolCallOpened, text_of
from antiphon.ports import ModelRequest
from support.waiting import wait_until


async def says_hello(turn: Turn) -> AsyncIterator[str]:
    yield "hello"


class Gate:
    """An agent that says `words` and waits until it may continue; then it says `last`."""

    def __init__(self, words: str = "words", last: str = " and more") -> None:
        self.words = words
        self.last = last
        self.is_open = asyncio.Event()
        self.running_now = self.most = self.closed = 0

    async def agent(self, turn: Turn) -> AsyncIterator[str]:
        self.running_now += 1
        self.most = max(self.most, self.running_now)
        try:
            yield self.words
            await self.is_open.wait()
            yield self.last
        finally:
            self.running_now -= 1
            self.closed += 1


class Steps:
    """A model that waits for the test before each answer: `answers` are its words, or the tools it calls."""

    provider = name = "steps"

    def __init__(self, *answers: str | tuple[str, ...]) -> None:
        self._answers = iter(answers)
        self.requests: list[ModelRequest] = []
        self.go_on = asyncio.Semaphore(0)

    async def stream(self, request: ModelRequest) -> AsyncIterator[Any]:
        self.requests.append(request)
        await self.go_on.acquire()
        answer = next(self._answers)
        if isinstance(answer, str):
            yield Text(answer)
            return
        for n, name in enumerate(answer):
            yield ToolCallOpened(f"{name} {len(self.requests)}.{n}", name)
            yield ToolCallArgs("{}")

    async def aclose(self) -> None: ...

    async def asked(self, count: int) -> list[tuple[Role, str]]:
        """What the model is shown in its `count`th call."""
        await wait_until(lambda: len(self.requests) >= count)
        return [(message.role, text_of(message.content)) for message in self.requests[count - 1].messages]
