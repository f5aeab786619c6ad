"""The SQLite store: durability, group commit, reopening, versions, damage, query plans."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from antiphon.chats.doctor import examine
from antiphon.clock import SystemClock
from antiphon.core.model import FOLD_VERSION
from antiphon.errors import Unavailable
from antiphon.store.migrate import SCHEMA_VERSION
from antiphon.store.sqlite.store import SqliteStore, open_sqlite_store
from antiphon.store.sqlite.writer import Writer
from antiphon.store.statements import load_statements
from antiphon.testing.stored_chat import ALL, StoredChat
from support.waiting import DEADLINE_S

pytestmark = pytest.mark.anyio

APPENDER = Path(__file__).with_name("appender.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "antiphon.db"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite_store(path, clock=SystemClock())
    try:
        yield store
    finally:
        await store.aclose()


def change(path: Path, sql: str, *values: object) -> None:
    """Change the file without the store."""
    connection = apsw.Connection(str(path))
    connection.execute(sql, values)
    connection.close()


# --- the file


async def test_a_commit_is_on_the_disk_before_it_is_acknowledged(path: Path) -> None:
    async with opened(path) as store:
        connection = store._connection
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2, "FULL: the log is synced at every commit"
        assert connection.pragma("foreign_keys") == 1
        assert connection.pragma("user_version") == SCHEMA_VERSION


async def test_only_their_owner_may_read_the_files(path: Path) -> None:
    async with opened(path) as store:
        await StoredChat(store, "c").create(said="secret")
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
        assert modes == dict.fromkeys(("antiphon.db", "antiphon.db-wal", "antiphon.db-shm"), "0o600")
        assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


async def test_a_reopened_store_has_everything(path: Path) -> None:
    async with opened(path) as store:
        chat = await StoredChat(store, "c").create(said="hi")
        attempt = await chat.start()
        entries, (_, mark) = await chat.entries(), await store.changed(None, limit=ALL)
        owner = await store.create_owner("admin")
    async with opened(path) as store:
        assert await store.load("c") == chat.chat
        chat.store = store
        assert await chat.entries() == entries
        assert await store.take_over("new instance") == (("c", attempt),)
        assert await store.create_owner("admin") == owner
        assert await store.changed(mark, limit=ALL) == ((), mark)
        await chat.send("more")
        assert (await store.changed(mark, limit=ALL))[0] == (("c", chat.chat.seq),), "the marks go on"


# --- the writer


async def test_many_appends_share_a_commit(path: Path) -> None:
    """Jobs queued during a commit share the next one, 256 at most."""
    async with opened(path) as store:
        commits, gate = 0, threading.Event()

        def count() -> bool:
            nonlocal commits
            commits += 1
            return False

        store._connection.set_commit_hook(count)
        slow = asyncio.ensure_future(store._writer.run(lambda _: gate.wait(DEADLINE_S)))
        chats = [StoredChat(store, f"c{i}") for i in range(500)]
        appends = [asyncio.ensure_future(chat.create()) for chat in chats]
        while store._writer._count < 501:  # the slow one and all that wait behind it
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(slow, *appends)
        store._connection.set_commit_hook(None)
        assert len(await store.iter_chat_ids()) == 500
        assert 2 <= commits <= 3


async def test_a_job_that_raises_fails_alone(path: Path) -> None:
    connection = apsw.Connection(str(path.parent.parent / "other.db"))
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    writer = Writer(connection)

    def put(n: int) -> int:
        connection.execute("INSERT INTO t VALUES (?)", (n,))
        if n % 10 == 3:
            raise ZeroDivisionError
        return n

    results = await asyncio.gather(
        *(writer.run(lambda _, n=n: put(n)) for n in range(50)),  # type: ignore[misc]
        return_exceptions=True,
    )
    for n, result in enumerate(results):
        assert isinstance(result, ZeroDivisionError) if n % 10 == 3 else result == n
    assert writer.last_error is None, "the disk is well: it was the job's own failure"
    await writer.aclose()
    written = [row[0] for row in connection.execute("SELECT n FROM t ORDER BY n")]
    assert written == [n for n in range(50) if n % 10 != 3]
    connection.close()


async def test_queued_jobs_are_written_before_the_close_and_later_ones_refused(path: Path) -> None:
    store = await open_sqlite_store(path, clock=SystemClock())
    chats = [StoredChat(store, f"c{i}") for i in range(100)]
    early = [asyncio.ensure_future(chat.create()) for chat in chats[:50]]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.aclose())
    await asyncio.sleep(0)
    late = [asyncio.ensure_future(chat.create()) for chat in chats[50:]]
    async with asyncio.timeout(DEADLINE_S):
        await closing
        await asyncio.gather(*early)
        for refused in await asyncio.gather(*late, return_exceptions=True):
            assert isinstance(refused, Unavailable)
    with pytest.raises(Unavailable):
        await store.load("c0")
    async with opened(path) as store:
        assert len(await store.iter_chat_ids()) == 50


async def test_an_append_whose_caller_is_cancelled_is_written_whole_or_not_at_all(path: Path) -> None:
    async with opened(path) as store:
        chats = [await StoredChat(store, f"c{i}").create() for i in range(20)]
        tasks = [asyncio.ensure_future(chat.send("x")) for chat in chats]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.check()  # a later job: what stood before it is decided
        assert (await examine(store)).is_sound
        for chat in chats:
            await chat.load()
            await chat.send("y")


# --- killed


@pytest.mark.heavy
@pytest.mark.parametrize("after_lines", [1, 40, 400])
async def test_a_killed_process_loses_no_acknowledged_append(path: Path, after_lines: int) -> None:
    acknowledged: dict[str, int] = {}
    for _ in range(2):  # the second goes on where the first was killed
        command = [sys.executable, APPENDER, path, "8"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - nothing else runs
        try:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(after_lines)]
        finally:
            process.send_signal(signal.SIGKILL)
            assert process.stdout
            with process.stdout as unread:  # not communicate: it would skip what was buffered for `readline`
                rest = unread.read()
            process.wait(DEADLINE_S)
        assert process.returncode == -signal.SIGKILL
        for line in [*lines, *rest.splitlines(keepends=True)]:
            chat_id, seq = line.split() if line.endswith("\n") else ("", "0")
            acknowledged[chat_id] = max(acknowledged.get(chat_id, 0), int(seq))
    acknowledged.pop("", None)
    assert acknowledged
    async with opened(path) as store:
        for chat_id, seq in acknowledged.items():
            chat = await store.load(chat_id)
            assert chat is not None
            assert chat.seq >= seq
        report = await examine(store)
        assert report.is_sound, report.findings


# --- versions and damage


async def test_a_newer_schema_is_refused_with_its_version(path: Path) -> None:
    async with opened(path):
        pass
    change(path, f"PRAGMA user_version = {SCHEMA_VERSION + 7}")
    with pytest.raises(Unavailable, match=rf"schema version {SCHEMA_VERSION + 7}.*knows {SCHEMA_VERSION}.*newer"):
        await open_sqlite_store(path, clock=SystemClock())


async def test_a_chat_of_a_newer_version_is_read_only(path: Path) -> None:
    async with opened(path) as store:
        newer, other = await StoredChat(store, "newer").create(said="hi"), await StoredChat(store, "other").create()
    change(path, "UPDATE chats SET fold_version = ? WHERE chat_id = 'newer'", FOLD_VERSION + 1)
    async with opened(path) as store:
        newer.store = other.store = store
        with pytest.raises(Unavailable, match="newer version"):
            await newer.send("more")
        assert store.last_error is None, "nothing is wrong with the disk"
        assert await store.load("newer") == newer.chat
        assert len(await newer.entries()) == 2
        await other.send("the others are written")


async def test_data_that_this_version_cannot_read_is_unavailable(path: Path) -> None:
    async with opened(path) as store:
        chat = await StoredChat(store, "c").create(said="hi")
    change(path, "UPDATE facts SET body = ? WHERE seq = 2", b'{"type":"invented_later"}')
    change(path, "UPDATE chats SET state = ?", b'{"status":"invented_later"}')
    async with opened(path) as store:
        chat.store = store
        for read in (chat.entries(), store.load("c"), store.read_messages("c", limit=5)):
            with pytest.raises(Unavailable, match="cannot read"):
                await read


async def test_a_file_that_is_not_a_database_is_reported(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(Unavailable, match="not a sound database"):
        await open_sqlite_store(path, clock=SystemClock())
    with pytest.raises(Unavailable):
        await open_sqlite_store(path.parent, clock=SystemClock())


async def test_damaged_pages_are_unavailable(path: Path) -> None:
    async with opened(path) as store:
        chats = [await StoredChat(store, f"c{i}").create(said="x" * 3000) for i in range(30)]
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096 * 3)
        file.write(b"\xa5" * (size - 4096 * 3))
    failures = 0
    try:
        async with opened(path) as store:
            for chat in chats:
                chat.store = store
                try:
                    await chat.entries()
                    await chat.send("y")
                except Unavailable:
                    failures += 1
    except Unavailable:
        failures += 1
    assert failures


# --- plans

READS_ALL = {"other_leases"}
"""Used once, at the start of an instance."""

BIG = re.compile(r"SCAN (f|m|c|facts|contents|messages|leases|flushed|receipts)\b")


@pytest.mark.parametrize("name", sorted(load_statements("sqlite").keys() - {"try_write"}))
async def test_every_statement_uses_an_index(name: str, path: Path) -> None:
    statement = load_statements("sqlite")[name]
    numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    count = max(numbered, default=statement.count("?"))
    async with opened(path) as store:
        connection = apsw.Connection(str(store._path))
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", (None,) * count)]
        connection.close()
    scans = [line for line in plan if BIG.match(line)]
    assert bool(scans) == (name in READS_ALL), plan
    if name in ("claimable", "due", "changed", "list_chats", "list_child_chats", "last_seq", "update_chat"):
        assert not [line for line in plan if line.startswith("SCAN chats")], plan
    assert not [line for line in plan if "TEMP B-TREE" in line and name != "list_tokens"], plan
