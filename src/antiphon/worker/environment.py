"""Everything that the attempts of a worker share, and their limits."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.chats.spending import Spending
from antiphon.core.model import Chat
from antiphon.core.parts import CALLS_MAX
from antiphon.core.values import Value
from antiphon.options import Limits, WorkerTiming
from antiphon.ports import Bus, Work
from antiphon.worker.child_chats import ChildChats
from antiphon.worker.deps import MakeDeps
from antiphon.worker.draft_writer import ANSWER_BYTES_MAX
from antiphon.worker.file_budget import FileBudget
from antiphon.worker.history import Histories
from antiphon.worker.tools import Tool
from antiphon.worker.turn import Turn


class WorkerLimits(Value):
    """Limits of a turn."""

    tool_s: float = 300.0
    """How long a tool may run that has no limit of its own, in seconds."""
    tries_max: int = 5
    """Maximum number of tries of one step of a turn."""
    action_s: float = 24 * 3600.0
    """How long a turn waits for a required action of a client, in seconds."""
    answer_bytes: int = ANSWER_BYTES_MAX
    """Maximum size of one answer, in bytes."""
    calls: int = CALLS_MAX
    """Maximum number of tool calls in one answer."""
    state_bytes: int = 256 * 1024
    """Maximum size of an agent's state, as JSON in bytes."""
    file_bytes: int = 8 * 1024 * 1024
    """Maximum size of an uploaded file that is sent to a model, in bytes."""
    files_bytes: int = 24 * 1024 * 1024
    """Maximum size of all uploaded files in one request to a model, in bytes."""
    turn_files_bytes: int = 512 * 1024 * 1024
    """Maximum size of all files that one attempt of a turn stores, in bytes."""

    @staticmethod
    def of(limits: Limits) -> WorkerLimits:
        """The limits that the options of an instance set."""
        return WorkerLimits(
            tool_s=limits.tool_s,
            action_s=limits.action_s,
            answer_bytes=limits.answer_bytes,
            calls=limits.calls,
            state_bytes=limits.state_bytes,
            file_bytes=limits.model_file_bytes,
            files_bytes=limits.model_files_bytes,
            turn_files_bytes=limits.turn_files_bytes,
        )


class ToolSource(Protocol):
    """Tools that come and go while the server runs."""

    def tools_of(self, chat: Chat) -> dict[str, Tool]:
        """The tools that a chat has from this source now, by name."""
        ...

    async def wait_started(self, chat: Chat) -> None:
        """Wait, for a bounded time, until the tools of a chat can be listed for the first time."""
        ...

    def starting(self, chat: Chat) -> tuple[str, ...]:
        """What this source still waits for since its start, and may bring tools of the chat."""
        ...

    async def wait_tool(self, chat: Chat, tool_name: str) -> tuple[str, ...]:
        """Wait, for a bounded time, for a tool that this source may still get. Returns what it still waits for."""
        ...

    async def wait_listed(self, chat: Chat) -> None:
        """Wait, for a bounded time, until changes of these tools that were reported are listed."""
        ...


class Environment(Value, gc=True):
    """Everything that the attempts of a worker share."""

    work: Work
    bus: Bus
    drafts: LiveDrafts
    histories: Histories
    agent: Callable[[Turn], AsyncIterator[Any]]
    tools: dict[str, Tool]
    make_deps: MakeDeps | None
    mcp: ToolSource
    """The tools of MCP servers."""
    child_chats: ChildChats
    limits: WorkerLimits
    file_budget: FileBudget
    """The room for files that models get."""
    timing: WorkerTiming
    random: random.Random
    config: dict[str, Any]
    default_model: Callable[[], str]
    prompt_of: Callable[[str], Awaitable[str]]
    """The owner's prompt, which precedes the system prompt of every model call."""
    spending: Spending
    """The prices of models, and the budgets of owners."""
    continues_lost: bool = False
    """Whether the next attempt gets the beginning of an unfinished answer, from which its model may go on; never
    an agent that is a function."""
    is_replayed: bool = True
    """Whether the agent is a function that starts from its beginning in every attempt (`worker.replay`)."""
