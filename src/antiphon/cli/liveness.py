"""Whether the server answers, checked beside a conversation: a lost one is shown instead of an endless wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from antiphon.client import AsyncClient
from antiphon.errors import AntiphonError, InstanceMissing, Unavailable

CHECK_S = 1.0
ANSWER_S = 2.0


class Liveness:
    """`run` it as a task; `lost` says how long the server has not answered, empty while it does."""

    def __init__(self, client: AsyncClient, on_lost: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._on_lost = on_lost
        self._lost_since: float | None = None

    @property
    def lost(self) -> str:
        if self._lost_since is None:
            return ""
        return f"the server has not answered for {time.monotonic() - self._lost_since:.0f} s; trying again"

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
            return True  # a refusal is an answer
        return True
