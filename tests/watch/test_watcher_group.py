"""The watchers of one connection are closed, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon.errors import Unavailable
from antiphon.watch.watcher_group import WatcherGroup

pytestmark = pytest.mark.anyio


class UnreadableWatcher:
    """Its next events cannot be read from the store."""

    on_wake = None
    is_behind = True
    is_closed = False

    async def next_old_batch(self) -> None:
        raise Unavailable("the store")


class Texts:
    def ended(self, chat_id: str, reason: str) -> str:
        return reason


@pytest.mark.parametrize("switches", range(4))
async def test_a_connection_that_is_lost_while_a_watch_ends_leaves_no_watcher(switches: int) -> None:
    opened: list[int] = []

    @asynccontextmanager
    async def open_watcher() -> AsyncIterator[Any]:
        opened.append(1)
        try:
            yield UnreadableWatcher()
        finally:
            opened.pop()

    group: Any = WatcherGroup(Texts(), owner_id="", token_id="")  # type: ignore[arg-type]
    await group.add("a chat", open_watcher())
    assert group.next_batch_nowait() is None, "it is being read"
    for _ in range(switches):
        await asyncio.sleep(0)
    await group.aclose()
    assert not opened
