"""Checks of what a store does for workers: leases, claims, what is due, flushed drafts."""

from __future__ import annotations

from antiphon.core import commands as c
from antiphon.core.facts import ActionNeeded, CallOpened
from antiphon.core.model import ErrorInfo, Needs, Status
from antiphon.ports import Appended, Due, FlushedDelta
from antiphon.testing.store_case import Case
from antiphon.testing.stored_chat import ALL, StoredChat, content

LEASE_S = 10.0


async def check_an_attempt_that_starts_is_granted_the_lease(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    assert await case.store.claimable(limit=ALL) == ("c",)
    assert await case.store.take_over("i2") == ()
    attempt = await chat.start("i1")
    assert await case.store.claimable(limit=ALL) == ()
    assert await case.store.take_over("") == (("c", attempt),)
    lost = (
        () if case.store.is_shared else (("c", attempt),)
    )  # there, a starting instance does not prove that the previous one is dead
    assert await case.store.take_over("i2") == lost
    assert await case.store.take_over("i1") == ()
    await chat.answer("done")
    assert await case.store.take_over("") == (), "the lease goes with the attempt"
    assert await case.store.renew("i1", [("c", attempt)]) == {}


async def check_the_next_turn_may_be_granted_in_the_append_that_ended_the_last(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    first = await chat.start("i1")
    await chat.send("next")
    commit = c.CommitMessage(attempt=first, draft=chat.chat.draft, content=content("a"), upto=1, is_last=True)
    await chat.do(commit, c.StartAttempt(instance_id="i2"))
    assert await case.store.take_over("") == (("c", chat.chat.attempt),)
    assert await case.store.renew("i1", [("c", first)]) == {}
    assert await case.store.renew("i2", [("c", chat.chat.attempt)]) == {"c": Status.RUNNING}


async def check_only_the_current_attempt_of_its_instance_is_renewed(case: Case) -> None:
    store, chat = case.store, await case.chat().create(said="hi")
    attempt = await chat.start("i1")
    other = await case.chat("d").create(said="hi")
    other_attempt = await other.start("i1")
    asked = [("c", attempt), ("d", other_attempt), ("missing", 3), ("c", attempt + 1)]
    assert await store.renew("i1", asked) == {"c": Status.RUNNING, "d": Status.RUNNING}
    assert await store.renew("i2", asked) == {}
    await chat.do(c.Interrupt(turn_id=chat.chat.turn_id))
    assert await store.renew("i1", asked) == {"c": Status.INTERRUPTING, "d": Status.RUNNING}
    await chat.do(c.ExpireAttempt(attempt=attempt, reason="dead"))
    await chat.send("again")
    again = await chat.start("i1")
    assert await store.renew("i1", [("c", attempt)]) == {}, "an old attempt renews nothing"
    assert await store.renew("i1", [("c", again)]) == {"c": Status.RUNNING}
    assert await store.renew("i1", []) == {}


async def check_expiry_by_lease_is_refused_while_the_lease_is_live(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    attempt = await chat.start("i1")
    case.clock.advance(LEASE_S - 1)
    await _check_live(case, chat, attempt)
    assert await case.store.renew("i1", [("c", attempt)])
    case.clock.advance(LEASE_S - 1)
    await _check_live(case, chat, attempt)
    case.clock.advance(1)
    assert await case.store.due(limit=ALL) == (Due(chat_id="c", attempt=attempt, why="lease"),)
    await chat.do(c.ExpireAttempt(attempt=attempt, reason="lease"))
    assert await case.store.due(limit=ALL) == ()
    assert await case.store.claimable(limit=ALL) == ("c",)
    assert await case.store.take_over("") == ()


async def _check_live(case: Case, chat: StoredChat, attempt: int) -> None:
    before = await case.stored()
    assert await case.store.due(limit=ALL) == ()
    expiry = chat.make(c.ExpireAttempt(attempt=attempt, reason="lease"))
    assert await chat.offer(expiry) is Appended.LEASE_LIVE
    assert await case.stored() == before, "nothing was written"


async def check_a_plain_drop_needs_no_ended_lease(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    attempt = await chat.start("i1")
    await chat.do(c.ExpireAttempt(attempt=attempt, reason="dead"))
    assert await case.store.take_over("") == ()
    assert await case.store.claimable(limit=ALL) == ("c",)


async def check_a_repeated_expiry_is_committed_once_though_the_next_lease_is_live(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    attempt = await chat.start("i1")
    case.clock.advance(LEASE_S)
    expiry = chat.make(c.ExpireAttempt(attempt=attempt, reason="lease"))
    assert await chat.offer(expiry) is Appended.DONE
    second = await chat.start("i2")
    assert await case.store.append(expiry) is Appended.DONE
    assert await case.store.take_over("") == (("c", second),)


async def check_an_ended_lease_may_still_be_renewed_by_its_holder(case: Case) -> None:
    """After a stall an instance renews before another one has expired its lease, and continues."""
    chat = await case.chat().create(said="hi")
    attempt = await chat.start("i1")
    case.clock.advance(LEASE_S * 3)
    assert await case.store.renew("i1", [("c", attempt)]) == {"c": Status.RUNNING}
    assert await case.store.due(limit=ALL) == ()


async def check_chats_are_claimable_longest_waiting_first(case: Case) -> None:
    for chat_id in ("z", "m", "a"):
        case.clock.advance(1)
        await case.chat(chat_id).create(said="hi")
    await case.chat("idle").create()
    assert await case.store.claimable(limit=ALL) == ("z", "m", "a")
    assert await case.store.claimable(limit=2) == ("z", "m")
    assert await case.store.claimable(limit=2, passing_over=("z", "unknown")) == ("m", "a")
    waiting = await case.store.load("z")
    assert waiting is not None
    assert await case.store.claimable(limit=ALL, passing_over=(waiting.owner_id,)) == ()
    held = case.chat("m")
    await held.load()
    await held.start()
    assert await case.store.claimable(limit=ALL) == ("z", "a")


async def check_a_chat_is_not_claimable_before_its_scheduled_retry(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    attempt = await chat.start()
    error = ErrorInfo(message="busy", kind="overloaded", retryable=True)
    failed = c.FailAttempt(attempt=attempt, draft=chat.chat.draft, error=error, delay_ms=30_000)
    await chat.do(failed)
    assert chat.chat.needs_worker
    assert await case.store.claimable(limit=ALL) == ()
    case.clock.advance(29.9)
    assert await case.store.claimable(limit=ALL) == ()
    case.clock.advance(0.1)
    assert await case.store.claimable(limit=ALL) == ("c",)


async def check_ended_leases_are_due_in_the_order_they_ended(case: Case) -> None:
    for chat_id in ("z", "m", "a"):
        chat = await case.chat(chat_id).create(said="hi")
        await chat.start()
        case.clock.advance(1)
    case.clock.advance(LEASE_S - 3)
    assert [due.chat_id for due in await case.store.due(limit=ALL)] == ["z"]
    case.clock.advance(2)
    assert [due.chat_id for due in await case.store.due(limit=ALL)] == ["z", "m", "a"]
    assert [due.chat_id for due in await case.store.due(limit=2)] == ["z", "m"]


async def check_an_interrupt_is_due_after_a_second(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    attempt = await chat.start()
    await chat.do(c.Interrupt(turn_id=chat.chat.turn_id))
    case.clock.advance(0.9)
    assert await case.store.due(limit=ALL) == ()
    case.clock.advance(0.1)
    assert await case.store.due(limit=ALL) == (Due(chat_id="c", attempt=attempt, why="interrupt"),)
    await chat.do(c.ExpireAttempt(attempt=attempt, reason="interrupt"))
    assert await case.store.due(limit=ALL) == ()
    assert await case.store.take_over("") == ()


async def check_an_action_is_due_at_its_deadline(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    attempt = await chat.start()
    call = CallOpened(tool_call_id="t1", tool_name="ask", needs=Needs.RESULT)
    await chat.do(
        c.CommitMessage(attempt=attempt, draft=chat.chat.draft, content=content("?"), upto=1, calls=(call,))
    )
    needed = ActionNeeded(tool_call_id="t1", tool_name="ask", args={}, needs=Needs.RESULT)
    deadline = case.clock.now_us() + 60_000_000
    await chat.do(c.RequireAction(attempt=attempt, draft=chat.chat.draft, calls=(needed,), deadline=deadline))
    assert await case.store.take_over("") == (), "the attempt has ended"
    case.clock.advance(59)
    assert await case.store.due(limit=ALL) == ()
    case.clock.advance(1)
    assert await case.store.due(limit=ALL) == (Due(chat_id="c", attempt=0, why="action"),)
    await chat.do(c.ExpireAction())
    assert await case.store.due(limit=ALL) == ()
    assert await case.store.claimable(limit=ALL) == ("c",)


# --- flushed drafts


def piece(chat: StoredChat, from_: int, to: int, *, draft: int = 0) -> FlushedDelta:
    body = b"%d-%d" % (from_, to)
    return FlushedDelta(chat_id=chat.chat_id, draft=draft or chat.chat.draft, from_=from_, to=to, body=body)


async def check_flushed_deltas_are_read_by_position(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    await chat.start()
    pieces = [piece(chat, 0, 3), piece(chat, 3, 9), piece(chat, 9, 12)]
    await case.store.flush([pieces[2], pieces[0]])
    await case.store.flush([pieces[1]])
    assert await case.store.read_flushed("c", chat.chat.draft) == tuple(pieces)
    assert await case.store.read_flushed("c", chat.chat.draft - 1) == ()
    assert await case.store.read_flushed("missing", 1) == ()
    await case.store.flush([])


async def check_the_longer_of_two_flushed_deltas_is_stored(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    await case.store.flush([piece(chat, 0, 5)])
    await case.store.flush([piece(chat, 0, 9)])
    await case.store.flush([piece(chat, 0, 5)])
    assert await case.store.read_flushed("c", chat.chat.draft) == (piece(chat, 0, 9),)


async def check_drafts_are_flushed_only_while_they_are_open(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    await chat.start()
    draft = chat.chat.draft
    other = await case.chat("d").create(said="hi")
    await chat.answer("done")
    await case.store.flush([piece(chat, 0, 1, draft=draft), piece(other, 0, 1), piece(chat, 0, 1, draft=99)])
    assert await case.store.read_flushed("c", draft) == ()
    assert await case.store.read_flushed("c", 99) == ()
    assert await case.store.read_flushed("d", other.chat.draft) == (piece(other, 0, 1),), "the others are kept"


async def check_flushed_deltas_are_deleted_with_their_draft(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    await chat.start()
    draft = chat.chat.draft
    await case.store.flush([piece(chat, 0, 1)])
    await chat.do(c.Rename(title="this leaves the draft alone"))
    assert await case.store.read_flushed("c", draft) == (piece(chat, 0, 1),)
    await chat.answer("done")
    assert await case.store.read_flushed("c", draft) == ()
