"""Watchers of chats that another instance on the store writes, without hints between the instances."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.chats.live_drafts import LiveDrafts
from antiphon.cluster.bus_link import BusLink
from antiphon.cluster.relay import RelayedDrafts
from antiphon.core import commands as c
from antiphon.core.draft import Draft
from antiphon.core.parts import Text
from antiphon.errors import Unavailable
from antiphon.options import Timing, WatchTiming
from antiphon.ports import FlushedDelta, Notification
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.store import WrappedStore
from antiphon.testing.stored_chat import StoredChat
from antiphon.watch.watch import Watch
from antiphon.wire import codec
from support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.anyio

QUICK_POLLS = Timing(watch=WatchTiming(poll_s=0.05))


class SharedStore(WrappedStore):
    """Closing it leaves the inner store open."""

    is_shared = True
    is_away = False

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        if self.is_away:
            raise Unavailable("the database does not answer")
        return await super().new_notifications(owner_ids, since)

    async def aclose(self) -> None: ...


@asynccontextmanager
async def two_instances(
    clock: FakeClock | None = None,
    timing: Timing = Timing(),  # noqa: B008 - a value
) -> AsyncIterator[tuple[Instance, Instance]]:
    """Two instances on one store, each with a bus of its own: every hint between them is lost."""
    inner = MemoryStore(clock=clock or FakeClock(tick_us=1), is_shared=True)
    async with (
        open_instance(store=SharedStore(inner), bus=MemoryBus(), drain_s=0, timing=timing) as one,
        open_instance(store=SharedStore(inner), bus=MemoryBus(), drain_s=0, timing=timing) as other,
    ):
        yield one, other


@asynccontextmanager
async def small_polls(instance: Instance) -> AsyncIterator[Watch]:
    """Watchers on the store of an instance, in whose polls a query returns two chats."""
    watch = Watch(
        service=instance.service,
        store=instance.store,
        bus=MemoryBus(),
        drafts=LiveDrafts(),
        changed_max=2,
        timing=WatchTiming(poll_s=3600),
    )
    await watch.start()
    polling = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        polling.cancel()
        await asyncio.wait({polling})
        watch.close()


async def test_a_deletion_by_another_instance_closes_the_watchers() -> None:
    """Only the last fact of a deleted chat is stored, so the reader finds a gap before it."""
    async with two_instances(timing=QUICK_POLLS) as (one, other):
        chat_id = (await one.chats.create(title="t")).chat_id
        async with one.watch.open_watcher(chat_id, (1, 0)) as watcher:
            assert (await watcher.next_batch()).frames[-1].type == "caught_up"
            await other.chats.change(chat_id, c.Archive())
            await other.service.execute(chat_id, c.Delete())
            async with asyncio.timeout(DEADLINE_S):
                assert (await watcher.next_batch()).frames[-1].type == "chat_deleted"
                assert (await watcher.next_batch()).frames[-1].type == "bye"
        assert one.problems() == []
        assert not one.background.done()


async def test_a_poll_continues_until_it_has_read_every_changed_chat() -> None:
    """More chats than one query returns: they need not wait for the next poll."""
    async with (
        two_instances() as (one, other),
        small_polls(one) as watch,
        contextlib.AsyncExitStack() as watching,
    ):
        chat_ids = [(await one.chats.create(title="t")).chat_id for _ in range(7)]
        watchers = [await watching.enter_async_context(watch.open_watcher(c, (1, 0))) for c in chat_ids]
        for watcher in watchers:
            assert (await watcher.next_batch()).frames[-1].type == "caught_up"
        for chat_id in chat_ids:
            await other.chats.change(chat_id, c.Archive())
        watch.poll_soon()
        async with asyncio.timeout(DEADLINE_S):
            for watcher in watchers:
                assert (await watcher.next_batch()).frames[-1].type == "archived"


async def test_a_watcher_that_is_behind_receives_the_deletion_and_is_closed() -> None:
    async with two_instances() as (one, _):
        chat_id = (await one.chats.create(title="t")).chat_id
        for _ in range(3):
            await one.chats.change(chat_id, c.Archive())
            await one.chats.change(chat_id, c.Unarchive())
        async with one.watch.open_watcher(chat_id, (2, 0)) as watcher:
            await one.service.execute(chat_id, c.Delete())
            async with asyncio.timeout(DEADLINE_S):
                seen = [frame.type for _ in range(2) for frame in (await watcher.next_batch()).frames]
            assert seen[-2:] == ["chat_deleted", "bye"]
            assert watcher.is_closed


async def test_a_notification_made_during_a_long_outage_is_streamed_after_it() -> None:
    clock = FakeClock(tick_us=1)
    async with two_instances(clock, QUICK_POLLS) as (one, other), one.watch.open_feed(one.owner_id) as feed:
        one.store.is_away = True
        await wait_until(lambda: any(problem.startswith("poll: ") for problem in one.problems()))
        await other.chats.create(content="/rate 0")
        await wait_until(lambda: other.inbox.count_unread(other.owner_id))
        clock.advance(60)
        one.store.is_away = False
        async with asyncio.timeout(DEADLINE_S):
            while "inbox" not in [frame.type for frame in await feed.next_batch()]:
                pass


async def test_an_owner_created_by_another_instance_enables_the_limits_of_each_owner() -> None:
    async with two_instances(timing=Timing(check_s=0.05)) as (one, other):
        assert not one.watch.has_owner_limit
        await other.tokens.create("second")
        await wait_until(lambda: one.watch._owner_watchers_max == one.options.owner_watchers_max)
        assert one.slots.owner_max == one.options.concurrency // 2


async def test_a_watcher_sees_the_flushed_draft_of_an_instance_that_does_not_respond() -> None:
    store, bus = MemoryStore(clock=FakeClock(tick_us=1), is_shared=True), MemoryBus()
    async with open_instance(store=SharedStore(store), bus=bus, drain_s=0) as one:
        chat = StoredChat(store, "c")
        await chat.create(owner_id=one.owner_id, said="hi")
        await chat.start("a frozen instance")
        written = Draft(chat.chat.draft)
        delta = written.write(Text("as far as written"))
        assert delta is not None
        await store.flush(
            [FlushedDelta(chat_id="c", draft=delta.draft, from_=0, to=delta.to, body=codec.encode(delta))]
        )
        drafts = RelayedDrafts(LiveDrafts(), BusLink(bus, one.instance_id), instance_id=one.instance_id)
        watching = Watch(service=one.service, store=store, bus=bus, drafts=drafts)
        async with watching.open_watcher("c", (chat.chat.seq, 0)) as watcher, asyncio.timeout(DEADLINE_S):
            assert b"as far as written" in (await watcher.next_batch()).data
        watching.close()
        drafts.close()
