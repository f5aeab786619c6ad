"""The command loop with lost answers of the store, and several services on one store, as in several processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from antiphon.chats.doctor import examine
from antiphon.chats.service import Service
from antiphon.core import commands as c
from antiphon.core.facts import AttemptStarted, CallOpened, MessageAppended, MessageQueued, Unarchived
from antiphon.core.model import Status, WhenBusy
from antiphon.errors import AntiphonError, NotAllowedNow, Unavailable
from antiphon.ports import Append, Appended, OutcomeUnknown, Store
from antiphon.store.memory.store import MemoryStore
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.random_commands import random_command
from antiphon.testing.store import UncertainStore, WrappedStore
from antiphon.testing.stored_chat import content

from .serving import (
    CHAT,
    CountingStore,
    answer,
    create,
    entries_of,
    insist,
    outcome,
    said_by_people,
    send,
    serve,
    start,
)

pytestmark = pytest.mark.anyio


# --- answers that are lost


async def lose_answers(seed: int, *, lost_max: int) -> UncertainStore:
    """Send with client ids, some twice at once, until each is answered; then check the log."""
    inner = MemoryStore(clock=FakeClock(tick_us=1))
    random = Random(seed)
    store = UncertainStore(inner, random, lost_after=0.3, lost_before=0.3, lost_max=lost_max)
    service = serve(store, seed)
    while await inner.load(CHAT) is None:
        await outcome(create(service))
    answered: dict[str, int] = {}

    async def client(name: str) -> None:
        for _ in range(random.randint(0, 6)):
            await asyncio.sleep(0)
        done = await insist(service, f"text {name}", name)
        assert answered.setdefault(name, done.entries[0].seq) == done.entries[0].seq, "the same answer each time"

    names = [f"m{i}" for i in range(6)]
    await asyncio.gather(*(client(name) for name in [*names, *names[:3]]))
    assert sorted(await said_by_people(inner)) == sorted(content(f"text {name}") for name in names)
    entries = await entries_of(inner)
    for name, seq in answered.items():
        fact = entries[seq - 1].fact
        assert isinstance(fact, MessageAppended | MessageQueued)
        assert fact.client_message_id == name
    return store


async def test_the_store_finds_an_append_whose_answer_was_lost() -> None:
    stores = await asyncio.gather(*(lose_answers(seed, lost_max=3) for seed in range(200)))
    assert sum(store.committed_unknown for store in stores) > 100
    assert sum(store.not_committed_unknown for store in stores) > 100


async def test_an_outcome_that_stays_unknown_is_unavailable_and_the_client_id_makes_the_repeat_harmless() -> None:
    await asyncio.gather(*(lose_answers(seed, lost_max=12) for seed in range(50)))


class SilentStore(WrappedStore):
    """Writes each append, but does not answer while `is_silent`."""

    is_silent = False

    async def append(self, append: Append) -> Appended:
        result = await super().append(append)
        if self.is_silent:
            raise OutcomeUnknown
        return result


async def test_a_database_that_never_answers_is_unavailable() -> None:
    store = SilentStore(MemoryStore(clock=FakeClock()))
    service = serve(store)
    await create(service)
    store.is_silent = True
    assert isinstance(await outcome(send(service, "hi", "id")), Unavailable)
    store.is_silent = False
    assert (await send(service, "hi", "id")).is_repeat, "it was written, once"


# --- several services over one store


async def open_store(kind: str, path: Path) -> Store:
    if kind == "memory":
        return MemoryStore(clock=FakeClock(tick_us=1))
    return await open_sqlite_store(path / "antiphon.db", clock=FakeClock(tick_us=1))


@pytest.mark.parametrize(("kind", "seeds"), [("memory", 40), ("sqlite", 8)])
async def test_services_that_write_one_chat_keep_one_log(kind: str, seeds: int, tmp_path: Path) -> None:
    await asyncio.gather(*(write_together(kind, seed, tmp_path / f"{seed}") for seed in range(seeds)))


async def write_together(kind: str, seed: int, path: Path) -> None:
    """Random commands of all services at once, some answers lost: facts without a gap, the state their fold, and no
    acknowledged send twice."""
    inner = CountingStore(await open_store(kind, path))
    random = Random(seed)
    services = [
        serve(UncertainStore(inner, Random(seed + i), lost_after=0.02, lost_before=0.02), seed=i) for i in range(3)
    ]
    await create(services[0])
    accepted: dict[str, int] = {}

    async def person(i: int) -> None:
        for n in range(12):
            name = f"p{i}n{n}"
            done = await outcome(send(random.choice(services), name, name, when_busy=random.choice(list(WhenBusy))))
            if not isinstance(done, AntiphonError):
                first, *others = done.entries  # an archived chat is unarchived first
                accepted[name] = others[0].seq if isinstance(first.fact, Unarchived) else first.seq

    async def random_caller(service: Service) -> None:
        for _ in range(40):
            chat = await service._store.load(CHAT)
            assert chat is not None
            at = service._store.clock.now_us()
            await outcome(service.execute(CHAT, random_command(chat, random, at=at)))

    await asyncio.gather(*(person(i) for i in range(4)), *(random_caller(service) for service in services))
    entries = await entries_of(inner)
    named = [
        (entry.fact.client_message_id, entry.seq)
        for entry in entries
        if isinstance(entry.fact, MessageQueued)
        or (isinstance(entry.fact, MessageAppended) and not entry.fact.queued_id)
        if entry.fact.client_message_id
    ]
    assert dict(named) == accepted, "exactly the acknowledged sends, with their seqs"
    assert len(named) == len(accepted), "each once"
    report = await examine(inner)
    assert report.is_sound, report.findings
    assert inner.results.count(Appended.CONFLICT) > 5, "the services did conflict"
    await inner.aclose()


async def test_of_two_workers_that_claim_one_turn_one_holds_it() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    one, two = serve(store, 1), serve(store, 2)
    await create(one, "hi")
    assert await two.chat(CHAT) == await one.chat(CHAT)
    answers = await asyncio.gather(outcome(start(one, "i1")), outcome(start(two, "i2")))
    assert sum(isinstance(answer, NotAllowedNow) for answer in answers) == 1
    assert sum(isinstance(entry.fact, AttemptStarted) for entry in await entries_of(store)) == 1


async def test_a_conflict_is_decided_again_on_the_new_state() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    one, two = serve(store, 1), serve(store, 2)
    await create(one)
    await two.chat(CHAT)
    await send(one, "first")
    done = await send(two, "second")
    assert isinstance(done.entries[0].fact, MessageQueued), "the chat was busy by then"
    assert done.chat.status is Status.RUNNING
    assert (await send(one, "third")).entries[0].seq == done.chat.seq + 1


async def test_concurrent_repeats_at_two_services_are_executed_once() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    one, two = serve(store, 1), serve(store, 2)
    await create(one)
    answers = await asyncio.gather(*(send(service, "hi", "id") for service in (one, two) for _ in range(3)))
    assert len({done.entries[0].seq for done in answers}) == 1
    assert await said_by_people(store) == [content("hi")]


# --- a cached state may be old: no refusal and no "nothing to do" may rest on it


async def test_a_send_is_not_refused_as_busy_after_another_service_ended_the_turn() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    one, two = serve(store, 1), serve(store, 2)
    await create(one, "hi")
    await start(two)
    await send(one, "queued")
    await answer(two)
    await start(two)
    await answer(two)
    done = await send(one, "now", when_busy=WhenBusy.REJECT)
    assert isinstance(done.entries[0].fact, MessageAppended)


async def test_a_chat_created_by_another_service_is_found() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    one, two = serve(store, 1), serve(store, 2)
    assert await one.chat(CHAT) is None
    await create(two)
    assert (await send(one, "hi")).chat.seq == 2


async def test_an_interrupt_stops_a_turn_that_another_service_started() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    one, two = serve(store, 1), serve(store, 2)
    await create(one)
    turn_id = (await send(two, "hi")).chat.turn_id
    await start(two)
    done = await one.execute(CHAT, c.Interrupt(turn_id=turn_id))
    assert done.chat.status is Status.INTERRUPTING


async def test_a_refusal_in_a_conflicting_append_is_decided_again() -> None:
    """Both are queued together; only the second makes an append, which shows that the state was old."""
    store = MemoryStore(clock=FakeClock(tick_us=1))
    one, two = serve(store, 1), serve(store, 2)
    await create(one, "hi")
    await start(two)
    await one.chat(CHAT)
    await answer(two)
    rejecting, renaming = await asyncio.gather(
        outcome(send(one, "now", when_busy=WhenBusy.REJECT)), outcome(one.execute(CHAT, c.Rename(title="t")))
    )
    assert not isinstance(rejecting, AntiphonError)
    assert not isinstance(renaming, AntiphonError)


# --- commands that share an append do not share its refusal


async def test_a_live_lease_refuses_only_the_expiry() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    service = serve(store)
    await create(service, "hi")
    attempt = (await start(service)).chat.attempt
    sent, expired = await asyncio.gather(
        outcome(send(service, "more")),
        outcome(service.execute(CHAT, c.ExpireAttempt(attempt=attempt, reason="lease"))),
    )
    assert isinstance(expired, NotAllowedNow)
    assert not isinstance(sent, AntiphonError)


async def test_a_late_expiry_does_not_affect_the_next_attempt() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    service = serve(store)
    await create(service, "hi")
    old = (await start(service)).chat.attempt
    await service.execute(CHAT, c.ReleaseAttempt(attempt=old, draft=old))
    await start(service, "i2")
    expired, committed = await asyncio.gather(
        outcome(service.execute(CHAT, c.ExpireAttempt(attempt=old, reason="lease"))), outcome(answer(service))
    )
    assert not isinstance(expired, AntiphonError), "that attempt has ended: the command is answered"
    assert not isinstance(committed, AntiphonError)


async def test_a_broken_invariant_in_one_command_does_not_affect_others() -> None:
    store = MemoryStore(clock=FakeClock(tick_us=1))
    service = serve(store)
    await create(service)
    await send(service, "hi")
    chat = (await start(service)).chat
    call = CallOpened(tool_call_id="t", tool_name="t")
    broken = c.CommitMessage(
        attempt=chat.attempt, draft=chat.draft, content=content("?"), upto=1, calls=(call,), is_last=True
    )
    failed, sent = await asyncio.gather(
        service.execute(CHAT, broken), outcome(send(service, "hi")), return_exceptions=True
    )
    assert isinstance(failed, AssertionError)
    assert not isinstance(sent, BaseException)


class SilentOnceStore(WrappedStore):
    """Writes its first append, but does not answer it."""

    appends = 0

    async def append(self, append: Append) -> Appended:
        result = await super().append(append)
        self.appends += 1
        if self.appends == 1:
            raise OutcomeUnknown
        return result


async def test_a_command_without_an_id_whose_answer_is_lost_is_executed_once() -> None:
    """The store finds it by its append_id: deciding again would execute it twice."""
    inner = MemoryStore(clock=FakeClock(tick_us=1))
    await create(serve(inner))
    store = SilentOnceStore(inner)
    done = await serve(store).execute(CHAT, c.SendMessage(content=content("once"), by="o"))
    assert store.appends == 2, "the append was repeated"
    assert done.entries[0].seq == 2
    assert await said_by_people(inner) == [content("once")]
