"""With every hint lost, or doubled and reordered, all of it still holds: only slower."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from antiphon.testing.checker import check

from .trial import Trial

pytestmark = pytest.mark.anyio

SCRIPT = str(Path(__file__).parent / "faulty_bus_server.py")


@pytest.mark.parametrize(
    "faults", ["1,0,0", "0.3,0.5,0.5"], ids=["every hint is lost", "hints are lost, doubled and reordered"]
)
async def test_the_checker_finds_nothing_when(tmp_path: Path, faults: str) -> None:
    async with Trial(tmp_path, seed=3, chats=6, command=(SCRIPT,), FAULTS=faults) as trial:
        await trial.create_chats()
        trial.start_watchers()
        busy = asyncio.create_task(trial.busy(6))
        await asyncio.sleep(3)
        await trial.server.kill()
        await trial.server.start()
        await busy
        await trial.settle()
        assert check(await trial.collect()) == []
