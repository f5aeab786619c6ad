"""The stores of a single process, on a clock that advances by a microsecond at every read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.chats.service import Service
from antiphon.ports import Store
from antiphon.store.memory.store import MemoryStore
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.clock import FakeClock

from .serving import CountingStore, serve


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(tick_us=1)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        store: Store = MemoryStore(clock=clock)
    else:
        store = await open_sqlite_store(tmp_path / "data" / "antiphon.db", clock=clock)
    yield store
    await store.aclose()


@pytest.fixture
def counting(store: Store) -> CountingStore:
    return CountingStore(store)


@pytest.fixture
async def service(counting: CountingStore) -> Service:
    return serve(counting)
