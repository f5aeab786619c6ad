"""What every attempt of a worker shares, and its limits."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.core.parts import CALLS_MAX
from antiphon.core.values import Value
from antiphon.ports import Bus, Work
from antiphon.worker.draft_writer import ANSWER_BYTES_MAX
from antiphon.worker.history import Histories
from antiphon.worker.tools import Tool
from antiphon.worker.turn import Turn


class Limits(Value):
    """A worker's limits; seconds."""

    tool_s: float = 300.0
    tries_max: int = 5
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    action_s: float = 24 * 3600.0
    answer_bytes: int = ANSWER_BYTES_MAX
    calls: int = CALLS_MAX


class Environment(Value, gc=True):
    """What every attempt of a worker shares."""

    work: Work
    bus: Bus
    drafts: LiveDrafts
    histories: Histories
    agent: Callable[[Turn], AsyncIterator[Any]]
    tools: dict[str, Tool]
    limits: Limits
    random: random.Random
    config: dict[str, Any]
    default_model: Callable[[], str]
    prompt_of: Callable[[str], Awaitable[str]]
    """What an owner wants every model to be told first."""
