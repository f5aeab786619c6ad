"""Files in S3: what is in the bucket, what a crash leaves, and what happens while the bucket cannot be reached."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import obstore
import pytest

from antiphon.chats.doctor import examine
from antiphon.cli.doctor import _examine_postgres
from antiphon.clock import SystemClock
from antiphon.errors import Invalid, NotFound, Unavailable
from antiphon.ports import FILE_PIECE_BYTES, Store
from antiphon.server.open_instance import open_instance
from antiphon.store.copying import copy_store
from antiphon.store.objects.address import ObjectsAddress, read_objects_address
from antiphon.store.objects.opening import claim_file_storage, open_file_storage, with_file_storage
from antiphon.store.objects.s3 import PART_BYTES, S3Objects, open_s3
from antiphon.store.postgres.files import UNFINISHED_US
from antiphon.store.postgres.store import open_postgres_store
from antiphon.store.sqlite.store import SqliteStore, open_sqlite_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.store_case import Case
from antiphon.testing.store_file_checks import DAY_S, QUOTA, describe, is_stored, read, store, write
from support.postgres_time import open_fixed_time_store
from support.proxy import CuttingProxy
from support.s3 import S3Server

pytestmark = pytest.mark.anyio

LARGE = os.urandom(2 * PART_BYTES + 300_000)


@pytest.fixture
def url(s3_server: S3Server) -> str:
    return s3_server.new_bucket()


@pytest.fixture
async def s3(url: str) -> S3Objects:
    return await open_s3(read_objects_address(url), orphan_age=timedelta(0))


@pytest.fixture
async def sqlite(tmp_path: Path, clock: FakeClock, s3: S3Objects) -> AsyncIterator[Case]:
    opened = await open_sqlite_store(tmp_path / "antiphon.db", clock=clock, file_storage=s3)
    yield Case(opened, clock)
    await opened.aclose()


async def keys(s3: S3Objects) -> list[str]:
    return sorted([entry["path"] async for page in obstore.list(s3._store) for entry in page])


async def test_a_file_is_objects_of_one_part_each(sqlite: Case, s3: S3Objects, tmp_path: Path) -> None:
    file = await store(sqlite, LARGE)
    assert await keys(s3) == [f"{file.file_id}/{number:06d}" for number in range(3)]
    assert await read(sqlite, file.file_id) == LARGE
    for offset in (PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 5):
        piece = await sqlite.store.read_file_piece(file.file_id, offset, FILE_PIECE_BYTES)
        assert piece
        assert LARGE[offset : offset + len(piece)] == piece
    assert await sqlite.store.size_of_file(file.file_id) == len(LARGE)
    assert not (tmp_path / "files").exists()
    assert await store(sqlite, LARGE) == file
    assert len(await keys(s3)) == 3, "the same bytes are stored once"


async def test_a_file_of_whole_parts_ends_where_it_ends(sqlite: Case) -> None:
    file = await store(sqlite, LARGE[: 2 * PART_BYTES])
    assert await read(sqlite, file.file_id) == LARGE[: 2 * PART_BYTES]
    assert await sqlite.store.read_file_piece(file.file_id, 5 * PART_BYTES + 3, 9) == b""


async def test_a_piece_can_be_written_again(sqlite: Case) -> None:
    file = describe(LARGE)
    for offset in range(0, len(LARGE), FILE_PIECE_BYTES):
        for _ in range(2):
            await sqlite.store.write_file_piece(file.file_id, offset, LARGE[offset : offset + FILE_PIECE_BYTES])
    assert await sqlite.store.complete_file(file, unused_s=DAY_S, quota=QUOTA)
    assert await read(sqlite, file.file_id) == LARGE


async def test_a_missing_part_is_found(sqlite: Case, s3: S3Objects) -> None:
    file = await store(sqlite, LARGE)
    await obstore.delete_async(s3._store, f"{file.file_id}/000001")
    report = await examine(sqlite.store, checksums=False)
    assert [str(finding) for finding in report.findings if file.file_id in str(finding)] != []
    with pytest.raises(NotFound):
        await sqlite.store.read_file_piece("0" * 36, 0, 10)


# --- crashes


async def test_what_a_crash_leaves_of_an_upload_is_removed_on_sqlite(
    sqlite: Case, s3: S3Objects, tmp_path: Path, clock: FakeClock
) -> None:
    kept = await store(sqlite, b"kept")
    lost = await write(sqlite, describe(LARGE), LARGE)
    assert len(await keys(s3)) == 3
    assert await sqlite.store.remove_orphaned_bytes() == 0, "this upload is in progress"
    restarted = S3Objects(ObjectsAddress(bucket="b"), s3._store, orphan_age=timedelta(0))
    reopened = await open_sqlite_store(tmp_path / "antiphon.db", clock=clock, file_storage=restarted)
    assert await reopened.remove_orphaned_bytes() == 1
    assert await keys(s3) == [f"{kept.file_id}/000000"]
    assert not await is_stored(Case(reopened, clock), lost)
    await reopened.aclose()


async def test_what_a_crash_leaves_of_an_upload_is_removed_on_postgresql(
    cleared_url: str, s3: S3Objects, clock: FakeClock
) -> None:
    opened = await open_fixed_time_store(cleared_url, clock=clock, file_storage=s3)
    case = Case(opened, clock)
    kept = await store(case, b"kept")
    await write(case, describe(LARGE), LARGE)
    assert await opened.remove_orphaned_bytes() == 0, "it is recorded as an upload in progress"
    assert await opened.remove_unfinished_files() == 0
    clock.advance(UNFINISHED_US / 1_000_000 + 1)
    assert await opened.remove_unfinished_files() == 1
    assert await keys(s3) == [f"{kept.file_id}/000000"]
    await obstore.put_async(s3._store, "11111111-1111-1111-1111-111111111111/000000", b"of no row")
    assert await opened.remove_orphaned_bytes() == 1
    assert await keys(s3) == [f"{kept.file_id}/000000"]
    await opened.aclose()


async def test_the_objects_of_a_removal_that_a_crash_ended_are_removed(
    sqlite: Case, s3: S3Objects, clock: FakeClock
) -> None:
    file = await store(sqlite, LARGE)
    clock.advance(DAY_S + 1)

    class Crash(Exception):
        """The process ends before the bytes are removed."""

    async def crash(file_id: str) -> None:
        raise Crash

    remove, s3.remove = s3.remove, crash  # type: ignore[method-assign]
    with pytest.raises(Crash):
        await sqlite.store.remove_expired_files(limit=9)
    s3.remove = remove  # type: ignore[method-assign]
    assert await sqlite.store.find_file(file.file_id) is None
    assert await sqlite.store.remove_orphaned_bytes() == 1
    assert await keys(s3) == []


# --- the right place


async def test_a_prefix_belongs_to_one_store(tmp_path: Path, url: str) -> None:
    for name in ("a", "b"):
        opened = await open_sqlite_store(
            tmp_path / name / "antiphon.db", clock=SystemClock(), file_storage=await open_file_storage(url)
        )
        if name == "a":
            await claim_file_storage(opened, url)
            await claim_file_storage(opened, url)
        else:
            with pytest.raises(Invalid, match="another store"):
                await claim_file_storage(opened, url)
        await opened.aclose()


async def test_files_stay_where_they_are(tmp_path: Path, url: str) -> None:
    """A store with files is not started with another place: they would be missing."""
    async with open_instance(data=tmp_path / "data", files=url) as instance:
        await store(Case(instance.store, instance.store.clock), b"x")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="start with --files s3://"):
        async with open_instance(data=tmp_path / "data"):
            pass
    async with open_instance(data=tmp_path / "other") as instance:
        await store(Case(instance.store, instance.store.clock), b"x")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="start without --files"):
        async with open_instance(data=tmp_path / "other", files=url):
            pass


@pytest.mark.parametrize(
    "wrong",
    [
        "http://bucket/x",
        "s3://",
        "s3://key:secret@bucket",
        "s3://bucket/a/../b",
        "s3://bucket?secret=x",
        "s3://bucket?endpoint=http://key:secret@host",
    ],
)
def test_an_address_that_is_wrong_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        read_objects_address(wrong)


async def test_a_bucket_that_does_not_exist_is_refused_at_the_start(s3_server: S3Server) -> None:
    with pytest.raises(Unavailable, match="there is no such bucket"):
        await open_file_storage(f"s3://nothing-here/x?endpoint={s3_server.url}")


async def test_replicas_and_the_doctor_use_the_place(postgres_url: str, url: str) -> None:
    async def one(data: bytes) -> AsyncIterator[bytes]:
        yield data

    async with open_instance(store=postgres_url, files=url) as first:
        file = await first.files.upload(first.owner_id, one(LARGE))
        async with open_instance(store=postgres_url, files=url) as second:
            pieces = await second.files.open(file, PART_BYTES - 2, PART_BYTES + 2)
            assert b"".join([piece async for piece in pieces]) == LARGE[PART_BYTES - 2 : PART_BYTES + 2]
            assert second.health.degradations() == {}
    for checksums in (False, True):
        report = await _examine_postgres(postgres_url, checksums)
        assert (report.is_sound, report.files) == (True, 1)
    s3 = await open_s3(read_objects_address(url))
    await obstore.put_async(s3._store, f"{file.file_id}/000000", bytes(PART_BYTES))  # damaged, of the same size
    assert (await _examine_postgres(postgres_url, False)).is_sound
    assert not (await _examine_postgres(postgres_url, True)).is_sound


# --- failures


async def test_a_storage_that_cannot_be_reached_is_unavailable_and_recovers(
    s3_server: S3Server, tmp_path: Path, clock: FakeClock
) -> None:
    address = read_objects_address(s3_server.new_bucket())
    async with CuttingProxy(s3_server.port) as proxy:
        reached = f"s3://{address.bucket}/p?endpoint=http://127.0.0.1:{proxy.port}"
        s3 = await open_s3(read_objects_address(reached))
        opened = await open_sqlite_store(tmp_path / "antiphon.db", clock=clock, file_storage=s3)
        case = Case(opened, clock)
        file = await store(case, b"x")
        proxy.is_down = True
        proxy.cut()
        with pytest.raises(Unavailable, match="does not answer") as refused:
            await read(case, file.file_id)
        assert refused.value.retry_after_ms
        with pytest.raises(Unavailable):
            await store(case, b"y")
        assert s3.error is not None
        proxy.is_down = False
        await s3.check()
        assert s3.error is None
        assert await read(case, file.file_id) == b"x"
        assert (await store(case, b"y")).size == 1
        await opened.aclose()


# --- copies


async def test_a_copy_moves_files_into_s3_and_back(tmp_path: Path, postgres_url: str, url: str) -> None:
    first, last = tmp_path / "first" / "antiphon.db", tmp_path / "last"
    opened: Store = await open_sqlite_store(first, clock=SystemClock())
    await opened.create_owner("admin", is_admin=True)
    file = await store(Case(opened, opened.clock), LARGE)  # type: ignore[arg-type]
    await opened.aclose()

    await copy_store(f"sqlite:{first.parent}", postgres_url, lambda *_: None, files_to=url)
    copied = await with_file_storage(lambda storage: open_postgres_store(postgres_url, file_storage=storage))
    assert copied.file_storage is not None
    await claim_file_storage(copied, url)
    assert (await examine(copied)).is_sound
    assert await read(Case(copied, copied.clock), file.file_id) == LARGE  # type: ignore[arg-type]
    await copied.aclose()

    await copy_store(postgres_url, f"sqlite:{last}", lambda *_: None)

    async def open_last(storage: object) -> SqliteStore:
        return await open_sqlite_store(last / "antiphon.db", clock=SystemClock())

    back = await with_file_storage(open_last)
    await claim_file_storage(back, "")
    assert await read(Case(back, back.clock), file.file_id) == LARGE  # type: ignore[arg-type]
    await back.aclose()
