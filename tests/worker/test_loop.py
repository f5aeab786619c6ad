"""The worker: claims, leases, flushes, and the loss of a worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from antiphon import Turn
from antiphon.bus.memory import MemoryBus
from antiphon.chats.hints import WANTED_CHANNEL
from antiphon.chats.owned import OwnedChats
from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.core.facts import AttemptLost, AttemptStarted, MessageAppended
from antiphon.core.model import Outcome, Status
from antiphon.errors import Unavailable
from antiphon.options import Timing, WorkerTiming
from antiphon.ports import Append, Appended, Balance
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.bus import FaultyBus
from antiphon.testing.clock import FakeClock
from antiphon.testing.store import UncertainStore, WrappedStore
from antiphon.wire import codec
from antiphon.worker.loop import DEFERRED_MAX
from support.waiting import wait_until

from .agents import Gate, says_hello
from .running import Talk, answers_of, ask, foreign_chat, metric, running
from .stores import Renewals

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent
NO_POLL = Timing(worker=WorkerTiming(claim_poll_s=3600.0))


# --- claiming


async def test_concurrent_turns_are_limited_and_every_turn_runs() -> None:
    gate = Gate()
    async with running(gate.agent, concurrency=3) as instance:
        talks = [await ask(instance) for _ in range(10)]
        await wait_until(lambda: gate.running_now == 3)
        gate.is_open.set()
        for talk in talks:
            await talk.wait_ended()
            assert await talk.said() == ["words and more"]
        assert gate.most == 3


async def test_a_chat_that_waits_for_a_slot_is_claimed_when_one_is_free() -> None:
    """No wake-up is lost: there is no poll, which would find it as well."""
    async with running(says_hello, concurrency=1, timing=NO_POLL) as instance:
        talks = [await ask(instance) for _ in range(30)]
        for talk in talks:
            await talk.wait_ended()


async def test_a_chat_of_another_process_is_claimed_by_its_hint() -> None:
    bus = MemoryBus()
    async with running(says_hello, bus=bus, timing=NO_POLL) as instance:
        talk = await foreign_chat(instance)
        bus.publish_nowait(WANTED_CHANNEL, b"c")
        await talk.wait_ended()


async def test_a_chat_of_another_process_is_claimed_by_the_poll_if_every_hint_is_lost() -> None:
    bus = FaultyBus(MemoryBus(), Random(1), drop=1.0)
    async with running(says_hello, bus=bus) as instance:
        talk = await foreign_chat(instance)
        bus.publish_nowait(WANTED_CHANNEL, b"c")
        await talk.wait_ended()
        assert await talk.said() == ["hello"]
        await talk.send("and again")
        await talk.wait_ended()
        assert await talk.said() == ["hello", "hello"]


async def test_continuous_hints_for_other_chats_do_not_prevent_the_poll() -> None:
    bus = MemoryBus()
    async with running(says_hello, bus=bus) as instance:
        talk = await foreign_chat(instance)
        hinting = asyncio.create_task(hint_forever(bus))
        await talk.wait_ended()
        hinting.cancel()


async def hint_forever(bus: MemoryBus) -> None:
    while True:
        bus.publish_nowait(WANTED_CHANNEL, b"another chat")
        await asyncio.sleep(0.005)


class DefersForever(Balance):
    """Leaves every chat to others for longer than a test takes."""

    def delay_s(self, chat_id: str, load: int) -> float:
        return 3600.0


def timers() -> int:
    """The number of timers of this event loop."""
    return len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]


async def test_deferred_chats_are_limited_and_the_poll_finds_the_others() -> None:
    bus = MemoryBus()
    async with running(says_hello, bus=bus) as instance:
        instance.slots.balance = DefersForever()
        before = timers()
        for i in range(3 * DEFERRED_MAX):
            bus.publish_nowait(WANTED_CHANNEL, b"chat %d" % i)
            bus.publish_nowait(WANTED_CHANNEL, b"chat %d" % i)
        await wait_until(lambda: timers() >= before + DEFERRED_MAX)
        talk = await foreign_chat(instance)
        bus.publish_nowait(WANTED_CHANNEL, b"c")
        await talk.wait_ended()
        assert timers() < before + DEFERRED_MAX + 100


@pytest.mark.parametrize("hint", [b"no such chat", b"", "ünï".encode()])
async def test_a_hint_for_an_unknown_chat_changes_nothing(hint: bytes) -> None:
    bus = MemoryBus()
    async with running(says_hello, bus=bus) as instance:
        bus.publish_nowait(WANTED_CHANNEL, hint)
        talk = await ask(instance)
        await talk.wait_ended()
        assert not instance.background.done()


async def test_a_chat_with_many_hints_is_claimed_once() -> None:
    bus = MemoryBus()
    async with running(says_hello, bus=bus) as instance:
        talk = await foreign_chat(instance)
        for _ in range(20):
            bus.publish_nowait(WANTED_CHANNEL, b"c")
        await talk.wait_ended()
        assert len(await talk.facts(AttemptStarted)) == 1


async def test_lost_answers_of_the_store_lose_no_turn_and_repeat_none() -> None:
    store = UncertainStore(MemoryStore(clock=FakeClock(tick_us=1)), Random(3), lost_after=0.2, lost_before=0.2)

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield f"answer to {len(turn.messages)}"

    async with running(agent, store=store) as instance:
        talks = [await ask(instance) for _ in range(6)]
        for talk in talks:
            await talk.send("and?")
        for talk in talks:
            await talk.wait_ended()
            assert len(await talk.said()) == 2
            assert await talk.endings() == [Outcome.ANSWERED] * 2
        assert store.committed_unknown
        assert store.not_committed_unknown


class RefusesChats(WrappedStore):
    """Refuses writes to some chats, as if they were of a newer version."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.refused_chats: set[str] = set()

    async def append(self, append: Append) -> Appended:
        if append.chat_id in self.refused_chats:
            raise Unavailable("this chat was written by a newer version of Antiphon")
        return await super().append(append)

    async def aclose(self) -> None:
        """Remains open for the next instance, as a file does."""


