"""The model and the tool of a simulation. The model numbers its tokens (`c<call>t<n> `), and notes who lets it run on
though the chat is no longer theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from antiphon.core.parts import Role, Text, ToolCallArgs, ToolCallOpened, Usage, text_of
from antiphon.errors import AttemptFailed
from antiphon.ports import ModelEvent, ModelRequest
from antiphon.testing.evidence import ModelCall, ToolRun
from antiphon.worker.tools import Tool, ToolContext, tool
from support.simulated_world import World

if TYPE_CHECKING:
    from support.simulated_process import Process

FENCED_S = 3.0
"""A worker that lost a chat stops spending on it within this time, in seconds."""


class Rehearsed:
    """What all models and tools of a simulation have seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random("model")
        self.calls: list[ModelCall] = []
        self.runs: list[ToolRun] = []
        self.number = 0

    def next_call(self, chat_id: str, token_count: int) -> int:
        self.number += 1
        tokens = tuple(f"c{self.number}t{i} " for i in range(1, token_count + 1))
        self.calls.append(ModelCall(number=self.number, tokens=tokens, chat_id=chat_id))
        return self.number


class SimulatedModel:
    """`n=12` in the last message asks for that number of tokens, `slow` for five a second, `tool` for two calls
    first."""

    provider = "simulated"
    name = "simulated"

    def __init__(self, rehearsed: Rehearsed, process: Process) -> None:
        self._rehearsed = rehearsed
        self._process = process

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        world, random = self._rehearsed.world, self._rehearsed.random
        users = [message for message in request.messages if message.role is Role.USER]
        words = text_of(users[-1].content).split() if users else []
        count = max(3, *(int(word[2:]) for word in words if word.startswith("n=")), 3)
        wants_tool = "tool" in words and request.messages[-1].role is not Role.TOOL
        number = self._rehearsed.next_call(request.chat_id, count)
        attempt = self._attempt(request.chat_id)
        world.note(f"model call {number} for {request.chat_id[:8]} attempt {attempt}: {' '.join(words)}")
        pause_s = 0.2 if "slow" in words else random.uniform(0.005, 0.03)
        yield Usage(input_tokens=10)
        fails_at = random.randint(0, count) if random.random() < 0.05 and not world.is_calm else -1
        for i in range(1, (3 if wants_tool else count) + 1):
            await asyncio.sleep(pause_s)
            self._check_spending(request.chat_id, attempt)
            if i == fails_at:
                raise AttemptFailed("server", "the model broke off")
            token = f"c{number}t{i} "
            yield Text(token)
            yield Usage(input_tokens=10, output_tokens=i)
        if wants_tool:
            for name in ("a", "b"):
                yield ToolCallOpened(f"{name}{number}", "note")
                yield ToolCallArgs(f'{{"text":"{name}"}}')

    async def aclose(self) -> None:
        """Nothing is open."""

    def _attempt(self, chat_id: str) -> int:
        chat = self._rehearsed.world.memory.peek(chat_id)
        return chat.attempt if chat and chat.holder == self._process.instance_id else 0

    def _check_spending(self, chat_id: str, attempt: int) -> None:
        """The time counts from when the process could know: awake, and with a store that answers."""
        world = self._rehearsed.world
        fenced_at = world.fenced_at.get((chat_id, attempt)) if attempt else world.deleted_at.get(chat_id)
        if fenced_at is None:
            return
        since = max(fenced_at, self._process.woken_at, self._process.trouble_at, world.down_until)
        if world.loop.time() - since > FENCED_S:
            late_s = world.loop.time() - since
            what = f"{self._process.host.name} spends {late_s:.1f} s after attempt {attempt} was lost"
            world.broken("BUDGET", chat_id, what)


def make_tool(rehearsed: Rehearsed) -> Tool:
    @tool
    async def note(text: str, context: ToolContext) -> str:
        """Write something down."""
        rehearsed.runs.append(ToolRun(chat_id=context.chat_id, tool_call_id=context.tool_call_id))
        rehearsed.world.note(f"tool {context.tool_call_id} of {context.chat_id[:8]}")
        await asyncio.sleep(0.05)
        return text

    return note
