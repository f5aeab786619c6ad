"""How a reader wakes its watchers, and what followers and watchers of one process are handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.core import commands as c
from antiphon.core.events import Delta
from antiphon.core.facts import Entry
from antiphon.core.model import Chat
from antiphon.ports import Append
from antiphon.server.open_instance import open_instance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.store import WrappedStore
from antiphon.testing.stored_chat import StoredChat
from antiphon.watch.owner_follower import OwnerFollower
from antiphon.watch.recent_facts import FACTS_MAX
from antiphon.wire.stream import Frame
from support.waiting import wait_until

pytestmark = pytest.mark.anyio


class CountingWatcher:
    def __init__(self, *, fails: bool) -> None:
        self.wakes = 0
        self._fails = fails

    def wake(self) -> None:
        self.wakes += 1
        if self._fails:
            raise RuntimeError("this watcher fails")

    def notify(self, kind: str, notice: Frame) -> None: ...


async def test_a_watcher_that_fails_does_not_keep_the_others_from_being_woken() -> None:
    async with open_instance() as instance:
        chat_id = (await instance.chats.create()).chat_id
        reader = await instance.watch.acquire_reader(chat_id)
        failing, other = CountingWatcher(fails=True), CountingWatcher(fails=False)
        reader.watchers |= {failing: None, other: None}
        await instance.chats.send(chat_id, "/say one")
        await wait_until(lambda: other.wakes, "the other watcher is woken")
        assert failing.wakes, "it was woken before"
        for watcher in (failing, other):
            del reader.watchers[watcher]
        instance.watch.release_reader(reader)


class Consumer:
    def __init__(self) -> None:
        self.appended: list[Append] = []

    def on_append(self, append: Append) -> None:
        self.appended.append(append)

    def on_deltas(self, chat_id: str, deltas: Sequence[Delta]) -> None: ...

    def on_skipped(self, chat_id: str) -> None: ...


async def test_a_follower_is_closed_although_a_hint_named_a_seq_that_the_chat_never_reaches() -> None:
    async with open_instance() as instance:
        consumer = Consumer()
        follower = OwnerFollower(
            instance.owner_id,
            service=instance.service,
            store=instance.store,
            bus=instance.bus,
            watch=instance.watch,
            consumer=consumer,
        )
        follower.start()
        chat_id = (await instance.chats.create(content="/say one")).chat_id
        follower.follow(chat_id, 10**15)
        await wait_until(lambda: consumer.appended, "the chat's facts are handed over")
        await wait_until(lambda: not len(follower), "the follower of the idle chat is closed")
        follower.stop()


class SlowLoads(WrappedStore):
    """While `may_load` is clear, the state of a chat is read slowly, its facts are not."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.waiting = self.read = 0

    async def load(self, chat_id: str) -> Chat | None:
        self.waiting += not self.may_load.is_set()
        await self.may_load.wait()
        return await super().load(chat_id)

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        entries = await super().read_entries(chat_id, after_seq, limit=limit, bytes_max=bytes_max)
        self.read += len(entries)
        return entries


@pytest.mark.parametrize("facts", [2, FACTS_MAX + 10])
async def test_a_reader_starts_although_a_poll_wants_its_facts_first(facts: int) -> None:
    store = SlowLoads(MemoryStore(clock=FakeClock(tick_us=1), is_shared=True))
    async with open_instance(store=store) as instance:
        chat_id = (await instance.chats.create()).chat_id
        for number in range(facts - 1):
            await instance.chats.rename(chat_id, f"title {number}")
        store.may_load.clear()
        starting = asyncio.create_task(instance.watch.acquire_reader(chat_id))
        await wait_until(lambda: store.waiting, "the reader waits for the chat's state")
        other = StoredChat(store.inner, chat_id)
        await other.load()
        await other.do(c.Rename(title="written by another process"))
        polls: list[Sequence[tuple[str, int]]] = []
        unsubscribe = instance.watch.polled.subscribe(polls.append)
        store.read = 0
        instance.watch.poll_soon()
        await wait_until(lambda: any(chat_id in dict(poll) for poll in polls[:-1]), "a poll has handled the change")
        unsubscribe()
        assert store.read == 0, "no history is read for it"
        store.may_load.set()
        reader = await starting
        assert reader.seq == facts + 1
        instance.watch.release_reader(reader)


class SilentBus(MemoryBus):
    """Counts the messages of the channels of chats and owners."""

    def __init__(self) -> None:
        super().__init__()
        self.published = 0

    def publish_nowait(self, channel: str, message: bytes) -> None:
        self.published += channel.startswith("chat:")
        super().publish_nowait(channel, message)


async def test_within_one_process_an_append_is_handed_over_without_a_message() -> None:
    async with open_instance(bus=(bus := SilentBus())) as instance:
        chat_id = (await instance.chats.create()).chat_id
        async with (
            instance.watch.open_feed(instance.owner_id) as feed,
            instance.watch.open_watcher(chat_id, (0, 0)) as watcher,
        ):
            assert [frame.type for frame in await feed.next_batch()] == ["resync"]
            await instance.chats.send(chat_id, "/tokens 3")
            types: list[str] = []
            while "turn_ended" not in types:
                types += [frame.type for frame in (await watcher.next_batch()).frames]
            assert {frame.type for frame in await feed.next_batch()} == {"chat"}
        assert bus.published == 0
        unsubscribe = bus.subscribe(f"chat:stream:{chat_id}", lambda message: None)
        await instance.chats.send(chat_id, "/say two")
        assert bus.published > 0, "another subscriber gets the hints"
        unsubscribe()
