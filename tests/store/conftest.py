"""Every store, on a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.ports import Store
from antiphon.store.memory import MemoryStore
from antiphon.store.sqlite import open_sqlite_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.postgres_time import open_told_store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        store: Store = MemoryStore(clock=clock)
    elif request.param == "postgres":
        store = await open_told_store(request.getfixturevalue("postgres_url"), clock=clock)
    else:
        store = await open_sqlite_store(tmp_path / "data" / "antiphon.db", clock=clock)
    yield store
    await store.aclose()
