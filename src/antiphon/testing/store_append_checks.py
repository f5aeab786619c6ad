"""Checks of a store's `append`: all or nothing, once, in order, and what it leaves behind."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core.facts import WITH_CONTENT, Fact, MessageAppended, MessageQueued
from antiphon.errors import Unavailable
from antiphon.ports import Appended, FlushedDelta
from antiphon.testing.store_case import Case
from antiphon.testing.stored_chat import ALL, content, receipt


async def check_an_append_is_read_back_as_it_was_written(case: Case) -> None:
    chat = case.chat()
    assert await case.store.load("c") is None
    assert await chat.entries() == ()
    created = await chat.do(c.CreateChat(owner_id="o", content=content("hi"), title="T", labels={"a": "b"}))
    sent = await chat.do(c.SendMessage(content=content("more")))
    assert await case.store.load("c") == chat.chat
    stored = await chat.entries()
    assert [entry.seq for entry in stored] == [1, 2, 3]
    assert [entry.content for entry in stored] == [None, content("hi"), content("more")]
    for entry, written in zip(stored, (*created, *sent), strict=True):
        assert (entry.more, entry.status, entry.draft) == (written.more, written.status, written.draft)
        assert entry.recorded.at == written.recorded.at
        assert _bare(entry.fact) == _bare(written.fact)
        assert not entry.hidden_by
    assert [entry.more for entry in stored] == [True, False, False]


async def check_contents_may_have_any_bytes(case: Case) -> None:
    bodies = [b"\x00\xff\xfe not even JSON", content("\x00\u2028\ud7ff😀"), b"[" + b"x" * 1_000_000 + b"]"]
    chat = await case.chat("ümlaut 😀 ' \" % _").create(title="'; DROP TABLE chats; --")
    for body in bodies:
        await chat.do(c.SendMessage(content=body))
    assert [entry.content for entry in await chat.entries()][1:] == bodies
    assert await case.store.load(chat.chat_id) == chat.chat


async def check_an_append_after_another_seq_is_a_conflict_and_writes_nothing(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    before = await case.stored()
    append = chat.make(c.Rename(title="never"))
    for wrong in (0, chat.chat.seq - 1, chat.chat.seq + 1):
        assert await case.store.append(replace(append, after_seq=wrong)) is Appended.CONFLICT
    assert await case.store.append(replace(append, chat_id="missing")) is Appended.CONFLICT
    assert await case.store.append(case.chat().make(c.CreateChat(owner_id="other"))) is Appended.CONFLICT
    assert await case.stored() == before
    assert await case.store.iter_chat_ids() == ("c",)


async def check_a_repeated_append_is_committed_once(case: Case) -> None:
    chat = case.chat()
    first = chat.make(c.CreateChat(owner_id="o", content=content("hi")), receipts=(receipt(""),))
    second_receipt = (receipt("a"),)
    assert await chat.offer(first) is Appended.DONE
    assert await case.store.append(first) is Appended.DONE
    second = chat.make(
        c.SendMessage(content=content("one")), c.SendMessage(content=content("two")), receipts=second_receipt
    )
    assert await chat.offer(second) is Appended.DONE
    before = await case.stored()
    assert await case.store.append(second) is Appended.DONE
    assert await case.store.append(first) is Appended.DONE
    assert await case.store.append(replace(second, append_id="another")) is Appended.CONFLICT
    assert await case.stored() == before


async def check_a_repeated_append_that_deleted_the_chat_is_committed_once(case: Case) -> None:
    chat = await case.chat().create()
    append = chat.make(c.SendMessage(content=content("last words")), c.Delete())
    assert await chat.offer(append) is Appended.DONE
    before = await case.stored()
    assert await case.store.append(append) is Appended.DONE
    assert await case.store.append(replace(append, append_id="another")) is Appended.CONFLICT
    assert await case.stored() == before


async def check_a_client_id_with_a_receipt_is_reported_and_nothing_is_written(case: Case) -> None:
    chat = await case.chat().create()
    await chat.do(c.SendMessage(content=content("one")), receipts=(receipt("a", b"first"),))
    before = await case.stored()
    repeat = chat.make(
        c.SendMessage(content=content("two")), receipts=(receipt("b"), receipt("a", b"second", b"other"))
    )
    assert await chat.offer(repeat) is Appended.ANSWERED
    assert await case.stored() == before
    assert await case.store.read_receipts("c", ["b", "a", "a"]) == {"a": receipt("a", b"first")}
    assert await case.store.read_receipts("c", []) == {}
    assert await case.store.read_receipts("other chat", ["a"]) == {}


async def check_a_conflict_is_reported_before_receipts_are_read(case: Case) -> None:
    """A repeat of the very append that wrote the receipt must be DONE, not ANSWERED."""
    chat = await case.chat().create()
    append = chat.make(c.SendMessage(content=content("one")), receipts=(receipt("a"),))
    assert await chat.offer(append) is Appended.DONE
    assert await case.store.append(append) is Appended.DONE
    assert await case.store.append(replace(append, append_id="another")) is Appended.CONFLICT


async def check_a_failed_append_writes_nothing(case: Case) -> None:
    chat = await case.chat().create()
    before = await case.stored()
    append = chat.make(c.SendMessage(content=content("x")), c.SetDiffStatus(diff_status=1), receipts=(receipt("a"),))
    *others, last = append.entries
    broken = replace(last, recorded=replace(last.recorded, fact=replace(last.fact, diff_status=object())))
    try:
        await case.store.append(replace(append, entries=(*others, broken)))
    except TypeError:
        pass
    else:
        raise AssertionError("a value that is not JSON was stored")
    assert await case.stored() == before
    assert await case.store.read_receipts("c", ["a"]) == {}
    assert await chat.offer(append) is Appended.DONE


async def check_one_of_many_appends_after_the_same_seq_is_committed(case: Case) -> None:
    first = await case.chat().create()
    rivals = [case.chat() for _ in range(32)]
    for rival in rivals:
        rival.state = first.chat
    appends = [rival.make(c.Rename(title=f"title {i}")) for i, rival in enumerate(rivals)]
    results = await asyncio.gather(*(case.store.append(append) for append in appends))
    assert sorted(results) == [Appended.CONFLICT] * 31 + [Appended.DONE]
    winner = appends[results.index(Appended.DONE)]
    assert await case.store.load("c") == winner.chat


async def check_all_writers_that_decide_again_after_a_conflict_succeed(case: Case) -> None:
    await case.chat().create(said="hi")

    async def send(i: int) -> None:
        chat = case.chat()
        while True:
            await chat.load()
            if await chat.offer(chat.make(c.SendMessage(content=content(f"m{i}")))) is Appended.DONE:
                return

    await asyncio.gather(*(send(i) for i in range(24)))
    queued = [entry.content for entry in await case.chat().entries() if isinstance(entry.fact, MessageQueued)]
    assert sorted(body for body in queued if body) == sorted(content(f"m{i}") for i in range(24))


async def check_many_chats_are_written_concurrently(case: Case) -> None:
    async def live(i: int) -> None:
        chat = await case.chat(f"c{i:03}").create(said=f"hi {i}")
        await chat.start()
        await chat.answer(f"answer {i}")

    await asyncio.gather(*(live(i) for i in range(64)))
    assert await case.store.iter_chat_ids() == tuple(f"c{i:03}" for i in range(64))
    for i in range(64):
        messages, _ = await case.store.read_messages(f"c{i:03}", limit=10)
        assert [entry.content for entry in messages] == [content(f"hi {i}"), content(f"answer {i}")]


async def check_a_deleted_chat_keeps_only_its_tombstone_and_receipts(case: Case) -> None:
    chat = await case.chat().create(said="secret", title="secret title", system="secret system")
    await chat.do(c.SendMessage(content=content("queued")), receipts=(receipt("a", b"answer"),))
    attempt = await chat.start()
    await case.store.flush([FlushedDelta(chat_id="c", draft=chat.chat.draft, from_=0, to=1, body=b"s")])
    draft = chat.chat.draft
    await chat.do(c.Delete())
    tombstone = await case.store.load("c")
    assert tombstone == chat.chat
    assert tombstone.is_deleted
    assert (tombstone.title, tombstone.system, tombstone.queue) == ("", "", ())
    entries = await chat.entries()
    assert [entry.seq for entry in entries] == [chat.chat.seq]
    assert await case.store.read_contents("c", range(1, chat.chat.seq + 1)) == {}
    assert await case.store.read_messages("c", limit=ALL) == ((), False)
    assert await case.store.message_role("c", 2) is None
    assert await case.store.queued_fate("c", 3) is None
    assert await case.store.read_flushed("c", draft) == ()
    assert await case.store.renew("i1", [("c", attempt)]) == {}
    assert await case.store.claimable(limit=ALL) == ()
    assert await case.store.read_receipts("c", ["a"]) == {"a": receipt("a", b"answer")}
    assert await case.store.iter_chat_ids() == ("c",)
    for entry in entries:
        assert not isinstance(entry.fact, MessageAppended)


async def check_receipts_outlive_a_truncation(case: Case) -> None:
    chat = await case.chat().create()
    entries = await chat.do(c.SendMessage(content=content("one")), receipts=(receipt("a", b"answer"),))
    target = await case.store.message_role("c", entries[0].seq)
    await chat.do(c.EditMessage(message_id=entries[0].seq, content=content("other"), target=target))
    assert await case.store.read_receipts("c", ["a"]) == {"a": receipt("a", b"answer")}
    repeat = chat.make(c.SendMessage(content=content("one")), receipts=(receipt("a"),))
    assert await chat.offer(repeat) is Appended.ANSWERED


async def check_a_closed_store_refuses(case: Case) -> None:
    chat = await case.chat().create()
    append = chat.make(c.Rename(title="late"))
    await case.store.check()
    await case.store.aclose()
    case.is_closed = True
    for late in (case.store.append(append), case.store.check()):
        try:
            await late
        except Unavailable:
            continue
        raise AssertionError("a closed store took a write")


def _bare(fact: Fact) -> Fact:
    return replace(fact, content=b"") if isinstance(fact, WITH_CONTENT) else fact
