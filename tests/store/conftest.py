"""Every store, on a fake clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.ports import FileBytes, Store
from antiphon.store.memory.store import MemoryStore
from antiphon.store.objects.opening import open_file_storage
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.clock import FakeClock
from support.postgres import PostgresServer
from support.postgres_time import open_fixed_time_store
from support.s3 import S3Server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def cleared_url(postgres_server: PostgresServer, postgres_template: str) -> str:
    """One database for all tests on a clock; each clears it first."""
    return postgres_server.create_database(postgres_template)


@pytest.fixture
async def objects(s3_server: S3Server) -> FileBytes:
    """An empty place for files in S3."""
    return await open_file_storage(s3_server.new_bucket())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
async def store_with_s3(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path, objects: FileBytes
) -> AsyncIterator[Store]:
    """A store whose files are in S3."""
    if request.param == "postgres":
        url = request.getfixturevalue("cleared_url")
        store: Store = await open_fixed_time_store(url, clock=clock, file_storage=objects)
    else:
        store = await open_sqlite_store(tmp_path / "data" / "antiphon.db", clock=clock, file_storage=objects)
    yield store
    await store.aclose()


@pytest.fixture(params=["memory", "shared memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param.endswith("memory"):
        store: Store = MemoryStore(clock=clock, is_shared=request.param != "memory")
    elif request.param == "postgres":
        store = await open_fixed_time_store(request.getfixturevalue("cleared_url"), clock=clock)
    else:
        store = await open_sqlite_store(tmp_path / "data" / "antiphon.db", clock=clock)
    yield store
    await store.aclose()
