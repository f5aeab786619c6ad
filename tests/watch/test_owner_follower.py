"""All chats of an owner are followed: through polls, bursts, errors and lost hints, each item once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from antiphon import Turn
from antiphon.bus.memory import MemoryBus
from antiphon.core import commands as c
from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.core.facts import Archived, Entry, MessageAppended, TitleChanged, TurnEnded
from antiphon.core.model import Chat
from antiphon.core.parts import CallStarted, Role, Text
from antiphon.options import Timing, WatchTiming
from antiphon.ports import Append, FlushedDelta
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.store import WrappedStore
from antiphon.testing.stored_chat import content
from antiphon.watch.owner_follower import OwnerFollower
from antiphon.wire import codec
from support.waiting import wait_until

pytestmark = pytest.mark.anyio

NO_POLLS = Timing(watch=WatchTiming(poll_s=3600.0))
"""Polls happen only when a test triggers one."""


class SharedStore(WrappedStore):
    """Answers reads after a moment, as a database does: loads of chats once `may_load` is set, and reads of facts
    once `may_read` is set. Closing it leaves the inner store open."""

    is_shared = True

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.waiting_loads = 0
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.waiting_reads = 0

    async def load(self, chat_id: str) -> Chat | None:
        self.waiting_loads += 1
        try:
            await self.may_load.wait()
            await asyncio.sleep(0.002)
        finally:
            self.waiting_loads -= 1
        return await super().load(chat_id)

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        self.waiting_reads += 1
        try:
            await self.may_read.wait()
            await asyncio.sleep(0.005)
        finally:
            self.waiting_reads -= 1
        return await super().read_entries(chat_id, after_seq, limit=limit, bytes_max=bytes_max)

    async def aclose(self) -> None: ...


class Recorder:
    """A consumer that records what it receives."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Entry]] = []
        self.appends: list[tuple[Entry, ...]] = []
        self.deltas: list[Delta] = []
        self.skipped: list[str] = []

    def on_append(self, append: Append) -> None:
        self.entries += [(append.chat_id, entry) for entry in append.entries]
        self.appends.append(append.entries)

    def on_deltas(self, chat_id: str, deltas: Sequence[Delta]) -> None:
        self.deltas += deltas

    def on_skipped(self, chat_id: str) -> None:
        self.skipped.append(chat_id)

    def chats_with(self, fact: type) -> list[str]:
        """The chat of each fact of this type that was handed over."""
        return [chat_id for chat_id, entry in self.entries if isinstance(entry.fact, fact)]

    def seqs(self, chat_id: str) -> list[int]:
        return [entry.seq for of_chat, entry in self.entries if of_chat == chat_id]

    def spans(self, draft: int) -> list[tuple[int, int]]:
        return [(delta.from_, delta.to) for delta in self.deltas if delta.draft == draft]

    def text(self, draft: int) -> str:
        parts = [delta.part for delta in self.deltas if delta.draft == draft]
        return "".join(part.text for part in parts if isinstance(part, Text))


def make_follower(instance: Instance, recorder: Recorder) -> OwnerFollower:
    return OwnerFollower(
        instance.owner_id,
        service=instance.service,
        store=instance.store,
        bus=instance.bus,
        watch=instance.watch,
        consumer=recorder,
    )


@asynccontextmanager
async def two_instances() -> AsyncIterator[tuple[Instance, Instance, OwnerFollower, Recorder]]:
    """Two instances on one store without hints between them, and a follower in the first one."""
    inner = MemoryStore(clock=FakeClock(tick_us=1), is_shared=True)
    async with (
        open_instance(store=SharedStore(inner), bus=MemoryBus(), drain_s=0, timing=NO_POLLS) as one,
        open_instance(store=SharedStore(inner), bus=MemoryBus(), drain_s=0, timing=NO_POLLS) as other,
    ):
        one.worker.pause()
        other.worker.pause()
        recorder = Recorder()
        follower = make_follower(one, recorder)
        follower.start()
        try:
            yield one, other, follower, recorder
        finally:
            follower.stop()


