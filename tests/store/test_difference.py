"""A random history leaves memory and SQLite with the same answers to every question."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from antiphon.chats.doctor import examine
from antiphon.ports import Appended
from antiphon.store.memory import MemoryStore
from antiphon.store.sqlite import open_sqlite_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.store_difference import Difference

pytestmark = pytest.mark.anyio

SEEDS = range(12)
STEPS = 250
COMPARE_EVERY = 20


async def run(seed: int, path: Path) -> Counter[str]:
    clock = FakeClock()
    stores = [MemoryStore(clock=clock), await open_sqlite_store(path / f"{seed}.db", clock=clock)]
    difference = Difference(stores, clock, seed)
    try:
        for i in range(STEPS):
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
async def test_the_same_history_gives_the_same_answers(seed: int, tmp_path: Path) -> None:
    results = await run(seed, tmp_path)
    assert set(results) == set(Appended), "every answer to an append was given"
