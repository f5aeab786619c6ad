"""Watchers of a chat that another instance writes, on one store: what this one has not seen is gone when it looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from antiphon.app import Instance, open_instance
from antiphon.bus.memory import MemoryBus
from antiphon.chats import watch
from antiphon.core import commands as c
from antiphon.store.memory import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.store import WrappedStore

pytestmark = pytest.mark.anyio


class SharedStore(WrappedStore):
    """Closing it leaves the inner store open."""

    is_shared = True

    async def aclose(self) -> None: ...


@asynccontextmanager
async def two_instances() -> AsyncIterator[tuple[Instance, Instance]]:
    """Over one store, each with a bus of its own: every hint between them is lost."""
    inner = MemoryStore(clock=FakeClock(tick_us=1), is_shared=True)
    async with (
        open_instance(store=SharedStore(inner), bus=MemoryBus(), drain_s=0) as one,
        open_instance(store=SharedStore(inner), bus=MemoryBus(), drain_s=0) as other,
    ):
        yield one, other


async def test_a_chat_that_was_changed_and_deleted_elsewhere_ends_its_watchers_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A deleted chat leaves no fact but its last, so the reader finds a hole before it."""
    monkeypatch.setattr(watch, "POLL_S", 0.05)
    async with two_instances() as (one, other):
        chat_id = (await one.chats.create(title="t")).chat_id
        async with one.watch.open_watcher(chat_id, (1, 0)) as watcher:
            assert (await watcher.take()).frames[-1].type == "caught_up"
            await other.chats.change(chat_id, c.Archive())
            await other.service.execute(chat_id, c.Delete())
            async with asyncio.timeout(10):
                assert (await watcher.take()).frames[-1].type == "chat_deleted"
                assert (await watcher.take()).frames[-1].type == "bye"
        assert one.problems() == []
        assert not one.background.done()


async def test_a_watcher_that_is_far_behind_when_its_chat_is_deleted_is_told_so_and_ended() -> None:
    async with two_instances() as (one, _):
        chat_id = (await one.chats.create(title="t")).chat_id
        for _ in range(3):
            await one.chats.change(chat_id, c.Archive())
            await one.chats.change(chat_id, c.Unarchive())
        async with one.watch.open_watcher(chat_id, (2, 0)) as watcher:
            await one.service.execute(chat_id, c.Delete())
            async with asyncio.timeout(10):
                seen = [frame.type for _ in range(2) for frame in (await watcher.take()).frames]
            assert seen[-2:] == ["chat_deleted", "bye"]
            assert watcher.is_over