async def begin(instance: Instance, chat_id: str) -> Chat:
    """Send a message and start an attempt, which opens a draft."""
    await instance.chats.send(chat_id, "hi")
    return (await instance.service.execute(chat_id, c.StartAttempt(instance_id=instance.instance_id))).chat


async def answer(instance: Instance, chat: Chat, chat_id: str, draft: Draft, *, is_last: bool) -> Chat:
    """Commit the draft as the answer of the attempt."""
    command = c.CommitMessage(
        attempt=chat.attempt,
        draft=draft.name,
        content=content(draft.text()),
        upto=draft.position,
        is_last=is_last,
    )
    return (await instance.service.execute(chat_id, command)).chat


async def wait_for_text(recorder: Recorder, draft: Draft) -> None:
    await wait_until(lambda: recorder.text(draft.name) == draft.text())


async def wait_handed_over(follower: OwnerFollower, chat_id: str, seq: int) -> None:
    """Wait until every fact up to `seq` of a running chat was handed over, and what is in memory after it."""

    def is_handed_over() -> bool:
        of_chat = follower._followers.get(chat_id)
        return of_chat is not None and of_chat.seq >= seq and not (of_chat._is_reading or of_chat._is_paced)

    await wait_until(is_handed_over)


@pytest.mark.parametrize("is_watched", [True, False])
async def test_a_poll_hands_over_the_changes_that_another_instance_made_to_a_watched_chat(is_watched: bool) -> None:
    async with two_instances() as (one, other, follower, recorder), AsyncExitStack() as watchers:
        chat_ids = [(await other.chats.create(title="t")).chat_id for _ in range(6)]
        one.watch.poll_soon()
        await wait_until(lambda: len(recorder.entries) == 6 and not len(follower))
        for chat_id in chat_ids if is_watched else ():
            await watchers.enter_async_context(one.watch.open_watcher(chat_id, (1, 0)))
        for chat_id in chat_ids:
            await other.chats.change(chat_id, c.Archive())
        one.watch.poll_soon()
        await wait_until(lambda: set(recorder.chats_with(Archived)) == set(chat_ids))
        assert len(recorder.chats_with(Archived)) == 6, "each once"
        await wait_until(lambda: not len(follower))


async def test_the_follower_of_a_chat_that_becomes_idle_during_a_read_is_closed_after_it() -> None:
    """The read, by a poll, finds nothing: this instance has written the last facts itself."""
    async with two_instances() as (one, _, follower, recorder):
        assert isinstance(one.store, SharedStore)
        store = one.store
        chat_id = (await one.chats.create(title="t")).chat_id
        chat = await begin(one, chat_id)
        await wait_handed_over(follower, chat_id, chat.seq)
        store.may_read.clear()
        polled = asyncio.create_task(one.watch._readers[chat_id].pull())
        await wait_until(lambda: store.waiting_reads)
        ended = await answer(one, chat, chat_id, Draft(chat.draft), is_last=True)
        await wait_until(lambda: recorder.seqs(chat_id)[-1] == ended.seq)
        assert len(follower) == 1, "the read may find more"
        store.may_read.set()
        await polled
        await wait_until(lambda: not len(follower))


async def test_an_append_whose_second_fact_closes_a_draft_is_handed_over_once_and_after_the_draft() -> None:
    async with two_instances() as (one, other, follower, recorder):
        chat_id = (await other.chats.create(title="t")).chat_id
        chat = await begin(other, chat_id)
        follower.follow(chat_id, chat.seq)
        await wait_handed_over(follower, chat_id, chat.seq)
        draft = Draft(chat.draft)
        draft.write(CallStarted("m", "p", 1))
        draft.write(Text("hello"))
        rename = other.chats.change(chat_id, c.Rename(title="new"))
        _, ended = await asyncio.gather(rename, answer(other, chat, chat_id, draft, is_last=True))
        one.watch.poll_soon()
        await wait_until(lambda: recorder.seqs(chat_id)[-1] == ended.seq)
        kinds = [[type(entry.fact) for entry in entries] for entries in recorder.appends]
        assert kinds[-1] == [TitleChanged, MessageAppended, TurnEnded], "commands that waited share an append"
        assert all(not entries[-1].more for entries in recorder.appends)
        assert recorder.text(draft.name) == "hello"