async def test_a_chat_that_cannot_be_claimed_delays_no_other() -> None:
    clock = FakeClock(tick_us=1)
    store = RefusesChats(MemoryStore(clock=clock))
    async with running(says_hello, store=store) as instance:
        instance.worker.pause()
        talks = [await foreign_chat(instance, name) for name in "abc"]
        store.refused_chats = {"a"}
    async with running(says_hello, store=store) as instance:
        for talk in (Talk(instance, "b"), Talk(instance, "c")):
            await talk.wait_ended()
            assert await talk.said() == ["hello"]
        assert instance.problems() == []
        assert (await talks[0].chat()).needs_worker


async def test_a_lost_attempt_that_cannot_be_recorded_does_not_prevent_the_start() -> None:
    clock = FakeClock(tick_us=1)
    store = RefusesChats(MemoryStore(clock=clock))
    gate = Gate()
    async with running(gate.agent, store=store) as instance:
        talks = [await ask(instance) for _ in range(2)]
        for talk in talks:
            await talk.wait_preview("words")
        store.refused_chats = {talk.chat_id for talk in talks}
        instance.worker.drain = nothing  # type: ignore[assignment]
        attempts = list(instance.worker._attempts)
    assert len(attempts) == 2
    for attempt in attempts:
        attempt.cancel()
    await asyncio.wait(attempts)
    store.refused_chats = {talks[0].chat_id}
    async with running(says_hello, store=store) as instance:
        heir = Talk(instance, talks[1].chat_id)
        await heir.wait_ended()
        assert await heir.said() == ["hello"]


async def nothing(*_: object) -> None:
    """Like a process that is killed."""


async def test_one_of_several_owners_gets_at_most_half_of_the_slots() -> None:
    gate = Gate()
    async with running(gate.agent, concurrency=4) as instance:
        other = OwnedChats(instance.service, await instance.store.create_owner("other"), store=instance.store)
        await instance.owners.refresh_count()
        mine = [await ask(instance) for _ in range(6)]
        await wait_until(lambda: gate.running_now == 2)
        theirs = Talk(instance, (await other.create(content="hello")).chat_id)
        await theirs.wait_preview("words")
        assert gate.running_now == 3
        gate.is_open.set()
        for talk in (*mine, theirs):
            await talk.wait_ended()


# --- leases


async def test_a_lease_is_renewed_while_its_turn_runs() -> None:
    timing = Timing(worker=WorkerTiming(renew_s=0.01))
    clock, gate = FakeClock(tick_us=1), Gate()
    store = Renewals(MemoryStore(clock=clock))
    async with running(gate.agent, store=store, timing=timing) as instance:
        talk = await ask(instance)
        for _ in range(5):
            before = store.renewed
            await wait_until(lambda before=before: store.renewed >= before + 2)
            clock.advance(8)
            assert await store.due(limit=10) == ()
        gate.is_open.set()
        await talk.wait_ended()
        assert len(await talk.facts(AttemptStarted)) == 1
        assert await talk.said() == ["words and more"]


