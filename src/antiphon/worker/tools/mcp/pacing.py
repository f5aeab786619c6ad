"""Limits how fast a connection to an MCP server is read, so that a flood of messages leaves the event loop free."""

from __future__ import annotations

import asyncio

MESSAGES_PER_S = 200
"""Maximum number of messages per second that are read from one server for any length of time."""
BURST = 400
"""Maximum number of messages that are read at once after a pause."""


class Pace:
    """A token bucket. A reader that exceeds it sleeps, so the server's own writes block (back-pressure)."""

    def __init__(self, *, per_s: float = MESSAGES_PER_S, burst: int = BURST) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._counted_at = asyncio.get_running_loop().time()

    async def wait(self, count: int = 1) -> None:
        """Wait until `count` further messages may be read."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._burst, self._left + (now - self._counted_at) * self._per_s) - count
        self._counted_at = now
        await asyncio.sleep(max(0.0, -self._left / self._per_s))
