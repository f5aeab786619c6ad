"""The command loop of one service: receipts are checked first, and some commands need evidence from the log."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.chats.service import Service
from antiphon.core import commands as c
from antiphon.core.facts import HistoryTruncated, MessageAppended
from antiphon.core.model import WhenBusy
from antiphon.errors import AlreadyDelivered, Busy, Conflict, Invalid, NotFound
from antiphon.ports import Request
from antiphon.testing.stored_chat import content

from .serving import (
    CHAT,
    answer,
    create,
    entries_of,
    outcome,
    said_by_people,
    send,
    serve,
    start,
)

pytestmark = pytest.mark.anyio


# --- receipts first


async def test_a_repeat_gets_the_first_answer(service: Service) -> None:
    await create(service)
    first = await send(service, "hi", "id")
    again = await send(service, "hi", "id")
    assert again.is_repeat
    assert not first.is_repeat
    assert [e.seq for e in again.entries] == [e.seq for e in first.entries if isinstance(e.fact, MessageAppended)]
    assert again.entries[0].content == content("hi")
    assert again.entries[0].recorded.at == first.entries[0].recorded.at
    assert await said_by_people(service._store) == [content("hi")]


async def test_a_repeat_is_answered_although_a_new_send_is_refused(service: Service) -> None:
    await create(service)
    first = await send(service, "hi", "id", when_busy=WhenBusy.REJECT)
    with pytest.raises(Busy):
        await send(service, "another", "other id", when_busy=WhenBusy.REJECT)
    again = await send(service, "hi", "id", when_busy=WhenBusy.REJECT)
    assert again.entries[0].seq == first.entries[0].seq


async def test_a_repeat_is_answered_after_a_truncation_and_after_a_deletion(service: Service) -> None:
    await create(service)
    first = (await send(service, "hi", "id")).entries[0].seq
    await service.execute(CHAT, c.EditMessage(message_id=first, content=content("other"), target=None))
    assert (await send(service, "hi", "id")).entries[0].seq == first
    await service.execute(CHAT, c.Delete())
    assert (await send(service, "hi", "id")).entries[0].seq == first
    with pytest.raises(NotFound):
        await send(service, "hi", "another id")


async def test_a_repeat_with_another_body_is_a_conflict(service: Service) -> None:
    await create(service)
    await send(service, "hi", "id")
    with pytest.raises(Conflict):
        await send(service, "something else", "id")
    with pytest.raises(Conflict):
        await send(service, "something else", "id", when_busy=WhenBusy.REJECT)
    assert await said_by_people(service._store) == [content("hi")]


async def test_a_repeat_is_answered_after_a_restart(service: Service) -> None:
    await create(service)
    first = await send(service, "hi", "id")
    restarted = serve(service._store, seed=1)
    assert (await send(restarted, "hi", "id")).entries[0].seq == first.entries[0].seq


async def test_concurrent_repeats_are_executed_once(service: Service) -> None:
    await create(service)
    answers = await asyncio.gather(*(send(service, "hi", "id") for _ in range(10)))
    assert len({done.entries[0].seq for done in answers}) == 1
    assert sum(done.is_repeat for done in answers) == 9
    answers = [await outcome(send(service, f"{i}", "same id")) for i in range(3)]
    assert [type(answer) is Conflict for answer in answers] == [False, True, True]
    assert len(await said_by_people(service._store)) == 2


async def test_a_chat_is_created_once(service: Service) -> None:
    def create_with(body: bytes) -> object:
        request = Request(client_id="", body_hash=body)
        return outcome(service.execute(CHAT, c.CreateChat(owner_id="o"), request=request))

    first, again, other = [await create_with(body) for body in (b"1", b"1", b"2")]  # type: ignore[misc]
    assert (first.is_repeat, again.is_repeat) == (False, True)
    assert isinstance(other, Conflict)
    with pytest.raises(Conflict):
        await create(service)
    assert len(await entries_of(service._store)) == 1


# --- evidence


async def test_an_edit_finds_its_message_in_the_history(service: Service) -> None:
    await create(service, "one")
    await start(service)
    answered = (await answer(service)).entries[0].seq
    with pytest.raises(Invalid):
        await service.execute(CHAT, c.EditMessage(message_id=answered, content=b"[]", target=None))
    for missing in (0, 1, 99):
        with pytest.raises(NotFound):
            await service.execute(CHAT, c.EditMessage(message_id=missing, content=b"[]", target=None))
    done = await service.execute(CHAT, c.EditMessage(message_id=2, content=content("two"), target=None))
    assert isinstance(done.entries[0].fact, HistoryTruncated)
    with pytest.raises(NotFound):  # it is hidden now
        await service.execute(CHAT, c.EditMessage(message_id=2, content=b"[]", target=None))


async def test_two_edits_of_one_message_at_once(service: Service) -> None:
    await create(service, "one")
    edits = [c.EditMessage(message_id=2, content=content(f"edit {i}"), target=None) for i in range(2)]
    answers = await asyncio.gather(*(outcome(service.execute(CHAT, edit)) for edit in edits))
    assert [isinstance(answer, NotFound) for answer in answers] == [False, True]


async def test_a_command_on_a_delivered_message_is_refused_as_already_delivered(service: Service) -> None:
    await create(service, "one")
    await start(service)
    delivered = (await send(service, "two")).entries[0].seq
    deleted = (await send(service, "three")).entries[0].seq
    await service.execute(CHAT, c.DeleteQueued(queued_id=deleted))
    await answer(service)
    for late in (
        c.DeleteQueued(queued_id=delivered),
        c.EditQueued(queued_id=delivered, content=b"[]"),
        c.MoveQueued(queued_id=delivered),
        c.PromoteQueued(queued_id=delivered),
    ):
        with pytest.raises(AlreadyDelivered):
            await service.execute(CHAT, late)
    assert (await service.execute(CHAT, c.DeleteQueued(queued_id=deleted))).entries == (), "a repeat is answered"
    for missing in (0, 2, 99):
        with pytest.raises(NotFound):
            await service.execute(CHAT, c.DeleteQueued(queued_id=missing))
    with pytest.raises(NotFound):
        await service.execute(CHAT, c.EditQueued(queued_id=deleted, content=b"[]"))


async def test_evidence_is_read_after_the_commands_queued_before(service: Service) -> None:
    """The delivery and the delete are queued together: the delete sees the delivery."""
    await create(service, "one")
    await start(service)
    queued = (await send(service, "two")).entries[0].seq
    chat = await service.chat(CHAT)
    assert chat is not None
    commit = c.CommitMessage(attempt=chat.attempt, draft=chat.draft, content=content("a"), upto=1, is_last=True)
    calls = [
        service.execute(CHAT, commit),
        send(service, "three"),
        service.execute(CHAT, c.DeleteQueued(queued_id=queued)),
    ]
    answers = await asyncio.gather(*(outcome(call) for call in calls))
    assert isinstance(answers[2], AlreadyDelivered)