async def test_a_worker_that_cannot_renew_reports_it_and_stops_and_another_attempt_follows() -> None:
    timing = Timing(worker=WorkerTiming(renew_s=0.01, renew_failed_s=0.05))
    clock, gate = FakeClock(tick_us=1), Gate()
    store = Renewals(MemoryStore(clock=clock))
    async with running(gate.agent, store=store, timing=timing) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        async with problems_of(instance) as seen:
            store.is_away = True
            await wait_until(lambda: gate.closed == 1)
            await wait_until(lambda: not len(instance.worker))
        assert any(problem.startswith("leases: ") for problem in seen)
        assert await talk.kinds() == ["chat_created", "message_appended", "attempt_started"]
        store.is_away = False
        gate.is_open.set()
        clock.advance(11)
        await talk.wait_ended()
        assert [fact.reason for fact in await talk.facts(AttemptLost)] == ["lease"]
        assert await talk.said() == ["words and more"]
        await wait_until(lambda: not any(problem.startswith("leases: ") for problem in instance.problems()))


@contextlib.asynccontextmanager
async def problems_of(instance: Instance) -> AsyncIterator[set[str]]:
    """All problems that the instance reports meanwhile; one may last 10 ms only."""
    seen: set[str] = set()

    async def collect() -> None:
        while True:
            seen.update(instance.problems())
            await asyncio.sleep(0)

    collecting = asyncio.create_task(collect())
    try:
        yield seen
    finally:
        collecting.cancel()
        await asyncio.wait({collecting})


async def test_a_worker_whose_renewal_gets_no_response_stops_when_its_lease_expires() -> None:
    timing = Timing(worker=WorkerTiming(renew_s=0.01, renew_failed_s=0.05, renew_timeout_s=0.05))
    gate = Gate()
    store = Renewals(MemoryStore(clock=FakeClock(tick_us=1)))
    async with running(gate.agent, store=store, timing=timing) as instance:
        talk = await ask(instance)
        await talk.wait_preview("words")
        async with problems_of(instance) as seen:
            store.hangs = True
            await wait_until(lambda: gate.closed == 1 and not len(instance.worker))
        assert "leases: the store does not answer" in seen
        store.hangs = False
        await wait_until(lambda: not any(problem.startswith("leases: ") for problem in instance.problems()))


async def test_a_store_that_remains_unavailable_ends_the_attempt_but_not_the_turn() -> None:
    timing = Timing(worker=WorkerTiming(store_tries_max=3, store_retry_s=0.001))
    clock = FakeClock(tick_us=1)
    store = RefusesAnswers(MemoryStore(clock=clock))
    async with running(says_hello, store=store, timing=timing) as instance:
        talk = await ask(instance)
        await wait_until(lambda: store.refused == 3 and not len(instance.worker))
        assert (await talk.chat()).status is Status.RUNNING
        store.refuses = False
        clock.advance(11)
        await talk.wait_ended()
        assert await talk.said() == ["hello"]
        assert await talk.endings() == [Outcome.ANSWERED]


class RefusesAnswers(WrappedStore):
    refuses = True
    refused = 0

    async def append(self, append: Append) -> Appended:
        is_answer = any(isinstance(e.fact, MessageAppended) and e.fact.closes for e in append.entries)
        if self.refuses and is_answer:
            self.refused += 1
            raise Unavailable("the disk is full")
        return await super().append(append)


@contextlib.asynccontextmanager
async def two_instances(
    first: object, second: object, clock: FakeClock
) -> AsyncIterator[tuple[Instance, Instance, Renewals]]:
    """Two instances on one store, each with its own bus. The first one can lose the store for renewals and
    flushes."""
    inner = MemoryStore(clock=clock)
    frozen = Renewals(inner)
    async with (
        running(first, store=frozen) as one,
        running(second, store=Renewals(inner)) as other,
    ):
        yield one, other, frozen


async def test_the_chat_of_a_frozen_worker_is_claimed_by_another_and_the_old_attempt_is_fenced() -> None:
    clock, gate = FakeClock(tick_us=1), Gate("a zombie's words", " and its last")
    async with two_instances(gate.agent, says_hello, clock) as (one, other, frozen):
        talk = await ask(one)
        await talk.wait_preview("a zombie's words")
        frozen.is_away = True
        one.worker.pause()
        clock.advance(11)
        heir = Talk(other, talk.chat_id)
        await heir.wait_ended()
        before = await heir.entries()
        fenced = metric("fenced_writes")
        gate.is_open.set()
        await wait_until(lambda: not len(one.worker))
        assert metric("fenced_writes") == fenced + 1
        assert await heir.entries() == before
        assert await heir.said() == ["hello"]
        assert [fact.reason for fact in await heir.facts(AttemptLost)] == ["lease"]
        assert [fact.instance_id for fact in await heir.facts(AttemptStarted)] == [one.instance_id, other.instance_id]