async def test_a_restart_while_a_chat_is_being_opened_does_not_hand_over_its_facts_twice() -> None:
    async with two_instances() as (one, other, follower, recorder):
        assert isinstance(one.store, SharedStore)
        store = one.store
        chat_id = (await other.chats.create(title="t")).chat_id
        await other.chats.send(chat_id, "hi")
        store.may_load.clear()
        follower.follow(chat_id, 2)
        await wait_until(lambda: store.waiting_loads)
        follower.stop()
        follower.start()
        follower.follow(chat_id, 2)
        for _ in range(3):  # the cancelled opening ends
            await asyncio.sleep(0)
        follower.follow(chat_id, 2)
        store.may_load.set()
        await wait_until(lambda: len(follower) == 1 and not follower._opening)
        await one.chats.change(chat_id, c.Rename(title="new"))
        await wait_until(lambda: recorder.chats_with(TitleChanged))
        assert recorder.chats_with(TitleChanged) == [chat_id]
        follower.stop()
        await wait_until(lambda: not one.watch.reader_count, "the reader of the chat is closed")


async def test_facts_read_from_the_store_do_not_restart_the_open_draft_of_another_instance() -> None:
    async with two_instances() as (one, other, follower, recorder):
        chat_id = (await other.chats.create(title="t")).chat_id
        chat = await begin(other, chat_id)
        draft = Draft(chat.draft)
        draft.write(Text("0123456789" * 5))
        flushed = [
            FlushedDelta(chat_id=chat_id, draft=draft.name, from_=delta.from_, to=delta.to, body=codec.encode(delta))
            for delta in draft.read(0)
        ]
        await other.store.flush(flushed)
        follower.follow(chat_id, chat.seq)
        await wait_for_text(recorder, draft)
        for number in range(7):
            await other.chats.send(chat_id, str(number) * 900_000)
        newest = (await other.chats.get(chat_id)).seq
        one.watch.poll_soon()
        await wait_handed_over(follower, chat_id, newest)
        assert recorder.seqs(chat_id) == list(range(1, newest + 1))
        assert recorder.spans(draft.name) == [(0, draft.position)]


async def test_large_messages_that_push_facts_out_of_memory_do_not_restart_the_open_draft() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    async with open_instance(store=store, bus=MemoryBus(), drain_s=0, timing=NO_POLLS) as instance:
        instance.worker.pause()
        recorder = Recorder()
        follower = make_follower(instance, recorder)
        follower.start()
        chat_id = (await instance.chats.create(title="t")).chat_id
        draft = instance.drafts.open(chat_id, (await begin(instance, chat_id)).draft)
        draft.write(Text("before "))
        instance.drafts.touch(chat_id)
        await wait_until(lambda: recorder.text(draft.name) == "before ")
        await asyncio.gather(*(instance.chats.send(chat_id, str(number) * 900_000) for number in range(4)))
        newest = (await instance.chats.get(chat_id)).seq
        await wait_handed_over(follower, chat_id, newest)
        draft.write(Text("after"))
        instance.drafts.touch(chat_id)
        await wait_until(lambda: recorder.text(draft.name).endswith("after"))
        assert recorder.text(draft.name) == "before after"
        assert recorder.seqs(chat_id) == list(range(1, newest + 1))
        follower.stop()


