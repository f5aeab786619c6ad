"""Chats that call tools of the agent, of an MCP server, of clients, with approval, and with child chats, while
everything around them fails: each call has one result, none that may not be repeated runs twice, and no text reaches
another owner."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from antiphon.testing.checker import check
from support.waiting import wait_until

from .test_hints import SCRIPT
from .trial import Trial
from .trial_calls import TrialCalls

pytestmark = pytest.mark.anyio

LOST_HINTS = "0.3,0.5,0.5"
RUNS_PER_LIFE = 6
"""Minimum number of runs of tools between two faults, so that faults hit chats that call tools."""
FROZEN_S = 13.0
"""Longer than a lease."""
MCP_FROZEN_S = 2.0
ALL_TOOLS = {"note", "pay", "t_note", "t_find"}


async def trial_with_calls(folder: Path, *, seed: int, chats: int, faults: Sequence[str]) -> None:
    async with Trial(folder, seed=seed, chats=chats, has_calls=True, command=(SCRIPT,), FAULTS=LOST_HINTS) as trial:
        assert trial.calls is not None
        await trial.create_chats()
        trial.start_watchers()
        rnd = random.Random(seed)
        busy = asyncio.create_task(trial.busy(1200))
        for fault in faults:
            ran = trial.calls.run_count()
            await wait_until(partial(has_run, trial.calls, ran + RUNS_PER_LIFE))
            await asyncio.sleep(rnd.uniform(0, 0.5))
            assert not busy.done(), "the clients are at it"
            await cause(fault, trial, trial.calls)
        await wait_until(trial.calls.names_run, "each tool has run", accept=ALL_TOOLS.issubset)
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await trial.settle()
        evidence = await trial.collect(stuck_s=20.0)
        assert check(evidence) == []
        assert {run.tool_name for run in evidence.tool_runs} == ALL_TOOLS
        found = {canary for run in evidence.tool_runs for canary in run.canaries}
        assert found == set(trial.calls.canaries.values())
        assert trial.calls.answered
        assert trial.child_count
        assert trial.calls.denied or len(faults) < 5


def has_run(calls: TrialCalls, count: int) -> bool:
    return calls.run_count() >= count


async def cause(fault: str, trial: Trial, calls: TrialCalls) -> None:
    if fault == "kill":
        await trial.server.kill()
        await trial.server.start()
    elif fault == "freeze":
        trial.server.freeze()
        await asyncio.sleep(FROZEN_S)
        trial.server.wake()
    else:
        calls.freeze()
        await asyncio.sleep(MCP_FROZEN_S)
        calls.wake()


async def test_calls_of_all_kinds_have_one_result_over_kills_and_lost_hints(tmp_path: Path) -> None:
    await trial_with_calls(tmp_path, seed=1, chats=4, faults=("freeze mcp", "kill"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 206))
async def test_calls_of_all_kinds_have_one_result_over_many_faults(tmp_path: Path, seed: int) -> None:
    faults = random.Random(seed).sample(["kill"] * 6 + ["freeze"] * 2 + ["freeze mcp"] * 2, 10)
    assert Counter(faults)["kill"] == 6
    await trial_with_calls(tmp_path, seed=seed, chats=10, faults=faults)
