"""Watchers in special cases: facts appended while older ones are read, failing reads, limits, hidden messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.chats.owned import OwnedChats
from antiphon.chats.service import Service
from antiphon.clock import RandomIds
from antiphon.core import commands as c
from antiphon.core.facts import Entry
from antiphon.core.model import Status
from antiphon.errors import TooMany, Unavailable
from antiphon.options import Timing, WatchTiming
from antiphon.ports import Append
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.store import WrappedStore
from antiphon.watch.watcher import Watcher
from support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.anyio

OWN = ("caught_up", "delta", "ping")


class HeldStore(WrappedStore):
    """Its reads of facts can be delayed, or fail for some chats."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(clock=FakeClock(tick_us=1)))
        self.gate: asyncio.Event | None = None
        self.has_delayed_read = asyncio.Event()
        self.failing: dict[str, int] = {}

    async def read_entries(self, chat_id: str, after_seq: int, **how: Any) -> tuple[Entry, ...]:
        if self.failing.get(chat_id):
            self.failing[chat_id] -= 1
            raise Unavailable("the disk failed once")
        entries = await super().read_entries(chat_id, after_seq, **how)
        if self.gate is not None and how["limit"] < 1000:
            self.has_delayed_read.set()
            await self.gate.wait()
        return entries


class LossyBus(MemoryBus):
    """Loses every hint."""

    def publish_nowait(self, channel: str, message: bytes) -> None:
        """Drop the message."""


@asynccontextmanager
async def instance_on(store: HeldStore, **how: Any) -> AsyncIterator[Instance]:
    async with open_instance(store=store, drain_s=0, **how) as instance:
        yield instance


async def seen_by(watcher: Watcher, upto: int) -> list[int]:
    """The seqs of the facts that a watcher receives, up to `upto`."""
    seen: list[int] = []
    async with asyncio.timeout(DEADLINE_S):
        while not seen or seen[-1] < upto:
            seen += [f.seq for f in (await watcher.next_batch()).frames if f.type not in OWN and f.seq is not None]
    return seen


async def test_facts_appended_while_older_ones_are_read_leave_no_gap() -> None:
    """The newer facts are so large that they evict those that follow the read ones."""
    store = HeldStore()
    async with instance_on(store) as instance:
        chats = instance.chats
        chat_id = (await chats.create(title="t")).chat_id
        for i in range(60):
            await chats.change(chat_id, c.Rename(title=f"t{i}"))
        seq = (await chats.get(chat_id)).seq
        async with instance.watch.open_watcher(chat_id, (seq, 0)) as first:
            for i in range(10):
                await chats.change(chat_id, c.Rename(title=f"u{i}"))
            await seen_by(first, seq + 10)
            store.gate = asyncio.Event()
            async with instance.watch.open_watcher(chat_id, (5, 0)) as late:
                reading = asyncio.create_task(seen_by(late, seq + 12))
                await store.has_delayed_read.wait()
                for word in ("x ", "y "):
                    sent = await chats.send(chat_id, word * 300_000)
                    while first.reader.seq < sent.entries[0].seq:
                        await asyncio.sleep(0)
                store.gate.set()
                seen = await reading
        assert seen == list(range(6, 6 + len(seen)))


async def test_a_poll_that_fails_for_one_chat_refreshes_the_others_and_is_repeated() -> None:
    store = HeldStore()
    async with instance_on(store, bus=LossyBus()) as instance:
        chats, watch = instance.chats, instance.watch
        ids = [(await chats.create(title=name)).chat_id for name in "ab"]
        await watch._poll()
        async with watch.open_watcher(ids[0], (1, 0)) as first, watch.open_watcher(ids[1], (1, 0)) as second:
            store.failing = {ids[0]: 1}
            other = OwnedChats(Service(store=store, bus=MemoryBus(), ids=RandomIds()), instance.owner_id, store=store)
            for chat_id in ids:
                await other.change(chat_id, c.Rename(title="new"))
            with pytest.raises(Unavailable):
                await watch._poll()
            assert await seen_by(second, 2) == [2]
            await watch._poll()
            assert await seen_by(first, 2) == [2]


