"""After a random history, memory, SQLite and PostgreSQL return the same results for every query."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from antiphon.chats.doctor import examine
from antiphon.ports import Appended, Store
from antiphon.store.memory.store import MemoryStore
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.store_difference import Difference
from support.postgres_time import open_fixed_time_store

pytestmark = pytest.mark.anyio

SEEDS = range(12)
STEPS = 300
COMPARE_EVERY = 20
RARE = {Appended.LEASE_LIVE}
"""What not every seed reaches; the conformance suite has a check of it."""


async def run(seed: int, path: Path, url: str = "", steps: int = STEPS) -> Counter[str]:
    clock = FakeClock()
    stores: list[Store] = [MemoryStore(clock=clock)]
    if url:
        stores.append(await open_fixed_time_store(url, clock=clock))
    else:
        stores.append(await open_sqlite_store(path / f"{seed}.db", clock=clock))
    difference = Difference(stores, clock, seed)
    try:
        for i in range(steps):
            await difference.step()
            if i % COMPARE_EVERY == COMPARE_EVERY - 1:
                await difference.compare()
        for store in stores:
            report = await examine(store)
            assert not report.findings, report.findings
    finally:
        for store in stores:
            await store.aclose()
    return difference.results


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_same_history_gives_the_same_results(seed: int, tmp_path: Path) -> None:
    results = await run(seed, tmp_path)
    assert set(results) >= set(Appended) - RARE, "every outcome of an append occurred"


@pytest.mark.parametrize("seed", [1, 2])
async def test_postgres_gives_the_same_results(seed: int, cleared_url: str, tmp_path: Path) -> None:
    results = await run(seed, tmp_path, cleared_url, 100)
    assert {Appended.DONE, Appended.CONFLICT, Appended.ANSWERED} <= set(results)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_postgres_gives_the_same_results_for_long(seed: int, cleared_url: str, tmp_path: Path) -> None:
    assert set(await run(seed, tmp_path, cleared_url)) >= set(Appended) - RARE
