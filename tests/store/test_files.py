"""Files in a SQLite and in a PostgreSQL store: what a crash leaves, and that it is removed."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.errors import NotFound, Unavailable
from antiphon.ports import FILE_PIECE_BYTES
from antiphon.store.postgres.files import UNFINISHED_US
from antiphon.store.postgres.store import PostgresStore
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.store_case import Case
from antiphon.testing.store_file_checks import DAY_S, QUOTA, describe, is_stored, store, write
from support.postgres import PostgresServer
from support.postgres_time import open_fixed_time_store

pytestmark = pytest.mark.anyio

DATA = b"x" * 600_000


@pytest.fixture
async def sqlite(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Case]:
    opened = await open_sqlite_store(tmp_path / "antiphon.db", clock=clock)
    yield Case(opened, clock)
    await opened.aclose()


# --- SQLite: a folder beside the database


def names(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "files").iterdir()}


async def test_files_are_readable_by_their_user_only(sqlite: Case, tmp_path: Path) -> None:
    file = await store(sqlite, DATA)
    part = await write(sqlite, describe(b"y"), b"y")
    assert names(tmp_path) == {file.file_id, f"{part.file_id}.part"}
    assert stat.S_IMODE((tmp_path / "files").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "files").iterdir()} == {0o600}


async def test_the_bytes_of_uploads_that_a_crash_ended_are_removed_by_the_next_process(
    sqlite: Case, tmp_path: Path, clock: FakeClock
) -> None:
    complete = await store(sqlite, DATA)
    part = await write(sqlite, describe(b"part"), b"part")
    renamed = await write(sqlite, describe(b"renamed"), b"renamed")
    folder = tmp_path / "files"
    (folder / f"{renamed.file_id}.part").rename(folder / renamed.file_id)
    (folder / "notes.txt").write_text("not a file of ours")
    await sqlite.store.aclose()
    reopened = Case(await open_sqlite_store(tmp_path / "antiphon.db", clock=clock), clock)
    assert await reopened.store.remove_unfinished_files() == 2
    assert names(tmp_path) == {complete.file_id, "notes.txt"}
    assert await is_stored(reopened, complete)
    assert not await is_stored(reopened, part)
    assert not await is_stored(reopened, renamed)
    assert await reopened.store.remove_unfinished_files() == 0
    await reopened.store.aclose()


async def test_an_upload_whose_caller_is_cancelled_is_complete_or_removed(sqlite: Case, tmp_path: Path) -> None:
    """Its bytes must not be removed after its row was committed."""
    outcomes = set()
    for turns in range(40):
        data = b"%d" % turns
        file = await write(sqlite, describe(data), data)
        completing = asyncio.create_task(sqlite.store.complete_file(file, unused_s=DAY_S, quota=QUOTA))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        completing.cancel()
        await asyncio.wait({completing})
        await sqlite.store.discard_file(file.file_id)
        outcomes.add(await is_stored(sqlite, file))
        if not completing.cancelled():
            assert await is_stored(sqlite, file)
    assert outcomes == {True, False}


async def test_a_piece_beyond_the_beginning_creates_no_upload(sqlite: Case) -> None:
    """The upload was discarded meanwhile."""
    with pytest.raises(NotFound):
        await sqlite.store.write_file_piece(describe(b"").file_id, FILE_PIECE_BYTES, b"x")


async def test_a_folder_that_cannot_be_written_is_an_error_of_the_store(sqlite: Case, tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file where the folder belongs")
    with pytest.raises(Unavailable, match="a file cannot be stored or read"):
        await store(sqlite, DATA)


# --- PostgreSQL: chunks in a table


@pytest.fixture
async def postgres(cleared_url: str, clock: FakeClock) -> AsyncIterator[Case]:
    opened = await open_fixed_time_store(cleared_url, clock=clock)
    yield Case(opened, clock)
    await opened.aclose()


def chunks(server: PostgresServer, url: str) -> int:
    return int(server.execute("SELECT count(*) FROM file_chunks", url))


async def test_chunks_of_an_upload_are_removed_long_after_its_last_write(
    postgres: Case, postgres_server: PostgresServer, cleared_url: str, clock: FakeClock
) -> None:
    file = await write(postgres, describe(DATA), DATA)
    clock.advance(UNFINISHED_US / 1_000_000 - 1)
    await postgres.store.write_file_piece(file.file_id, 0, DATA[:FILE_PIECE_BYTES])
    clock.advance(2)
    assert await postgres.store.remove_unfinished_files() == 0, "it was written a moment ago"
    assert chunks(postgres_server, cleared_url) == 3
    clock.advance(UNFINISHED_US / 1_000_000)
    assert await postgres.store.remove_unfinished_files() == 1
    assert chunks(postgres_server, cleared_url) == 0
    assert await postgres.store.remove_unfinished_files() == 0


async def test_an_upload_whose_chunks_are_being_removed_cannot_be_completed(
    postgres: Case, postgres_server: PostgresServer, cleared_url: str
) -> None:
    file = await write(postgres, describe(DATA), DATA)
    postgres_server.execute("UPDATE unfinished_files SET written_at = 0", cleared_url)  # as the removal begins
    await postgres.store.write_file_piece(file.file_id, 0, DATA[:FILE_PIECE_BYTES])
    with pytest.raises(Unavailable, match="not complete"):
        await postgres.store.complete_file(file, unused_s=DAY_S, quota=QUOTA)
    assert await postgres.store.remove_unfinished_files() == 1
    assert chunks(postgres_server, cleared_url) == 0


async def test_chunks_of_a_removal_that_a_crash_ended_are_removed_later(
    postgres: Case, postgres_server: PostgresServer, cleared_url: str, clock: FakeClock
) -> None:
    await store(postgres, DATA)
    clock.advance(2 * DAY_S)
    assert isinstance(postgres.store, PostgresStore)
    postgres_server.execute(f"SET antiphon.now_us = '{clock.now_us()}'; SELECT delete_expired_files(9)", cleared_url)
    assert chunks(postgres_server, cleared_url) == 3
    clock.advance(UNFINISHED_US / 1_000_000 + 1)
    assert await postgres.store.remove_unfinished_files() == 1
    assert chunks(postgres_server, cleared_url) == 0


async def test_completing_an_upload_again_gives_the_same_file(postgres: Case) -> None:
    """The answer to a statement may be lost; the statement is then repeated."""
    file = await write(postgres, describe(DATA), DATA)
    first = await postgres.store.complete_file(file, unused_s=DAY_S, quota=QUOTA)
    assert await postgres.store.complete_file(file, unused_s=DAY_S, quota=QUOTA) == first
    assert await is_stored(postgres, file)