async def test_a_fenced_attempt_stops_at_its_next_renewal() -> None:
    clock, gate = FakeClock(tick_us=1), Gate()
    async with two_instances(gate.agent, says_hello, clock) as (one, other, frozen):
        talk = await ask(one)
        await talk.wait_preview("words")
        frozen.is_away = True
        one.worker.pause()
        clock.advance(11)
        await Talk(other, talk.chat_id).wait_ended()
        assert gate.running_now == 1
        frozen.is_away = False
        await wait_until(lambda: gate.closed == 1 and not len(one.worker))
        assert one.drafts.get(talk.chat_id) is None


async def test_an_unexpired_lease_cannot_be_expired() -> None:
    clock, gate = FakeClock(tick_us=1), Gate()
    async with two_instances(gate.agent, says_hello, clock) as (one, other, _):
        talk = await ask(one)
        await talk.wait_preview("words")
        chat = await talk.chat()
        await other.recovery.expire(talk.chat_id, chat.attempt, "lease")
        assert (await talk.chat()).attempt == chat.attempt
        gate.is_open.set()
        await talk.wait_ended()
        assert await talk.said() == ["words and more"]


async def test_an_interrupt_that_a_frozen_worker_does_not_receive_stores_the_flushed_draft() -> None:
    clock, gate = FakeClock(tick_us=1), Gate()
    async with two_instances(gate.agent, says_hello, clock) as (one, other, frozen):
        talk = await ask(one)
        await wait_until(lambda: is_flushed(talk, "words"))
        frozen.is_away = True
        heir = Talk(other, talk.chat_id)
        await heir.interrupt()
        assert (await heir.chat()).status is Status.INTERRUPTING
        clock.advance(2)
        await heir.wait_ended()
        (partial,) = answers_of(await heir.entries())
        assert partial.interrupted
        assert await heir.said() == ["words"]
        before = await heir.entries()
        gate.is_open.set()
        await wait_until(lambda: not len(one.worker))
        assert await heir.entries() == before


# --- flushes


async def is_flushed(talk: Talk, text: str) -> bool:
    return await flushed_text(talk) == text


async def flushed_text(talk: Talk) -> str:
    """The stored deltas of the open draft."""
    chat = await talk.chat()
    draft = Draft(chat.draft)
    for row in await talk.instance.store.read_flushed(talk.chat_id, chat.draft):
        assert row.from_ == draft.position, "rows follow each other without a gap or an overlap"
        assert draft.apply(codec.decode(row.body, Delta))
        assert row.to == draft.position
    return draft.text()


@pytest.mark.parametrize("where", ["memory", "sqlite"])
async def test_a_draft_is_flushed_while_it_grows_and_its_rows_are_deleted_when_it_closes(
    where: str, tmp_path: Path
) -> None:
    steps = asyncio.Semaphore(0)

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.start_call(model="m")
        for n in range(3):
            yield f"word {n} "
            await steps.acquire()

    async with running(agent, data=tmp_path / "data" if where == "sqlite" else None) as instance:
        talk = await ask(instance)
        expected = ""
        for n in range(3):
            expected += f"word {n} "
            await wait_until(lambda expected=expected: is_flushed(talk, expected))
            steps.release()
        draft = (await talk.chat()).draft
        await talk.wait_ended()
        assert await instance.store.read_flushed(talk.chat_id, draft) == ()
        await instance.worker.flush()
        assert await instance.store.read_flushed(talk.chat_id, draft) == ()


async def test_a_failed_flush_is_completed_by_the_next_one() -> None:
    store = Renewals(MemoryStore(clock=FakeClock(tick_us=1)))
    gate = Gate()
    async with running(gate.agent, store=store) as instance:
        store.is_away = True
        talk = await ask(instance)
        await wait_until(lambda: store.flushes >= 2)
        assert await flushed_text(talk) == ""
        store.is_away = False
        await wait_until(lambda: is_flushed(talk, "words"))


async def test_an_unchanged_draft_is_not_flushed_again() -> None:
    store = Renewals(MemoryStore(clock=FakeClock(tick_us=1)))
    gate = Gate()
    async with running(gate.agent, store=store) as instance:
        talk = await ask(instance)
        await wait_until(lambda: is_flushed(talk, "words"))
        flushes = store.flushes
        await instance.worker.flush()
        assert store.flushes == flushes
