"""A backup is one moment of a store in use; what is restored is exactly that, or nothing."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import tarfile
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.clock import SystemClock
from antiphon.errors import Invalid, Unavailable
from antiphon.ports import FileQuota, StoredFile
from antiphon.store.backup.archive import ArchiveWriter
from antiphon.store.backup.backup import write_archive
from antiphon.store.backup.manifest import (
    DATABASE,
    FORMAT,
    MANIFEST,
    MANIFEST_SUM,
    Manifest,
    Member,
    encode_manifest,
    file_name,
    sum_of_manifest,
)
from antiphon.store.backup.partial import SUFFIX, open_partial
from antiphon.store.backup.restore import UNPACKED, restore_archive
from antiphon.store.sqlite.store import SqliteStore, open_sqlite_store
from antiphon.testing.stored_chat import StoredChat

pytestmark = pytest.mark.anyio

FIRST, LAST = "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"
QUOTA = FileQuota(files_max=100, bytes_max=1 << 30)
Progress = Callable[[str, int, int], None]


def quiet(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await open_sqlite_store(tmp_path / "data" / DATABASE, clock=SystemClock())
    try:
        yield opened
    finally:
        await opened.aclose()


async def upload(store: SqliteStore, file_id: str, content: bytes) -> None:
    """Store a file that expires at once."""
    await store.write_file_piece(file_id, 0, content)
    digest = hashlib.sha256(content).hexdigest()
    file = StoredFile(file_id=file_id, owner_id="o", sha256=digest, media_type="text/plain", size=len(content))
    await store.complete_file(file, unused_s=0, quota=QUOTA)


def back_up(data: Path, file: Path, on_progress: Progress = quiet) -> Manifest:
    with open_partial(file, force=False) as partial:
        manifest = write_archive(data, partial, file=file, on_progress=on_progress)
        partial.publish()
    return manifest


async def test_files_that_are_removed_and_uploaded_meanwhile_leave_a_complete_backup(
    store: SqliteStore, tmp_path: Path
) -> None:
    """The first snapshot names a file whose bytes are removed before they were copied: a second one is made."""
    kept = str(uuid.uuid4())
    await StoredChat(store, "c1").create()
    await upload(store, kept, b"kept")
    await store.use_files("o", "c1", [kept])
    await upload(store, LAST, b"copied, then removed")
    loop, snapshots = asyncio.get_running_loop(), []

    async def interfere(what: str, done: int) -> None:
        if what == "copying files" and not snapshots:
            await upload(store, FIRST, b"uploaded after its place in the first list, then removed")
        elif what == "copying the database":
            snapshots.append(done)
            if len(snapshots) == 1:
                assert await store.remove_expired_files(limit=10) == 2

    def on_progress(what: str, done: int, total: int) -> None:
        asyncio.run_coroutine_threadsafe(interfere(what, done), loop).result()

    file = tmp_path / "b.tar"
    manifest = await asyncio.to_thread(back_up, tmp_path / "data", file, on_progress)
    assert len(snapshots) == 2
    assert (manifest.chats, manifest.files, manifest.removed) == (1, 1, (file_name(LAST),))
    restore_archive(file, tmp_path / "restored", quiet)
    assert [path.name for path in (tmp_path / "restored" / "files").iterdir()] == [kept]
    restored = await open_sqlite_store(tmp_path / "restored" / DATABASE, clock=SystemClock())
    assert await restored.load("c1") == await store.load("c1")
    assert await restored.read_file_piece(kept, 0, 100) == b"kept"
    assert [row.file_id for row in await restored.list_files(after="", limit=10)] == [kept]
    await restored.aclose()


async def test_a_backup_and_what_is_restored_are_private_to_their_owner(store: SqliteStore, tmp_path: Path) -> None:
    await upload(store, FIRST, b"x")
    back_up(tmp_path / "data", tmp_path / "b.tgz")
    restore_archive(tmp_path / "b.tgz", tmp_path / "deep" / "restored", quiet)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "b.tgz", tmp_path / "deep" / "restored")}
    assert modes == {"b.tgz": 0o600, "restored": 0o700}
    inside = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "deep" / "restored").rglob("*")}
    assert inside == {DATABASE: 0, "antiphon.lock": 0, "files": 0, FIRST: 0}
    assert {path.name for path in tmp_path.iterdir()} == {"data", "deep", "b.tgz"}


async def test_a_backup_is_only_written_where_there_is_none(store: SqliteStore, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    with open_partial(file, force=False) as partial:
        with pytest.raises(Unavailable, match="another process is writing"), open_partial(file, force=False):
            pass
        write_archive(tmp_path / "data", partial, file=file, on_progress=quiet)
        file.write_text("of another program")
        with pytest.raises(Invalid, match="exists"):
            partial.publish()
    assert file.read_text() == "of another program"
    for name in (".b.tar", ".of yesterday.tar"):
        (tmp_path / f"{name}{SUFFIX}").mkdir(mode=0o700)
        (tmp_path / f"{name}{SUFFIX}" / "archive").write_text("left by a killed process")
    with open_partial(file, force=True) as partial:
        write_archive(tmp_path / "data", partial, file=file, on_progress=quiet)
        partial.publish()
    assert not list(tmp_path.glob(f".*{SUFFIX}"))
    assert restore_archive(file, tmp_path / "restored", quiet).chats == 0
    shared = tmp_path / f".b.tar{SUFFIX}"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(Unavailable, match="belongs to another user"), open_partial(file, force=True):
        pass
    assert shared.exists()


async def test_files_in_another_place_and_newer_databases_are_refused(store: SqliteStore, tmp_path: Path) -> None:
    await store.write_setting("files_at", "s3://bucket/prefix")
    with pytest.raises(Invalid, match=r"s3://bucket/prefix.*copy or version the bucket"):
        back_up(tmp_path / "data", tmp_path / "b.tar")
    await store.write_setting("files_at", "")
    with apsw.Connection(str(tmp_path / "data" / DATABASE)) as connection:
        connection.pragma("user_version", 9999)
    with pytest.raises(Unavailable, match="use a newer Antiphon"):
        back_up(tmp_path / "data", tmp_path / "b.tar")
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


# --- hostile and damaged archives


def tar_of(*members: tuple[str, bytes], manifest: Manifest | None = None) -> bytes:
    """An archive; without `manifest`, with one that fits its members."""
    stream = io.BytesIO()
    writer = ArchiveWriter(stream)
    written = {name: writer.add(name, len(content), [content], modified_s=0) for name, content in members}
    found = manifest or Manifest(
        format=FORMAT, antiphon="1", schema_version=1, created_at="", chats=0, files=0, members=written
    )
    content = encode_manifest(found)
    for name, last in ((MANIFEST, content), (MANIFEST_SUM, sum_of_manifest(content))):
        writer.add(name, len(last), [last], modified_s=0)
    writer.finish()
    return stream.getvalue()


def special_tar(**fields: object) -> bytes:
    """An archive of one member with other fields, as `tarfile` writes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(DATABASE)
        for name, value in fields.items():
            setattr(info, name, value)
        archive.addfile(info)
    return stream.getvalue()


