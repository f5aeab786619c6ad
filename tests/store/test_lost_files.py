"""Once a file of the open database is moved, removed or replaced, no write is acknowledged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon.clock import SystemClock
from antiphon.errors import Unavailable
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.stored_chat import StoredChat

pytestmark = pytest.mark.anyio


def _rename_all(data: Path) -> None:
    for file in list(data.glob("antiphon.db*")):
        file.rename(data / f"old.{file.name}")


def _replace_by_a_copy(data: Path) -> None:
    shutil.copy(data / "antiphon.db", data / "copy")
    os.replace(data / "copy", data / "antiphon.db")


def _replace_directory(data: Path) -> None:
    data.rename(data.with_name("moved"))
    shutil.copytree(data.with_name("moved"), data)


LOSSES: dict[str, Callable[[Path], None]] = {
    "all renamed": _rename_all,
    "the database removed": lambda data: (data / "antiphon.db").unlink(),
    "the log removed": lambda data: (data / "antiphon.db-wal").unlink(),
    "the shared memory removed": lambda data: (data / "antiphon.db-shm").unlink(),
    "the database replaced by a copy": _replace_by_a_copy,
    "the directory moved": lambda data: data.rename(data.with_name("moved")) and None,
    "the directory removed": lambda data: shutil.rmtree(data),
    "the directory replaced by a copy": _replace_directory,
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
async def test_no_write_is_acknowledged_once_a_file_is_lost(tmp_path: Path, loss: Callable[[Path], None]) -> None:
    data = tmp_path / "data"
    store = await open_sqlite_store(data / "antiphon.db", clock=SystemClock())
    try:
        chat = await StoredChat(store, "c").create(said="kept")
        assert store.last_error is None
        loss(data)
        for _ in range(3):
            with pytest.raises(Unavailable, match="moved, removed or replaced"):
                await chat.send("lost")
        with pytest.raises(Unavailable):
            await StoredChat(store, "d").create()
        with pytest.raises(Unavailable):
            await store.write_setting("name", "value")
        assert "moved, removed or replaced" in (store.last_error or "")
    finally:
        await store.aclose()


async def test_readiness_detects_the_loss_without_a_write(tmp_path: Path) -> None:
    store = await open_sqlite_store(tmp_path / "antiphon.db", clock=SystemClock())
    try:
        (tmp_path / "antiphon.db").unlink()
        assert "antiphon.db" in (store.last_error or "")
    finally:
        await store.aclose()


async def test_acknowledged_writes_are_stored_when_the_moved_files_are_put_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    store = await open_sqlite_store(data / "antiphon.db", clock=SystemClock())
    chat = await StoredChat(store, "c").create(said="kept")
    stored_seq = chat.chat.seq
    data.rename(tmp_path / "moved")
    with pytest.raises(Unavailable):
        await chat.send("lost")
    (tmp_path / "moved").rename(data)
    with pytest.raises(Unavailable):
        await chat.send("the error stays until the restart")
    await store.aclose()
    store = await open_sqlite_store(data / "antiphon.db", clock=SystemClock())
    try:
        found = await store.load("c")
        assert found is not None
        assert found.seq == stored_seq
    finally:
        await store.aclose()


async def test_writes_and_checkpoints_lose_no_file(tmp_path: Path) -> None:
    """The log is restarted and truncated in place: it stays the same file."""
    store = await open_sqlite_store(tmp_path / "antiphon.db", clock=SystemClock())
    try:
        for number in range(20):
            await StoredChat(store, f"c{number}").create(said="x" * 500_000)
        await store._writer.run(lambda connection: None)
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await StoredChat(store, "last").create()
        assert store.last_error is None
    finally:
        await store.aclose()