async def test_streams_of_a_revoked_token_end_without_waiting_for_the_poll() -> None:
    async with instance_on(HeldStore(), timing=Timing(watch=WatchTiming(poll_s=3600))) as instance:
        chat_id = (await instance.chats.create()).chat_id
        token_id = (await instance.tokens.create("another")).token.token_id
        async with (
            instance.watch.open_watcher(chat_id, (1, 0), token_id=token_id) as watcher,
            instance.watch.open_watcher(chat_id, (1, 0), token_id="unrelated") as other,
            asyncio.timeout(DEADLINE_S),
        ):
            await watcher.next_batch()
            await instance.tokens.revoke(token_id)
            assert b'"revoked"' in (await watcher.next_batch()).data
            assert watcher.is_closed
            assert not other.is_closed


async def test_a_subscriber_that_fails_does_not_affect_others() -> None:
    async with instance_on(HeldStore()) as instance:
        seen: list[int] = []

        def fail(append: Append) -> None:
            raise ValueError("failed")

        instance.service.appended.subscribe(fail)
        unsubscribe = instance.service.appended.subscribe(lambda append: seen.append(append.chat.seq))
        chat_id = (await instance.chats.create(title="t")).chat_id
        assert (await instance.chats.change(chat_id, c.Rename(title="u"))).chat.title == "u"
        unsubscribe()
        await instance.chats.change(chat_id, c.Rename(title="v"))
        assert seen == [1, 2]


async def test_the_limit_of_watchers_counts_those_being_opened() -> None:
    async with instance_on(HeldStore(), watchers_max=5) as instance:
        chat_id = (await instance.chats.create()).chat_id
        done = asyncio.Event()

        async def watch() -> bool:
            try:
                async with instance.watch.open_watcher(chat_id, None):
                    await done.wait()
            except TooMany:
                return False
            return True

        tasks = [asyncio.create_task(watch()) for _ in range(50)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await wait_until(lambda: len(instance.watch) >= 5)
        done.set()
        assert sum(await asyncio.gather(*tasks)) == 5


@pytest.mark.parametrize("is_watched", [True, False])
async def test_a_message_hidden_by_an_edit_is_streamed_without_its_content(is_watched: bool) -> None:
    async with instance_on(HeldStore()) as instance:
        chats = instance.chats
        chat_id = (await chats.create(content="my secret is 12345")).chat_id
        async with asyncio.timeout(DEADLINE_S):
            while (await chats.get(chat_id)).status is not Status.WAITING:
                await asyncio.sleep(0)
        seq = (await chats.get(chat_id)).seq
        async with instance.watch.open_watcher(chat_id, (seq if is_watched else 0, 0)) as other:
            if not is_watched:
                await seen_by(other, seq)
            await chats.edit(chat_id, 2, "/say edited")
            async with instance.watch.open_watcher(chat_id, (1, 0)) as watcher:
                batch = await watcher.next_batch()
                (hidden,) = [msgspec.json.decode(frame.data) for frame in batch.frames if frame.seq == 2]
        assert hidden["hidden_by"] == seq + 1
        assert "content" not in hidden["message"]
        assert b"12345" not in batch.data


@pytest.mark.parametrize("reads_all", [True, False])
async def test_a_watcher_from_the_beginning_gets_every_fact_and_one_behind_a_resync(
    reads_all: bool,
) -> None:
    async with open_instance() as instance:
        done = await instance.chats.create(title="long")
        for n in range(2_100):
            await instance.chats.change(done.chat_id, c.SetLabels(labels={"n": str(n)}))
        types: list[str] = []
        cursor = (0, 0) if reads_all else (1, 0)
        async with instance.watch.open_watcher(
            done.chat_id, cursor, owner_id=instance.owner_id, until_idle=True
        ) as watcher:
            while not watcher.is_closed:
                types += [frame.type for frame in (await watcher.next_batch()).frames]
        assert types.count("labels_changed") == (2_100 if reads_all else 0)
        assert ("resync" in types) is not reads_all
