"""The doctor has no findings for a sound store, and reports what is wrong with a damaged one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from antiphon.chats.doctor import Finding, Report, examine
from antiphon.clock import SystemClock
from antiphon.core import commands as c
from antiphon.core.facts import CallOpened
from antiphon.core.model import Needs
from antiphon.core.parts import FileReference, Role
from antiphon.store.memory.store import MemoryStore
from antiphon.store.sqlite.store import SqliteStore, open_sqlite_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.store_case import Case
from antiphon.testing.store_file_checks import store as store_file
from antiphon.testing.stored_chat import StoredChat, content
from antiphon.wire.codec import encode_content

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "antiphon.db"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite_store(path, clock=SystemClock())
    try:
        yield store
    finally:
        await store.aclose()


async def fill(path: Path) -> None:
    """Create a held chat with an edited history and a queue, one that needs a worker, one that waits for a result,
    and a deleted one."""
    async with opened(path) as store:
        held = await StoredChat(store, "held").create(said="never mind", title="A title", labels={"a": "b"})  # 1, 2
        await held.do(c.EditMessage(message_id=2, content=content("hello"), target=Role.USER))  # 3 to 5
        await held.start()  # 6
        await held.answer("hello!")  # 7, 8
        await held.send("and now?")  # 9
        await held.start()  # 10
        await held.send("later")  # 11
        await StoredChat(store, "wants").create(said="hi")
        knows = await StoredChat(store, "knows").create(said="hi")  # 1, 2
        fence = {"attempt": await knows.start(), "draft": knows.chat.draft}  # 3
        await knows.do(
            c.CommitMessage(**fence, content=content("!"), upto=1, is_last=True, state=b'{"n":1}')
        )  # 4 to 6
        asks = await StoredChat(store, "asks").create(said="hi")
        attempt = await asks.start()
        call = CallOpened(tool_call_id="t", tool_name="t", needs=Needs.RESULT)
        fence = {"attempt": attempt, "draft": asks.chat.draft}
        await asks.do(c.CommitMessage(**fence, content=content("?"), upto=1, calls=(call,)))
        await asks.do(c.RequireAction(attempt=attempt, draft=asks.chat.draft, calls=(), deadline=1))
        gone = await StoredChat(store, "gone").create(said="secret")
        await gone.do(c.Delete())


async def examined(path: Path, *damage: str) -> Report:
    """The report of the doctor after these statements were executed on the file."""
    connection = apsw.Connection(str(path))
    for sql in damage:
        connection.execute(sql)
    connection.close()
    async with opened(path) as store:
        return await examine(store)


async def test_a_sound_store_has_no_findings(path: Path) -> None:
    await fill(path)
    report = await examined(path)
    assert report.is_sound, report.findings
    assert report == Report(chats=5, deleted=1, facts=11 + 2 + 5 + 1 + 6, messages=3 + 1 + 2 + 2, attempts=1)


async def test_an_empty_store_is_sound() -> None:
    assert await examine(MemoryStore(clock=FakeClock())) == Report()


DAMAGES: dict[str, tuple[str, str, str, int]] = {
    # name: (statement, chat, a piece of the finding, seq)
    "a fact is missing": (
        "DELETE FROM facts WHERE chat_id = 'held' AND seq = 4",
        "held",
        "fact 4 is missing: after 3 comes 5",
        4,
    ),
    "the first fact is missing": (
        "DELETE FROM facts WHERE chat_id = 'wants' AND seq = 1",
        "wants",
        "fact 1 is missing",
        1,
    ),
    "the last fact is missing": (
        "DELETE FROM facts WHERE chat_id = 'held' AND seq = 11",
        "held",
        "the state is that of 11, the log ends at 10",
        10,
    ),
    "the agent's state is missing": (
        "DELETE FROM contents WHERE chat_id = 'knows' AND seq = 5",
        "knows",
        "its content is missing",
        5,
    ),
    "all facts are missing": ("DELETE FROM facts WHERE chat_id = 'wants'", "wants", "a state but no facts", 0),
    "an append is cut": (
        "UPDATE facts SET more = 1 WHERE chat_id = 'held' AND seq = 11",
        "held",
        "its last append is not whole",
        11,
    ),
    "a fact is another": (
        "UPDATE facts SET body = (SELECT body FROM facts WHERE chat_id = 'held' AND seq = 6) WHERE chat_id = 'held'"
        " AND seq = 7",
        "held",
        "attempt_started cannot follow",
        7,
    ),
    "a fact cannot be read": (
        "UPDATE facts SET body = x'7b7d' WHERE chat_id = 'held' AND seq = 5",
        "held",
        "this fact cannot be read",
        5,
    ),
    "the state cannot be read": ("UPDATE chats SET state = x'00' WHERE chat_id = 'wants'", "wants", "cannot read", 0),
    "the state is another": (
        "UPDATE chats SET state = CAST(json_set(state, '$.pin_order', 5) AS BLOB) WHERE chat_id = 'held'",
        "held",
        "pin_order (5 instead of 0)",
        11,
    ),
    "a status beside a fact": (
        "UPDATE facts SET status = 'error' WHERE chat_id = 'held' AND seq = 6",
        "held",
        "it is marked error, draft 6, the fold says running, draft 6",
        6,
    ),
    "a draft beside a fact": (
        "UPDATE facts SET draft = 2 WHERE chat_id = 'held' AND seq = 6",
        "held",
        "it is marked running, draft 2",
        6,
    ),
    "a hidden message is shown": (
        "UPDATE messages SET hidden_by = 0 WHERE chat_id = 'held' AND seq = 2",
        "held",
        "it is visible, by the log it is hidden by 4",
        2,
    ),
    "a visible message is hidden": (
        "UPDATE messages SET hidden_by = 4 WHERE chat_id = 'held' AND seq = 5",
        "held",
        "it is hidden by 4, by the log it is visible",
        5,
    ),
    "hidden by another": (
        "UPDATE messages SET hidden_by = 9 WHERE chat_id = 'held' AND seq = 2",
        "held",
        "it is hidden by 9, by the log it is hidden by 4",
        2,
    ),
    "a message has no row": (
        "DELETE FROM messages WHERE chat_id = 'held' AND seq = 7",
        "held",
        "this message is missing from the history",
        7,
    ),
    "a content is missing": (
        "DELETE FROM contents WHERE chat_id = 'held' AND seq = 7",
        "held",
        "its content is missing",
        7,
    ),
    "a content is cut": (
        "UPDATE contents SET body = substr(body, 1, 5) WHERE chat_id = 'held' AND seq = 7",
        "held",
        "its content has 5 bytes instead of",
        7,
    ),
    "a queued content is missing": (
        "DELETE FROM contents WHERE chat_id = 'held' AND seq = 11",
        "held",
        "its content is missing",
        11,
    ),
    "a lease is missing": ("DELETE FROM leases", "held", "attempt 10 holds it without a lease", 11),
    "a lease is another's": ("UPDATE leases SET attempt = 6", "held", "the lease is that of attempt 6, but 10", 11),
    "a lease too many": (
        "INSERT INTO leases VALUES ('wants', 7, 'x', 1)",
        "wants",
        "the lease is that of attempt 7, but none",
        2,
    ),
    "a lease without a chat": ("INSERT INTO leases VALUES ('lost', 7, 'x', 1)", "lost", "a lease but no state", 0),
    "it is not claimed": (
        "UPDATE chats SET claim_at = NULL WHERE chat_id = 'wants'",
        "wants",
        "it cannot be claimed",
        2,
    ),
    "it is claimed for nothing": (
        "UPDATE chats SET claim_at = 1 WHERE chat_id = 'held'",
        "held",
        "it may be claimed, but no turn",
        11,
    ),
    "it is not due": ("UPDATE chats SET due_at = NULL WHERE chat_id = 'asks'", "asks", "is overdue, but", 5),
    "a title in the listing": ("UPDATE chats SET title = 'Other' WHERE chat_id = 'held'", "held", "not listed", 11),
    "an owner in the listing": ("UPDATE chats SET owner_id = 'x' WHERE chat_id = 'held'", "held", "not listed", 11),
    "labels in the listing": ("UPDATE chats SET labels = '{}' WHERE chat_id = 'held'", "held", "not listed", 11),
    "archived in the listing": ("UPDATE chats SET is_archived = 1 WHERE chat_id = 'held'", "held", "not listed", 11),
    "too late in the listing": ("UPDATE chats SET updated_at = 5 WHERE chat_id = 'asks'", "asks", "not listed", 5),
    "too early in the listing": (
        "UPDATE chats SET updated_at = 1 << 60 WHERE chat_id = 'held'",
        "held",
        "not listed",
        11,
    ),
    "deleted in the listing": ("UPDATE chats SET is_deleted = 0 WHERE chat_id = 'gone'", "gone", "but listed", 3),
    "a deleted content": (
        "INSERT INTO contents (chat_id, seq, body) VALUES ('gone', 2, x'00')",
        "gone",
        "its contents are not",
        3,
    ),
    "a deleted fact": (
        "INSERT INTO facts SELECT 'gone', 2, at, body, status, draft, more, 0, NULL FROM facts"
        " WHERE chat_id = 'wants' AND seq = 2",
        "gone",
        "a deleted chat keeps its last fact only",
        3,
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_and_named(name: str, path: Path) -> None:
    await fill(path)
    sql, chat_id, what, seq = DAMAGES[name]
    report = await examined(path, sql)
    assert not report.is_sound
    assert {finding.chat_id for finding in report.findings} == {chat_id}, "the other chats are sound"
    assert any(what in finding.what and finding.seq == seq for finding in report.findings), report.findings


async def test_several_damages_are_all_found(path: Path) -> None:
    await fill(path)
    report = await examined(
        path, "DELETE FROM contents WHERE chat_id = 'held'", "DELETE FROM facts WHERE chat_id = 'wants' AND seq = 1"
    )
    found = {(finding.chat_id, finding.seq) for finding in report.findings}
    assert found >= {("held", 5), ("held", 7), ("held", 9), ("held", 11), ("wants", 1)}


async def test_a_state_that_cannot_be_read_does_not_hide_the_rest(path: Path) -> None:
    await fill(path)
    report = await examined(
        path, "UPDATE chats SET state = x'00' WHERE chat_id = 'asks'", "DELETE FROM contents WHERE chat_id = 'held'"
    )
    assert {finding.chat_id for finding in report.findings} == {"asks", "held", "*"}


async def test_the_doctor_changes_nothing(path: Path) -> None:
    await fill(path)
    async with opened(path) as store:
        before = store._connection.total_changes()
        await examine(store)
        assert store._connection.total_changes() == before


async def test_a_long_log_is_read_in_pages() -> None:
    store = MemoryStore(clock=FakeClock())
    chat = await StoredChat(store, "c").create(said="hi")
    for i in range(1200):
        await chat.do(c.Rename(title=f"title {i}"))
    report = await examine(store)
    assert report.is_sound
    assert report.facts == 1202


async def test_a_store_in_use_is_examined_without_false_findings(path: Path) -> None:
    async with opened(path) as store:
        chats = [await StoredChat(store, f"c{i}").create(said="hi") for i in range(4)]
        is_done = False

        async def live(chat: StoredChat) -> None:
            while not is_done:
                await chat.start()
                await chat.send("more")
                await chat.answer("so")

        tasks = [asyncio.ensure_future(live(chat)) for chat in chats]
        for _ in range(5):
            report = await examine(store)
            assert report.is_sound, report.findings
        is_done = True
        await asyncio.gather(*tasks)
        report = await examine(store)
        assert (report.is_sound, report.moving) == (True, ())


def test_the_text_of_a_finding_has_its_place_and_problem() -> None:
    assert str(Finding(chat_id="c", what="its content is missing", seq=7)) == "c at 7: its content is missing"
    assert str(Finding(chat_id="c", what="it has no state")) == "c: it has no state"


# --- files


async def fill_with_files(path: Path) -> list[str]:
    """Two files: one that a message and one that a queued message names."""
    async with opened(path) as store:
        case = Case(store, FakeClock())
        shown, queued = await store_file(case, b"x" * 300_000), await store_file(case, b"queued")
        chat = await StoredChat(store, "c").create(said="hi")
        assert await store.use_files("o", "c", (shown.file_id, queued.file_id)) == ()
        for file in (shown, queued):
            await chat.do(c.SendMessage(content=encode_content([FileReference(file_id=file.file_id)])))
        return [shown.file_id, queued.file_id]


async def test_files_are_examined(path: Path) -> None:
    await fill_with_files(path)
    report = await examined(path)
    assert report.findings == ()
    assert report.files == 2


async def test_damaged_files_are_reported(path: Path) -> None:
    file_id, other = await fill_with_files(path)
    place = path.parent / "files" / file_id
    for damaged, what in (
        (b"X" + b"x" * 299_999, "its SHA-256 differs"),
        (b"x" * 299_999, "has 299999 bytes instead of 300000"),
        (b"x" * 300_001, "has 300001 bytes instead of 300000"),
        (None, "has no bytes"),
    ):
        place.unlink(missing_ok=True)
        if damaged is not None:
            place.write_bytes(damaged)
        (finding,) = (await examined(path)).findings
        assert str(finding).startswith(f"*: the file {file_id} ")
        assert what in finding.what
    assert other not in finding.what


async def test_a_chat_that_names_a_file_without_using_it_is_reported(path: Path) -> None:
    await fill_with_files(path)
    findings = (await examined(path, "DELETE FROM file_uses")).findings
    assert len(findings) == 2
    assert all("is not kept for this chat" in finding.what and finding.chat_id == "c" for finding in findings)
