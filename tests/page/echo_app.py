"""An agent that repeats the message: answers with any text."""

from __future__ import annotations

from collections.abc import AsyncIterator

from antiphon import Turn


async def agent(turn: Turn) -> AsyncIterator[str]:
    yield turn.text
