"""A full disk, and one that has room again, on a small real file system."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from antiphon.chats.doctor import examine
from antiphon.chats.files import Files
from antiphon.clock import RandomIds, SystemClock
from antiphon.errors import Unavailable
from antiphon.options import Limits
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.stored_chat import StoredChat
from programs import PRIVILEGES
from support.waiting import DEADLINE_S

pytestmark = pytest.mark.anyio

DISK_BYTES = 2 * 1024 * 1024
BALLAST_BYTES = 768 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(tmp_path)]
    result = subprocess.run(mount, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"{PRIVILEGES}no file system can be mounted: {result.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # also while a failed test has files open


async def fill(chats: list[StoredChat]) -> None:
    """Write to all chats concurrently until each was refused once."""

    async def write(chat: StoredChat) -> None:
        while True:
            try:
                await chat.send("x" * 2000)
            except Unavailable:
                return

    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(write(chat) for chat in chats))


async def test_a_full_disk_is_unavailable_and_recovers_when_it_has_room(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * BALLAST_BYTES)
    store = await open_sqlite_store(disk / "antiphon.db", clock=SystemClock())
    chats = [await StoredChat(store, f"c{i}").create() for i in range(8)]
    await fill(chats)
    assert store.last_error == "the disk is full"
    with pytest.raises(Unavailable, match="the disk is full"):
        await chats[0].send("x" * 2000)
    for chat in chats:
        assert await store.load(chat.chat_id) == chat.chat, "the acknowledged writes are stored, and no others"
    assert (await examine(store)).is_sound
    ballast.unlink()
    await store.check()
    assert store.last_error is None
    for chat in chats:
        await chat.send("written without a restart")
    assert (await examine(store)).is_sound
    await store.aclose()
    store = await open_sqlite_store(disk / "antiphon.db", clock=SystemClock())
    for chat in chats:
        assert await store.load(chat.chat_id) == chat.chat
    assert (await examine(store)).is_sound
    await store.aclose()


async def test_a_store_closed_on_a_full_disk_opens_unchanged(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * BALLAST_BYTES)
    store = await open_sqlite_store(disk / "antiphon.db", clock=SystemClock())
    chats = [await StoredChat(store, f"c{i}").create() for i in range(4)]
    await fill(chats)
    await store.aclose()
    ballast.unlink()
    store = await open_sqlite_store(disk / "antiphon.db", clock=SystemClock())
    for chat in chats:
        assert await store.load(chat.chat_id) == chat.chat
    await store.aclose()


async def test_a_disk_without_room_for_the_schema_is_unavailable(disk: Path) -> None:
    (disk / "ballast").write_bytes(b"\0" * (DISK_BYTES - 20_000))
    with pytest.raises(Unavailable):
        await open_sqlite_store(disk / "antiphon.db", clock=SystemClock())


async def test_an_upload_to_a_full_disk_is_unavailable_and_leaves_nothing(disk: Path) -> None:
    store = await open_sqlite_store(disk / "antiphon.db", clock=SystemClock())
    files = Files(store=store, ids=RandomIds(), limits=Limits())

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 1024):
            yield b"x" * 1024

    with pytest.raises(Unavailable, match="the disk is full"):
        await files.upload("o", pieces(2 * DISK_BYTES))
    assert list((disk / "files").iterdir()) == []
    stored = await files.upload("o", pieces(DISK_BYTES // 4))
    assert [path.name for path in (disk / "files").iterdir()] == [stored.file_id]
    assert (await examine(store)).is_sound
    await store.aclose()
