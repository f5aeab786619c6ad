"""The line of a chat: who stands in it together, who is refused, who is gone, who is told, who takes the turn."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from antiphon.chats.hints import WANTED_CHANNEL, owner_channel, stream_channel
from antiphon.chats.service import Claimer, Service
from antiphon.core import commands as c
from antiphon.core.facts import AttemptStarted, MessageQueued
from antiphon.core.model import Chat, Status, WhenBusy
from antiphon.errors import Busy, NotFound, Unavailable
from antiphon.ports import Appended
from antiphon.testing.bus_suite import Heard
from antiphon.testing.stored_chat import content

from .serving import (
    CHAT,
    CountingStore,
    create,
    entries_of,
    outcome,
    said_by_people,
    send,
)

pytestmark = pytest.mark.anyio


# --- standing in line


async def test_64_senders_at_once_need_few_appends(service: Service, counting: CountingStore) -> None:
    await create(service)
    before = len(counting.results)
    answers = await asyncio.gather(*(send(service, f"m{i}", f"id{i}") for i in range(64)))
    assert len(counting.results) - before <= 4
    seqs = [done.entries[0].seq for done in answers]
    assert sorted(seqs) == seqs, "in the order in which they asked"
    assert len(set(seqs)) == 64
    assert await said_by_people(counting) == [content(f"m{i}") for i in range(64)]
    entries = await entries_of(counting)
    for i, done in enumerate(answers):
        assert entries[done.entries[0].seq - 1].content == content(f"m{i}"), "each got its own answer"


async def test_commands_given_together_are_done_or_refused_together(service: Service) -> None:
    await create(service)
    before = await service.store.load(CHAT)
    with pytest.raises(NotFound):
        await service.execute(CHAT, c.Rename(title="new"), c.DeleteQueued(queued_id=99))
    assert await service.store.load(CHAT) == before
    done = await service.execute(CHAT, c.Rename(title="new"), c.SetModel(model="m"))
    assert [entry.more for entry in await entries_of(service.store)] == [False, True, False]
    assert (done.chat.title, done.chat.model) == ("new", "m")


async def test_a_command_that_changes_nothing_is_answered(service: Service, counting: CountingStore) -> None:
    await create(service)
    before = len(counting.results)
    done = await service.execute(CHAT, c.Interrupt(turn_id=7))
    assert done.entries == ()
    assert len(counting.results) == before


async def test_a_refusal_takes_nobody_down(service: Service) -> None:
    await create(service, "hi")
    calls = [send(service, f"m{i}", when_busy=WhenBusy.REJECT if i % 2 else WhenBusy.QUEUE) for i in range(10)]
    answers = await asyncio.gather(*(outcome(call) for call in calls))
    assert [isinstance(answer, Busy) for answer in answers] == [bool(i % 2) for i in range(10)]


async def test_a_refusal_is_judged_on_what_is_durable_only(service: Service, counting: CountingStore) -> None:
    """The chat would be busy only by a message that was not written after all."""
    await create(service)
    counting.failures = 1
    first, second = await asyncio.gather(
        outcome(send(service, "lost")), outcome(send(service, "taken", when_busy=WhenBusy.REJECT))
    )
    assert isinstance(first, Unavailable)
    assert not isinstance(second, Exception)
    assert await said_by_people(counting) == [content("taken")]


async def test_after_a_failure_the_line_goes_on(service: Service, counting: CountingStore) -> None:
    await create(service)
    counting.failures = 1
    assert isinstance(await outcome(send(service, "lost", "id")), Unavailable)
    assert not (await send(service, "lost", "id")).is_repeat
    await service.aclose()


async def test_what_stands_in_line_is_answered_before_the_close(service: Service) -> None:
    await create(service)
    tasks = [asyncio.ensure_future(send(service, f"m{i}")) for i in range(5)]
    await asyncio.sleep(0)
    await service.aclose()
    assert all(task.done() and not task.exception() for task in tasks)


# --- cancelled callers


async def test_a_caller_that_is_gone_before_its_turn_changes_nothing(service: Service) -> None:
    await create(service)
    tasks = [asyncio.ensure_future(send(service, f"m{i}", f"id{i}")) for i in range(8)]
    await asyncio.sleep(0)  # they stand in line
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await said_by_people(service.store) == [content(f"m{i}") for i in range(1, 8, 2)]


async def test_a_caller_cancelled_at_any_moment_is_written_once_or_not_at_all(service: Service) -> None:
    await create(service)
    for looks in range(12):
        task = asyncio.ensure_future(send(service, f"m{looks}", f"id{looks}"))
        other = asyncio.ensure_future(send(service, f"other{looks}"))
        for _ in range(looks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, other, return_exceptions=True)
        assert not other.exception(), "the others do not notice"
        await send(service, f"m{looks}", f"id{looks}")
    said = await said_by_people(service.store)
    assert sorted(said) == sorted([content(f"{who}{i}") for who in ("m", "other") for i in range(12)])
    await entries_of(service.store)


# --- the local worker, and who is told


class OnePlace(Claimer):
    """A worker with one place."""

    def __init__(self) -> None:
        self.is_free = True
        self.begun: list[Chat] = []

    def reserve_nowait(self, owner_id: str) -> str | None:
        self.is_free, was_free = False, self.is_free
        return "i1" if was_free else None

    def free(self, owner_id: str) -> None:
        assert not self.is_free
        self.is_free = True

    def begin(self, chat_id: str, chat: Chat) -> None:
        assert not self.is_free
        self.begun.append(chat)


async def test_a_free_worker_takes_the_turn_in_the_append_that_starts_it(
    service: Service, counting: CountingStore
) -> None:
    service.claimer = worker = OnePlace()
    await create(service)
    assert worker.is_free
    done = await send(service, "hi")
    assert [chat.attempt for chat in worker.begun] == [done.chat.attempt]
    assert counting.results == [Appended.DONE] * 2
    assert isinstance((await entries_of(counting))[-1].fact, AttemptStarted)
    assert await counting.take_over("") == ((CHAT, done.chat.attempt),)
    assert not any(isinstance(entry.fact, AttemptStarted) for entry in done.entries), "not the sender's answer"


async def test_a_place_is_given_back_when_nothing_was_written(service: Service, counting: CountingStore) -> None:
    service.claimer = worker = OnePlace()
    await create(service)
    counting.failures = 1
    assert isinstance(await outcome(send(service, "hi")), Unavailable)
    assert (worker.is_free, worker.begun) == (True, [])


async def test_after_an_append_those_who_watch_are_told(service: Service) -> None:
    stream, owner, wanted = Heard(), Heard(), Heard()
    for channel, heard in ((stream_channel(CHAT), stream), (owner_channel("o"), owner), (WANTED_CHANNEL, wanted)):
        service._bus.subscribe(channel, heard)
    await create(service)
    await send(service, "hi")
    assert [msgspec.json.decode(message or b"") for message in await stream.wait(2)] == [
        {"status": "waiting", "seq": 1, "draft": 1},
        {"after_message_id": 1, "status": "running", "seq": 2, "draft": 2},
    ]
    told = [msgspec.json.decode(message or b"") for message in await owner.wait(2)]
    assert [(message["kind"], message["seq"]) for message in told] == [("created", 1), ("status_change", 2)]
    assert [message["chat"]["status"] for message in told] == ["waiting", "running"]
    assert await wanted.wait(1) == [CHAT.encode()]


async def test_what_is_known_is_what_is_stored(service: Service) -> None:
    assert service.chat_nowait(CHAT) is None
    assert await service.chat(CHAT) is None
    await create(service, "hi")
    await send(service, "more")
    assert await service.chat(CHAT) == service.chat_nowait(CHAT) == await service.store.load(CHAT)
    recent = service.entries_after(CHAT, 1)
    assert recent is not None
    assert [entry.seq for entry in recent] == [2, 3]
    assert isinstance(recent[1].fact, MessageQueued)
    service.forget(CHAT, 3)
    assert service.chat_nowait(CHAT) is not None, "it knows that much already"
    service.forget(CHAT, 4)
    assert service.chat_nowait(CHAT) is None
    chat = await service.chat(CHAT)
    assert chat is not None
    assert chat.status is Status.RUNNING
