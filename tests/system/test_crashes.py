"""The server is killed, at random and at every named point, while chats are busy: the checker finds nothing."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from antiphon.observe.crash_points import CRASH_POINTS
from antiphon.testing.checker import check
from antiphon.testing.model_answers import beginning_of

from .trial import Trial

pytestmark = pytest.mark.anyio

ACKNOWLEDGED_PER_LIFE = 8
"""Minimum number of acknowledged sends before a kill, so that no kill hits an idle server."""

SEED = int(os.environ.get("TRIAL_SEED", "1"))


async def trial_with_random_kills(folder: Path, *, seed: int, kills: int, on_worker_lost: str) -> None:
    async with Trial(folder, seed=seed, on_worker_lost=on_worker_lost) as trial:
        await trial.create_chats()
        trial.start_watchers()
        rnd = random.Random(seed)
        busy = asyncio.create_task(trial.busy(600))
        for _ in range(kills):
            acknowledged = trial.acknowledged
            while trial.acknowledged < acknowledged + ACKNOWLEDGED_PER_LIFE:
                await asyncio.sleep(0.01)
                assert not busy.done(), "the clients are at it"
            await asyncio.sleep(rnd.uniform(0, 0.8))
            await trial.server.kill()
            await trial.server.start()
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await trial.settle()
        assert check(await trial.collect()) == []
        assert trial.server.kills == kills
        assert trial.interrupted
        has_continued = any(beginning_of(request.body) for request in trial.model.requests)
        assert has_continued is (on_worker_lost == "continue")


async def test_kills_at_random_instants_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    await trial_with_random_kills(tmp_path, seed=SEED, kills=4, on_worker_lost="continue")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 125))
async def test_two_hundred_kills_lose_nothing(tmp_path: Path, seed: int) -> None:
    on_worker_lost = ("restart", "keep", "continue")[seed % 3]
    await trial_with_random_kills(tmp_path, seed=seed, kills=8, on_worker_lost=on_worker_lost)


LIVES_MAX = 10


async def dies_at(trial: Trial, point: str) -> bool:
    """Start the server to die at `point`; a life that does not pass it within a while is killed, and another begun
    (some points are passed at a start only, and only after a kill that came at the right moment)."""
    for _ in range(LIVES_MAX):
        await trial.server.kill()
        await trial.server.start(ANTIPHON_CRASH_AT=f"{point}:{random.Random(point).randint(1, 2)}")
        try:
            async with asyncio.timeout(3):
                await trial.server.process.wait()
            return True
        except TimeoutError:
            pass
    return False


ALL_POINTS = tuple(CRASH_POINTS)
SOME_POINTS = ALL_POINTS[::7]


async def test_dying_at_named_points_loses_nothing(tmp_path: Path) -> None:
    await trial_with_deaths_at(SOME_POINTS, tmp_path)


@pytest.mark.slow
async def test_dying_at_every_named_point_loses_nothing(tmp_path: Path) -> None:
    await trial_with_deaths_at(ALL_POINTS, tmp_path)


async def trial_with_deaths_at(points: tuple[str, ...], folder: Path) -> None:
    """Each life of the server dies at another point."""
    async with Trial(folder, seed=SEED, chats=6) as trial:
        await trial.create_chats()
        trial.start_watchers()
        busy = asyncio.create_task(trial.busy(600))
        reached = [point for point in points if await dies_at(trial, point)]
        await trial.server.kill()
        await trial.server.start()
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await trial.settle()
        # a server that dies at each claim leaves chats without a worker for longer than one that lives
        assert check(await trial.collect(stuck_s=60.0)) == []
        assert reached == list(points), "every point is passed by a busy server"