SOUND = tar_of((DATABASE, b"d" * 700), (file_name(FIRST), b"f" * 600))
NEWER = Manifest(
    format=FORMAT, antiphon="9", schema_version=9999, created_at="", chats=0, files=0,
    members={DATABASE: Member(size=1, sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")},
)  # fmt: skip
HOSTILE = {
    "a path outside": tar_of((DATABASE, b""), ("../outside", b"x")),
    "an absolute path": tar_of((DATABASE, b""), ("/tmp/outside", b"x")),
    "another folder": tar_of((DATABASE, b""), ("run/socket", b"x")),
    "a name that is no file id": tar_of((DATABASE, b""), ("files/../../x", b"x")),
    "the same name twice": tar_of((DATABASE, b"a"), (DATABASE, b"b")),
    "no database": tar_of((file_name(FIRST), b"x")),
    "a symbolic link": special_tar(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": special_tar(type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a folder": special_tar(type=tarfile.DIRTYPE),
    "a device": special_tar(type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a name of 4,000 characters": special_tar(name="x" * 4000),
    "no manifest": special_tar(),
    "a manifest without its checksum": tar_of((DATABASE, b"a"), (MANIFEST, b"{}")),
    "a manifest of another backup": tar_of((DATABASE, b"y"), manifest=NEWER),
    "a newer schema": tar_of((DATABASE, b"x"), manifest=NEWER),
    "a newer format": tar_of((DATABASE, b"x"), manifest=msgspec.structs.replace(NEWER, format=FORMAT + 1)),
    "a removed database": tar_of((DATABASE, b"x"), manifest=msgspec.structs.replace(NEWER, removed=(DATABASE,))),
    "a removed path outside": tar_of((DATABASE, b"x"), manifest=msgspec.structs.replace(NEWER, removed=("../x",))),
    "something after the end": SOUND + b"more",
    "an empty file": b"",
    "text": b"What is this?" * 100,
    "gzip of text": gzip.compress(b"What is this?" * 100),
    "cut compressed data": gzip.compress(SOUND)[:-9],
    "wrong compressed checksum": gzip.compress(SOUND)[:-8] + b"12345678",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_or_damaged_archive_leaves_nothing(what: str, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    file.write_bytes(HOSTILE[what])
    with pytest.raises(Invalid) as caught:
        restore_archive(file, tmp_path / "new" / "data", quiet)
    assert str(caught.value).startswith("FILE: ")
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(SOUND) - 1), change=st.integers(1, 255), is_cut=st.booleans())
def test_a_changed_byte_or_a_cut_is_found(tmp_path: Path, place: int, change: int, is_cut: bool) -> None:
    file = tmp_path / "b.tar"
    damaged = bytearray(SOUND)
    if is_cut:
        del damaged[place:]
    else:
        damaged[place] ^= change
    file.write_bytes(damaged)
    with pytest.raises(Invalid):
        restore_archive(file, tmp_path / "data", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]


def test_a_backup_is_restored_into_an_empty_directory_only(tmp_path: Path) -> None:
    file, data = tmp_path / "b.tar", tmp_path / "data"
    file.write_bytes(SOUND)
    data.mkdir()
    (data / "mine").write_text("keep")
    with pytest.raises(Invalid, match="is not empty"):
        restore_archive(file, data, quiet)
    assert [path.name for path in data.iterdir()] == ["mine"]
    with pytest.raises(Invalid, match="is not a directory"):
        restore_archive(file, data / "mine", quiet)
    os.rename(data / "mine", data / "lost+found")  # of a file system's own
    (data / UNPACKED / "files").mkdir(parents=True)  # of a restore that was killed
    (data / "files").mkdir()
    (data / "files" / LAST).write_text("left")
    restore_archive(file, data, quiet)
    assert {path.name for path in data.iterdir()} == {DATABASE, "files", "lost+found", "antiphon.lock"}
    assert (data / "files" / FIRST).read_bytes() == b"f" * 600
    assert not (data / "files" / LAST).exists()
    with pytest.raises(Invalid, match="is not empty"):
        restore_archive(file, data, quiet)
    assert (data / DATABASE).read_bytes() == b"d" * 700
