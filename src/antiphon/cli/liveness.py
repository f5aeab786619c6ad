"""A liveness check of the server beside a conversation, so that a lost server is shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from antiphon.client import AsyncClient
from antiphon.errors import AntiphonError, InstanceMissing, Unavailable

CHECK_S = 1.0
"""Time between two checks, in seconds."""
ANSWER_S = 2.0
"""How long to wait for the response to a check, in seconds."""


class Liveness:
    """Run `run` as a task. `lost` is a sentence while the server does not respond, otherwise empty."""

    def __init__(self, client: AsyncClient, on_lost: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._on_lost = on_lost
        self._lost_since: float | None = None

    @property
    def lost(self) -> str:
        if self._lost_since is None:
            return ""
        return f"the server has not responded for {time.monotonic() - self._lost_since:.0f} s; retrying"

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            if await self._answers():
                self._lost_since = None
            elif self._lost_since is None:
                self._lost_since = time.monotonic()
                self._on_lost()
            await asyncio.sleep(CHECK_S)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._client.chats(limit=1)
        except (TimeoutError, InstanceMissing, Unavailable):
            return False
        except AntiphonError:
            return True  # a refusal is a response
        return True
