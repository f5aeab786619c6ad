"""A copy of a store has everything: facts, contents, receipts, owners, tokens, sessions, settings, configuration."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from antiphon.chats.doctor import examine
from antiphon.clock import SystemClock
from antiphon.core import commands as c
from antiphon.core.model import Status
from antiphon.errors import Invalid, Unavailable
from antiphon.local.lock import DataDirectoryTaken, claim_data
from antiphon.ports import Appended, ConfigRow, FlushedDelta, InstanceRecord, Notification, Share, Store
from antiphon.store.copying import copy_store
from antiphon.store.postgres.store import open_postgres_store
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.store.tables import TABLES
from antiphon.testing.clock import FakeClock
from antiphon.testing.store_case import Case
from antiphon.testing.store_difference import CHAT_IDS, CLIENT_IDS, Difference
from antiphon.testing.store_file_checks import read as read_file_of
from antiphon.testing.store_file_checks import store as store_file
from antiphon.testing.stored_chat import ALL, StoredChat, receipt
from support.postgres import PostgresServer

pytestmark = pytest.mark.anyio


async def fill(path: Path) -> None:
    """A random history, a turn that is running, a deleted chat, owners with tokens, a setting, configuration."""
    clock = FakeClock()
    store = await open_sqlite_store(path, clock=clock)
    difference = Difference([store], clock, 7)
    for _ in range(250):
        await difference.step()
    running = await StoredChat(store, "running").create(said="hi", title="t\U0001f600", labels={"a": 'x"ü'})
    await running.start("i1")
    piece = FlushedDelta(chat_id="running", draft=running.chat.draft, from_=0, to=3, body=b"\x00raw\xff")
    await store.flush([piece])
    deleted = await StoredChat(store, "gone").create(said="secret")
    await deleted.do(c.Delete(), receipts=(receipt("last"),))
    notification = Notification(notification_id="n1", owner_id="o", chat_id="running", body=b"\x00raw", created_at=7)
    await running.offer(replace(running.make(c.Rename(title="renamed")), notification=notification))
    await store.move_read_cursor("running", 2)
    await store.add_token(await store.create_owner("admin", is_admin=True), "t1", b"hash")
    await store.add_share(Share(share_id="x1", chat_id="running", owner_id="o", created_at=0), b"share hash")
    await store.add_session("s1", "t1", b"session hash")
    await store.revoke_token("t1")
    await store.write_setting("name", "value")
    rows = [ConfigRow(kind="prompt", config_id=name, body=b"\x00raw\xff") for name in "ab"]
    await store.write_config(rows)
    case = Case(store, clock)
    large, small = await store_file(case, LARGE), await store_file(case, b"\x00small", owner="p", name="ü\U0001f600")
    assert await store.use_files("o", "running", (large.file_id,)) == ()
    assert small.size == 6
    await store.aclose()


LARGE = bytes(range(251)) * 4_000
"""More than three pieces of a file."""


async def contents_of(store: Store) -> list[object]:
    """Everything that a client can read."""
    found: list[object] = [
        await store.list_tokens(),
        await store.list_shares("running"),
        await store.read_setting("name"),
        await store.iter_chat_ids(),
    ]
    found += (await store.read_config("prompt"))[0]
    files = await store.list_files(after="", limit=ALL)
    found += [*files, *[await read_file_of(Case(store, FakeClock()), file.file_id) for file in files]]
    found += [await store.read_usage(owner, 0, ALL, limit=ALL) for owner in ("o", "p")]
    found += [sorted(await store.files_of_chat("running")), await store.file_usage("o")]
    for owner in ("o", "p"):
        found.append(await store.list_notifications(owner, is_unread=False, limit=ALL, after=None))
        found.append(
            await store.list_chats(owner, archived=None, label=None, title="", limit=ALL, after=None),
        )
    for chat_id in (*CHAT_IDS, "running", "gone"):
        chat = await store.load(chat_id)
        assert chat
        found += [
            chat,
            await store.read_entries(chat_id, 0, limit=ALL, bytes_max=ALL),
            await store.read_messages(chat_id, limit=ALL),
            await store.read_flushed(chat_id, chat.draft),
            await store.read_receipts(chat_id, (*CLIENT_IDS, "last")),
        ]
    found.append(await store.unread_of((*CHAT_IDS, "running")))
    found.append(sorted(await store.take_over("")))
    return found


async def test_a_copy_returns_what_the_original_returned(tmp_path: Path, postgres_url: str) -> None:
    """From SQLite to PostgreSQL and back: both copies are equal, and the doctor finds nothing."""
    first, last = tmp_path / "first" / "antiphon.db", tmp_path / "last" / "antiphon.db"
    await fill(first)
    shown: list[tuple[str, int]] = []
    copied = await copy_store(f"sqlite:{first.parent}", postgres_url, lambda *step: shown.append(step))
    assert dict(shown) == {name: rows for name, rows in copied.rows.items() if rows}
    assert set(copied.rows) == {name for name, _ in shown}, "there was something of everything"
    back = await copy_store(postgres_url, f"sqlite:{last}", lambda *_: None)
    assert back == copied
    answers = []
    for place in (first, last):
        store = await open_sqlite_store(place, clock=SystemClock())
        answers.append(await contents_of(store))
        assert (await examine(store)).findings == ()
        await store.aclose()
    shared = await open_postgres_store(postgres_url)
    answers.append(await contents_of(shared))
    assert (await examine(shared)).findings == ()
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]
    await shared.aclose()


NOT_COPIED = {"probe", "instances", "schema_migrations", "config_version", "unfinished_files", "file_chunks"} | {
    "send_counts"
}
"""Tables about the database itself, the instances on it, the bytes of files, which SQLite stores as files, and the
sends of the current minute."""


async def test_every_table_is_copied(tmp_path: Path, postgres_server: PostgresServer, postgres_url: str) -> None:
    store = await open_sqlite_store(tmp_path / "antiphon.db", clock=SystemClock())
    await store.aclose()
    connection = apsw.Connection(str(tmp_path / "antiphon.db"))
    here = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    connection.close()
    there = postgres_server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", postgres_url)
    copied = {table.name for table in TABLES}
    assert here - NOT_COPIED == copied
    assert set(there.split()) - NOT_COPIED == copied


async def test_a_file_whose_bytes_are_damaged_is_not_copied(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "data" / "antiphon.db"
    store = await open_sqlite_store(path, clock=SystemClock())
    file = await store_file(Case(store, FakeClock()), LARGE)
    await store.aclose()
    place = path.parent / "files" / file.file_id
    for damaged in (LARGE[:-1], LARGE + b"x", b"X" + LARGE[1:]):
        place.write_bytes(damaged)
        with pytest.raises(Unavailable, match=f"{file.file_id} are missing or damaged"):
            await copy_store(f"sqlite:{path}", postgres_url, lambda *_: None)
    shared = await open_postgres_store(postgres_url)
    assert await shared.list_files(after="", limit=ALL) == ()
    await shared.aclose()


async def test_a_running_turn_is_lost_and_restarted_on_the_copy(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    path = tmp_path / "data" / "antiphon.db"
    store = await open_sqlite_store(path, clock=SystemClock())
    chat = await StoredChat(store, "c").create(said="hi")
    attempt = await chat.start("i1")
    again = chat.make(c.Rename(title="new"), receipts=(receipt("r"),))
    await store.append(again)
    await store.aclose()
    await copy_store(f"sqlite:{path}", postgres_url, lambda *_: None)
    up = "CREATE OR REPLACE FUNCTION store_uptime_us() RETURNS BIGINT LANGUAGE sql AS 'SELECT 5000000::BIGINT'"
    postgres_server.execute(up, postgres_url)
    shared = await open_postgres_store(postgres_url)
    assert await shared.append(again) is Appended.DONE, "its answer may have been lost before the copy"
    assert [due.attempt for due in await shared.due(limit=ALL)] == [attempt]
    moved = StoredChat(shared, "c")
    await moved.load()
    await moved.do(c.ExpireAttempt(attempt=attempt, reason="lease"))
    assert await shared.claimable(limit=ALL) == ("c",)
    assert moved.chat.status is Status.RUNNING
    await shared.aclose()


async def test_only_an_unused_store_is_copied_and_only_into_an_empty_one(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "data" / "antiphon.db"
    store = await open_sqlite_store(path, clock=SystemClock())
    await StoredChat(store, "c").create()
    await store.aclose()
    with claim_data(path.parent, instance_id="i1"), pytest.raises(DataDirectoryTaken):
        await copy_store(f"sqlite:{path}", postgres_url, lambda *_: None)
    shared = await open_postgres_store(postgres_url)
    await shared.presence.register(InstanceRecord(instance_id="i1"))
    with pytest.raises(Unavailable, match=r"1 instance.*i1.*stop them"):
        await copy_store(f"sqlite:{path}", postgres_url, lambda *_: None)
    await shared.presence.deregister("i1")
    await copy_store(f"sqlite:{path}", postgres_url, lambda *_: None)
    with pytest.raises(Invalid, match="into an empty one only"):
        await copy_store(f"sqlite:{path}", postgres_url, lambda *_: None)
    with pytest.raises(Invalid, match="no database"):
        await copy_store(f"sqlite:{tmp_path}/missing.db", postgres_url, lambda *_: None)
    assert await shared.iter_chat_ids() == ("c",)
    await shared.aclose()


async def test_a_copy_that_fails_leaves_the_target_empty(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "data" / "antiphon.db"
    await fill(path)

    def fail(table: str, _: int) -> None:
        if table == "receipts":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await copy_store(f"sqlite:{path}", postgres_url, fail)
    shared = await open_postgres_store(postgres_url)
    assert (await shared.iter_chat_ids(), await shared.owner_count()) == ((), 0)
    await shared.aclose()