@pytest.mark.parametrize("size", [10, 700_000])
async def test_the_answers_of_another_instance_are_handed_over_with_their_deltas_at_any_size(size: int) -> None:
    async with two_instances() as (one, other, _, recorder):
        chat_id = (await other.chats.create(title="t")).chat_id
        one.watch.poll_soon()
        await wait_until(lambda: recorder.seqs(chat_id) == [1])
        drafts = []
        for number in range(4):
            chat = await begin(other, chat_id)
            draft = Draft(chat.draft)
            draft.write(CallStarted("m", "p", 1))
            draft.write(Text(str(number) * size))
            await answer(other, chat, chat_id, draft, is_last=True)
            drafts.append(draft)
        newest = (await other.chats.get(chat_id)).seq
        one.watch.poll_soon()
        await wait_until(lambda: recorder.seqs(chat_id)[-1] == newest)
        assert recorder.seqs(chat_id) == list(range(1, newest + 1))
        facts = [entry.fact for _, entry in recorder.entries]
        assert sum(isinstance(fact, MessageAppended) and fact.role is Role.ASSISTANT for fact in facts) == 4
        for draft in drafts:
            assert recorder.text(draft.name) == draft.text()
            assert recorder.spans(draft.name)[-1][1] == draft.position


async def test_an_unexpected_error_closes_the_follower_of_a_chat_and_the_next_hint_opens_another() -> None:
    async with two_instances() as (one, other, follower, recorder):
        chat_id = (await other.chats.create(title="t")).chat_id
        await other.chats.send(chat_id, "hi")
        one.watch.poll_soon()
        await wait_until(lambda: recorder.seqs(chat_id) == [1, 2])
        failed = []

        async def fail(seq: int) -> bool:
            failed.append(seq)
            raise RuntimeError("unexpected")

        one.watch._readers[chat_id].reach_back = fail  # type: ignore[method-assign]
        for number in range(5):
            await other.chats.send(chat_id, str(number) * 400_000)
        one.watch.poll_soon()
        await wait_until(lambda: failed and not len(follower))
        await other.chats.send(chat_id, "more")
        newest = (await other.chats.get(chat_id)).seq
        one.watch.poll_soon()
        await wait_until(lambda: recorder.seqs(chat_id)[-1] == newest)
        assert recorder.seqs(chat_id) == list(range(1, newest + 1))


async def test_the_first_delta_of_each_draft_of_another_instance_triggers_a_read_while_hints_are_lost() -> None:
    async with two_instances() as (one, other, _, recorder):
        chat_id = (await other.chats.create(title="t")).chat_id
        await other.chats.send(chat_id, "hi")
        one.watch.poll_soon()
        await wait_until(lambda: recorder.seqs(chat_id) == [1, 2])
        chat = (await other.service.execute(chat_id, c.StartAttempt(instance_id=other.instance_id))).chat
        for number in range(3):
            draft = one.drafts.open(chat_id, chat.draft)  # as the relay does
            draft.write(CallStarted("m", "p", 1))
            draft.write(Text(f"draft {number}"))
            one.drafts.touch(chat_id)
            await wait_for_text(recorder, draft)
            chat = await answer(other, chat, chat_id, draft, is_last=False)


async def test_a_child_chat_that_runs_when_following_starts_is_followed_at_once() -> None:
    may_end = asyncio.Event()
    begun = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[str]:
        if turn.text != "leaf":
            yield (await turn.spawn("leaf" if turn.parent_chat_id else "branch")).text
            return
        yield "begun "
        begun.set()
        await may_end.wait()
        yield "ended"

    async with open_instance(agent=agent, drain_s=0, timing=NO_POLLS) as instance:
        await instance.chats.create(content="hello")
        await begun.wait()
        recorder = Recorder()
        follower = make_follower(instance, recorder)
        follower.start()
        try:
            await wait_until(lambda: len(follower) == 3)
            may_end.set()
            await wait_until(lambda: len(recorder.chats_with(TurnEnded)) == 3)
        finally:
            follower.stop()
        assert "ended" in "".join(delta.part.text for delta in recorder.deltas if isinstance(delta.part, Text))
