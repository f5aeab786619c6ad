"""The command queue of a chat: shared appends, refusals, cancelled callers, hints, and claims of the local worker."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from antiphon.chats.command_queue import CommandQueues
from antiphon.chats.hints import WANTED_CHANNEL, owner_channel, stream_channel
from antiphon.chats.service import Service
from antiphon.core import commands as c
from antiphon.core.facts import AttemptStarted, Entry, MessageAppended, MessageQueued, Recorded
from antiphon.core.model import Chat, Status, WhenBusy
from antiphon.core.parts import Role
from antiphon.errors import Busy, NotFound, Unavailable
from antiphon.ports import Appended
from antiphon.testing.bus_suite import Recorder
from antiphon.testing.stored_chat import content

from .serving import (
    CHAT,
    CountingStore,
    create,
    entries_of,
    outcome,
    said_by_people,
    send,
    serve,
)

pytestmark = pytest.mark.anyio


# --- shared appends


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
    before = await service._store.load(CHAT)
    with pytest.raises(NotFound):
        await service.execute(CHAT, c.Rename(title="new"), c.DeleteQueued(queued_id=99))
    assert await service._store.load(CHAT) == before
    done = await service.execute(CHAT, c.Rename(title="new"), c.SetModel(model="m"))
    assert [entry.more for entry in await entries_of(service._store)] == [False, True, False]
    assert (done.chat.title, done.chat.model) == ("new", "m")


async def test_a_command_that_changes_nothing_is_answered(service: Service, counting: CountingStore) -> None:
    await create(service)
    before = len(counting.results)
    done = await service.execute(CHAT, c.Interrupt(turn_id=7))
    assert done.entries == ()
    assert len(counting.results) == before


async def test_a_refusal_does_not_affect_other_commands(service: Service) -> None:
    await create(service, "hi")
    calls = [send(service, f"m{i}", when_busy=WhenBusy.REJECT if i % 2 else WhenBusy.QUEUE) for i in range(10)]
    answers = await asyncio.gather(*(outcome(call) for call in calls))
    assert [isinstance(answer, Busy) for answer in answers] == [bool(i % 2) for i in range(10)]


async def test_a_refusal_depends_on_durable_facts_only(service: Service, counting: CountingStore) -> None:
    """The chat would be busy only because of a message that could not be written."""
    await create(service)
    counting.failures = 1
    first, second = await asyncio.gather(
        outcome(send(service, "lost")), outcome(send(service, "accepted", when_busy=WhenBusy.REJECT))
    )
    assert isinstance(first, Unavailable)
    assert not isinstance(second, Exception)
    assert await said_by_people(counting) == [content("accepted")]


async def test_the_queue_continues_after_a_failure(service: Service, counting: CountingStore) -> None:
    await create(service)
    counting.failures = 1
    assert isinstance(await outcome(send(service, "lost", "id")), Unavailable)
    assert not (await send(service, "lost", "id")).is_repeat
    await service.aclose()


async def test_queued_commands_are_answered_before_the_service_closes(service: Service) -> None:
    await create(service)
    tasks = [asyncio.ensure_future(send(service, f"m{i}")) for i in range(5)]
    await asyncio.sleep(0)
    await service.aclose()
    assert all(task.done() and not task.exception() for task in tasks)


# --- cancelled callers


async def test_a_caller_cancelled_while_its_command_is_queued_changes_nothing(service: Service) -> None:
    await create(service)
    tasks = [asyncio.ensure_future(send(service, f"m{i}", f"id{i}")) for i in range(8)]
    await asyncio.sleep(0)  # they are queued
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await said_by_people(service._store) == [content(f"m{i}") for i in range(1, 8, 2)]


async def test_a_caller_cancelled_at_any_moment_is_written_once_or_not_at_all(service: Service) -> None:
    await create(service)
    for pauses in range(12):
        task = asyncio.ensure_future(send(service, f"m{pauses}", f"id{pauses}"))
        other = asyncio.ensure_future(send(service, f"other{pauses}"))
        for _ in range(pauses):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, other, return_exceptions=True)
        assert not other.exception(), "other callers are not affected"
        await send(service, f"m{pauses}", f"id{pauses}")
    said = await said_by_people(service._store)
    assert sorted(said) == sorted([content(f"{name}{i}") for name in ("m", "other") for i in range(12)])
    await entries_of(service._store)


# --- claims of the local worker, and hints


class OneSlot:
    """A worker with one slot."""

    def __init__(self) -> None:
        self.is_free = True
        self.begun: list[Chat] = []

    def reserve_nowait(self, owner_id: str) -> str | None:
        self.is_free, was_free = False, self.is_free
        return "i1" if was_free else None

    def release(self, owner_id: str) -> None:
        assert not self.is_free
        self.is_free = True

    def start(self, chat_id: str, chat: Chat) -> None:
        assert not self.is_free
        self.begun.append(chat)


async def test_a_free_worker_claims_the_turn_in_the_append_that_starts_it(
    counting: CountingStore,
) -> None:
    worker = OneSlot()
    service = serve(counting, slots=worker)
    await create(service)
    assert worker.is_free
    done = await send(service, "hi")
    assert [chat.attempt for chat in worker.begun] == [done.chat.attempt]
    assert counting.results == [Appended.DONE] * 2
    assert isinstance((await entries_of(counting))[-1].fact, AttemptStarted)
    assert await counting.take_over("") == ((CHAT, done.chat.attempt),)
    assert not any(isinstance(entry.fact, AttemptStarted) for entry in done.entries), "not the sender's answer"


async def test_a_slot_is_released_when_nothing_was_written(counting: CountingStore) -> None:
    worker = OneSlot()
    service = serve(counting, slots=worker)
    await create(service)
    counting.failures = 1
    assert isinstance(await outcome(send(service, "hi")), Unavailable)
    assert (worker.is_free, worker.begun) == (True, [])


async def test_an_append_is_published_to_its_subscribers(service: Service) -> None:
    stream, owner, wanted = Recorder(), Recorder(), Recorder()
    for channel, received in ((stream_channel(CHAT), stream), (owner_channel("o"), owner), (WANTED_CHANNEL, wanted)):
        service._bus.subscribe(channel, received)
    await create(service)
    await send(service, "hi")
    assert [msgspec.json.decode(message or b"") for message in await stream.wait(2)] == [
        {"status": "waiting", "seq": 1, "draft": 1},
        {"after_message_id": 1, "status": "running", "seq": 2, "draft": 2},
    ]
    events = [msgspec.json.decode(message or b"") for message in await owner.wait(2)]
    assert [(message["kind"], message["seq"]) for message in events] == [("created", 1), ("status_change", 2)]
    assert [message["chat"]["status"] for message in events] == ["waiting", "running"]
    assert await wanted.wait(1) == [CHAT.encode()]


async def test_the_cached_state_is_the_stored_one(service: Service) -> None:
    assert service.chat_nowait(CHAT) is None
    assert await service.chat(CHAT) is None
    await create(service, "hi")
    await send(service, "more")
    assert await service.chat(CHAT) == service.chat_nowait(CHAT) == await service._store.load(CHAT)
    recent = service.entries_after(CHAT, 1)
    assert recent is not None
    assert [entry.seq for entry in recent] == [2, 3]
    assert isinstance(recent[1].fact, MessageQueued)
    service.evict(CHAT, 3)
    assert service.chat_nowait(CHAT) is not None, "the cached state is not older"
    service.evict(CHAT, 4)
    assert service.chat_nowait(CHAT) is None
    chat = await service.chat(CHAT)
    assert chat is not None
    assert chat.status is Status.RUNNING


def test_all_command_queues_share_one_limit_of_cached_content() -> None:
    queues = CommandQueues(recent_bytes_max=10_000)
    for i in range(40):
        queue = queues.get(f"c{i}")
        queue.cache_chat(None)
        queues.cache_entries(queue, [_message(1, 900), _message(2, 100)])
        assert queues.recent_bytes == sum(other.recent_bytes for other in queues._queues.values())
        assert queues.recent_bytes <= 10_000
    assert queues.get("c39").entries_after(0) is not None, "the newest facts stay in the cache"
    assert queues.get("c0").entries_after(0) is None


def _message(seq: int, size: int) -> Entry:
    fact = MessageAppended(role=Role.USER, turn_id=seq, content_size=size)
    return Entry(recorded=Recorded(seq, 0, fact), status=Status.RUNNING, draft=seq, content=b"x" * size)
