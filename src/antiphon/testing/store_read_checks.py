"""Checks of what a store says of one chat: its facts, its visible history, contents and the queue's fates."""

from __future__ import annotations

from antiphon.core import commands as c
from antiphon.core.facts import HistoryTruncated, MessageAppended
from antiphon.core.model import WhenBusy
from antiphon.core.parts import Role
from antiphon.testing.store_case import Case
from antiphon.testing.stored_chat import ALL, StoredChat, content


async def check_entries_are_limited_by_count(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    for i in range(5):
        await chat.send(f"m{i}")
    store = case.store
    assert [entry.seq for entry in await store.read_entries("c", 0, limit=3, bytes_max=ALL)] == [1, 2, 3]
    assert [entry.seq for entry in await store.read_entries("c", 3, limit=3, bytes_max=ALL)] == [4, 5, 6]
    assert [entry.seq for entry in await store.read_entries("c", 6, limit=3, bytes_max=ALL)] == [7]
    assert await store.read_entries("c", 7, limit=3, bytes_max=ALL) == ()
    assert await store.read_entries("c", 99, limit=3, bytes_max=ALL) == ()
    assert await store.read_entries("missing", 0, limit=3, bytes_max=ALL) == ()


async def check_entries_are_limited_by_bytes_but_at_least_one_is_read(case: Case) -> None:
    chat = await case.chat().create(said="x" * 10_000)
    for _ in range(3):
        await chat.send("x" * 10_000)
    store = case.store
    assert [entry.seq for entry in await store.read_entries("c", 1, limit=ALL, bytes_max=1)] == [2]
    assert [entry.seq for entry in await store.read_entries("c", 1, limit=ALL, bytes_max=15_000)] == [2, 3]
    after, seqs = 0, []
    while page := await store.read_entries("c", after, limit=ALL, bytes_max=12_000):
        seqs += [entry.seq for entry in page]
        after = page[-1].seq
    assert seqs == [1, 2, 3, 4, 5]


async def check_the_newest_fact_of_a_kind_is_found_without_its_content(case: Case) -> None:
    chat = await case.chat().create(said="x" * 10_000)
    for i in range(3):
        await chat.send(f"m{i}")
    store = case.store
    first = await store.newest_entry("c", "message_appended", after_seq=0)
    assert first is not None
    assert (first.seq, first.content, isinstance(first.fact, MessageAppended)) == (2, None, True)
    assert await store.newest_entry("c", "message_appended", after_seq=2) is None
    assert await store.newest_entry("c", "message_appended", after_seq=0, upto=1) is None
    assert await store.newest_entry("c", "message_appended", after_seq=0, upto=2) == first
    newest = await store.newest_entry("c", "message_queued", after_seq=0)
    assert newest is not None
    assert newest.seq == chat.chat.seq
    assert await store.newest_entry("c", "action_required", after_seq=0) is None
    assert await store.newest_entry("missing", "message_appended", after_seq=0) is None


async def check_the_oldest_fact_of_a_kind_is_found_without_its_content(case: Case) -> None:
    chat = await case.chat().create(said="x" * 10_000)
    for i in range(3):
        await chat.send(f"m{i}")
    store = case.store
    oldest = await store.oldest_entry("c", "message_queued", after_seq=0)
    assert oldest is not None
    assert (oldest.seq, oldest.content) == (3, None)
    following = await store.oldest_entry("c", "message_queued", after_seq=3)
    assert following is not None
    assert following.seq == 4
    assert await store.oldest_entry("c", "message_queued", after_seq=chat.chat.seq) is None
    assert await store.oldest_entry("c", "action_required", after_seq=0) is None
    assert await store.oldest_entry("missing", "message_appended", after_seq=0) is None


async def _long_chat(case: Case, turns: int) -> StoredChat:
    """A chat of questions and answers, one of which was edited: the first messages are hidden."""
    chat = await case.chat().create(said="never mind")
    await chat.do(c.EditMessage(message_id=2, content=content("q0"), target=Role.USER))
    for i in range(turns):
        if i:
            await chat.send(f"q{i}")
        await chat.start()
        await chat.answer(f"a{i}")
    return chat


async def check_messages_are_paged_both_ways(case: Case) -> None:
    await _long_chat(case, 6)
    store, said = case.store, [content(f"{who}{i}") for i in range(6) for who in "qa"]
    all_of_them, has_more = await store.read_messages("c", limit=ALL)
    ids = [entry.seq for entry in all_of_them]
    assert [entry.content for entry in all_of_them] == said
    assert not has_more
    assert ids == sorted(ids)
    newest, has_more = await store.read_messages("c", limit=5)
    assert [entry.seq for entry in newest] == ids[-5:]
    assert has_more
    before, has_more = await store.read_messages("c", before_id=newest[0].seq, limit=7)
    assert [entry.seq for entry in before] == ids[:-5]
    assert not has_more, "exactly as many as there are is not more"
    after, has_more = await store.read_messages("c", after_id=ids[2], limit=4)
    assert [entry.seq for entry in after] == ids[3:7]
    assert has_more
    after, has_more = await store.read_messages("c", after_id=ids[7], limit=4)
    assert [entry.seq for entry in after] == ids[8:]
    assert not has_more
    assert (await store.read_messages("c", after_id=0, limit=4))[0] == all_of_them[:4], "from the beginning"
    assert await store.read_messages("c", after_id=ids[-1], limit=4) == ((), False)
    assert await store.read_messages("c", before_id=ids[0], limit=4) == ((), False)
    assert await store.read_messages("missing", limit=4) == ((), False)
    few, has_more = await store.read_messages("c", limit=5, bytes_max=1)
    assert (few, has_more) == (newest[-1:], True), "a page has at least one message, and ends where it is full"
    few, has_more = await store.read_messages("c", after_id=ids[2], limit=4, bytes_max=1)
    assert ([entry.seq for entry in few], has_more) == ([ids[3]], True)


async def check_a_truncation_hides_and_replays_without_content(case: Case) -> None:
    chat = await case.chat().create(said="one")
    await chat.start()
    first_answer = await chat.answer("first answer")
    second = await chat.send("two")
    await chat.start()
    second_answer = await chat.answer("second answer")
    edited = await chat.do(c.EditMessage(message_id=second, content=content("two, edited"), target=Role.USER))
    by = next(entry.seq for entry in edited if isinstance(entry.fact, HistoryTruncated))
    marks = {entry.seq: entry.hidden_by for entry in await chat.entries() if isinstance(entry.fact, MessageAppended)}
    assert marks == {2: 0, first_answer: 0, second: by, second_answer: by, by + 1: 0}
    for entry in await chat.entries():
        if entry.hidden_by:
            assert entry.content is None, "what is hidden is replayed without content"
    assert await _texts(case) == [content("one"), content("first answer"), content("two, edited")]
    assert await case.store.message_role("c", second) is None
    again = await chat.do(c.EditMessage(message_id=2, content=content("all new"), target=Role.USER))
    by_2 = next(entry.seq for entry in again if isinstance(entry.fact, HistoryTruncated))
    marks = {entry.seq: entry.hidden_by for entry in await chat.entries() if isinstance(entry.fact, MessageAppended)}
    expected = {2: by_2, first_answer: by_2, second: by, second_answer: by, by + 1: by_2, by_2 + 1: 0}
    assert marks == expected, "what an earlier truncation hid keeps its mark"
    assert await _texts(case) == [content("all new")]


async def check_a_retry_hides_the_answer_only(case: Case) -> None:
    chat = await case.chat().create(said="one")
    await chat.start()
    answer = await chat.answer("bad answer")
    await chat.do(c.Retry())
    assert await _texts(case) == [content("one")]
    assert await case.store.message_role("c", answer) is None
    await chat.start()
    await chat.answer("good answer")
    assert await _texts(case) == [content("one"), content("good answer")]


async def check_replaced_messages_are_read_as_of_a_seq(case: Case) -> None:
    """Also what was hidden twice, page by page, and the list of the versions."""
    chat = await case.chat().create(said="one")
    await chat.start()
    await chat.answer("answer 1")
    second = await chat.send("two")
    await chat.start()
    await chat.answer("answer 2")
    assert await case.store.read_versions("c", limit=9) == ()
    edit = await chat.do(c.EditMessage(message_id=second, content=content("two, edited"), target=Role.USER))
    edited = next(entry for entry in edit if isinstance(entry.fact, HistoryTruncated))
    await chat.start()
    answer = await chat.answer("answer 3")
    retry = await chat.do(c.Retry())
    retried = next(entry.seq for entry in retry if isinstance(entry.fact, HistoryTruncated))
    await chat.start()
    await chat.answer("answer 4")
    first = [content("one"), content("answer 1")]
    before_edit = [*first, content("two"), content("answer 2")]
    assert await _texts(case, as_of=edited.seq - 1) == before_edit
    assert await _texts(case, as_of=edited.seq) == first
    assert await _texts(case, as_of=retried - 1) == [*first, content("two, edited"), content("answer 3")]
    assert await _texts(case, as_of=retried) == [*first, content("two, edited")]
    assert await _texts(case, as_of=10**9) == await _texts(case)
    assert await _texts(case, as_of=0) == []
    page, has_more = await case.store.read_messages("c", after_id=2, limit=2, as_of=edited.seq - 1)
    assert ([entry.content for entry in page], has_more) == (before_edit[1:3], True)
    page, has_more = await case.store.read_messages("c", before_id=second, limit=1, as_of=edited.seq - 1)
    assert ([entry.content for entry in page], has_more) == (before_edit[1:2], True)
    versions = await case.store.read_versions("c", limit=9)
    assert [(v.seq, v.from_message_id, v.after_message_id) for v in versions] == [
        (edited.seq, second, page[0].seq),
        (retried, answer, edited.seq + 1),
    ]
    assert versions[0].at == edited.recorded.at
    assert await case.store.read_versions("c", limit=1) == versions[1:], "the newest ones"
    assert await case.store.read_versions("missing", limit=9) == ()
    await chat.do(c.EditMessage(message_id=2, content=content("all new"), target=Role.USER))
    assert [v.after_message_id for v in await case.store.read_versions("c", limit=9)] == [
        page[0].seq,
        edited.seq + 1,
        0,
    ]
    assert await _texts(case, as_of=retried - 1) == [*first, content("two, edited"), content("answer 3")]


async def check_a_delivered_message_has_the_content_of_the_queued_one(case: Case) -> None:
    chat = await case.chat().create(said="one")
    await chat.start()
    queued = await chat.send("two")
    await chat.answer("first answer")
    delivered = (await chat.entries())[-1]
    assert isinstance(delivered.fact, MessageAppended)
    assert (delivered.fact.queued_id, delivered.fact.content_seq) == (queued, queued)
    assert delivered.content == content("two")
    assert await case.store.read_contents("c", [queued, delivered.seq]) == {queued: content("two")}, "it lies once"


async def check_an_edited_queued_message_is_delivered_as_edited(case: Case) -> None:
    chat = await case.chat().create(said="one")
    await chat.start()
    queued = await chat.send("two")
    edit = (await chat.do(c.EditQueued(queued_id=queued, content=content("two, edited"))))[0].seq
    assert chat.chat.queue[0].content_seq == edit
    assert await case.store.read_contents("c", [edit]) == {edit: content("two, edited")}
    await chat.answer("first answer")
    assert (await chat.entries())[-1].content == content("two, edited")


async def check_visible_messages_of_users_and_models_are_counted(case: Case) -> None:
    chat = await case.chat().create(said="one")
    assert await case.store.count_messages("c") == 1
    await chat.start()
    await chat.answer("answer")
    assert await case.store.count_messages("c") == 2
    await chat.do(c.EditMessage(message_id=2, content=content("other"), target=Role.USER))
    assert await case.store.count_messages("c") == 1
    assert await case.store.count_messages("missing") == 0
    owner_id = chat.chat.owner_id
    assert await case.store.count_chats(owner_id) == 1
    other = await case.chat("d").create()
    assert await case.store.count_chats(owner_id) == 2
    await other.do(c.Archive())
    assert await case.store.count_chats(owner_id) == 1
    await chat.do(c.Delete())
    assert (await case.store.count_chats(owner_id), await case.store.count_chats("unknown")) == (0, 0)


async def check_a_setting_has_the_value_written_last(case: Case) -> None:
    assert await case.store.read_setting("active") == ""
    for value in ("a", "b", ""):
        await case.store.write_setting("active", value)
        assert await case.store.read_setting("active") == value
    assert await case.store.read_setting("other") == ""


async def check_roles_are_those_of_visible_messages(case: Case) -> None:
    chat = await case.chat().create(said="one")
    await chat.start()
    answer = await chat.answer("answer")
    store = case.store
    assert await store.message_role("c", 2) is Role.USER
    assert await store.message_role("c", answer) is Role.ASSISTANT
    for none in (0, 1, answer + 1, 99):
        assert await store.message_role("c", none) is None
    assert await store.message_role("missing", 2) is None


async def check_the_outcome_of_a_queued_message_is_stored(case: Case) -> None:
    chat = await case.chat().create(said="one")
    await chat.start()
    delivered, deleted, waiting = [await chat.send(text) for text in ("two", "three", "four")]
    steering = await chat.send("five", when_busy=WhenBusy.STEER)
    await chat.do(c.DeleteQueued(queued_id=deleted))
    await chat.do(c.DeleteQueued(queued_id=steering))
    await chat.answer("answer")
    store = case.store
    assert await store.queued_fate("c", delivered) == "delivered"
    assert await store.queued_fate("c", deleted) == "queued"
    assert await store.queued_fate("c", waiting) == "queued"
    assert await store.queued_fate("c", steering) == "queued"
    for none in (0, 1, 2, chat.chat.seq, 99):
        assert await store.queued_fate("c", none) is None
    assert await store.queued_fate("missing", delivered) is None
    last = chat.chat.last_message_id
    await chat.do(c.EditMessage(message_id=last, content=content("new"), target=Role.USER))
    assert await store.queued_fate("c", delivered) == "delivered", "also when a truncation has hidden it since"


async def check_contents_are_read_by_seq(case: Case) -> None:
    chat = await case.chat().create(said="one")
    second = await chat.send("two")
    assert await case.store.read_contents("c", [second, 2, 1, 99]) == {2: content("one"), second: content("two")}
    assert await case.store.read_contents("c", []) == {}
    assert await case.store.read_contents("missing", [2]) == {}


async def _texts(case: Case, as_of: int | None = None) -> list[bytes | None]:
    return [entry.content for entry in (await case.store.read_messages("c", limit=ALL, as_of=as_of))[0]]
