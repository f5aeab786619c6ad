"""Busy chats on three replicas during faults of everything around them; the checker examines the evidence."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from antiphon.testing.checker import check
from support.nats import NatsServer
from support.postgres import PostgresServer
from support.waiting import wait_until
from system.trial import Trial

from .fleet import Replica, ReplicaFleet

pytestmark = pytest.mark.anyio

FROZEN_S = 13.0
"""Longer than a lease."""


class Faults:
    """Faults of the replicas and their servers, one after another; at least one replica runs."""

    def __init__(self, fleet: ReplicaFleet, rnd: random.Random, *, postgres: PostgresServer, database: str) -> None:
        self._fleet = fleet
        self._random = rnd
        self._postgres = postgres
        self._database = database
        self.happened: Counter[str] = Counter()
        self._under_way: asyncio.Future[None] | None = None

    async def run(self, pause_s: float) -> None:
        """Cause faults until cancelled; then restart everything."""
        kinds: list[Callable[[], Awaitable[None]]] = [
            self.kill,
            self.kill,
            self.kill,
            self.stop,
            self.freeze,
            self.drop_sessions,
            self.drop_sessions,
            self.restart_database,
        ]
        order: list[Callable[[], Awaitable[None]]] = []
        try:
            while True:
                await asyncio.sleep(self._random.uniform(0.5, 1.5) * pause_s)
                if not order:
                    order = self._random.sample(kinds, len(kinds))
                fault = order.pop()
                self.happened[fault.__name__] += 1
                self._under_way = asyncio.ensure_future(fault())
                await asyncio.shield(self._under_way)
        finally:
            await asyncio.shield(self._recover())

    async def _recover(self) -> None:
        if self._under_way is not None:
            await asyncio.wait({self._under_way})  # a fault may not have started yet
        for member in self._fleet.members:
            if member.is_frozen:
                member.wake()
            if not member.is_running:
                await member.start()

    def _one(self) -> Replica:
        return self._random.choice(self._fleet.running)

    async def kill(self) -> None:
        member = self._one()
        await member.kill()
        await asyncio.sleep(self._random.uniform(0, 3))
        await member.start()

    async def stop(self) -> None:
        member = self._one()
        await member.stop()
        await member.start()

    async def freeze(self) -> None:
        member = self._one()
        member.freeze()
        await asyncio.sleep(FROZEN_S)
        member.wake()

    async def drop_sessions(self) -> None:
        """Terminate half of all database sessions, whether they listen, append or hold a lock."""
        connection = await asyncpg.connect(self._database)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"
            )
        finally:
            await connection.close()

    async def restart_database(self) -> None:
        self._postgres.stop(self._random.choice(["fast", "immediate"]))
        await asyncio.sleep(self._random.uniform(0, 1.5))
        self._postgres.start()


async def run_trial(
    folder: Path,
    postgres: PostgresServer,
    store: str,
    *,
    bus: str = "",
    seed: int,
    seconds: float,
    chats: int,
    watchers: int,
    pause_s: float,
) -> Counter[str]:
    make_fleet = partial(ReplicaFleet, store=store, bus=bus)
    given: dict[str, Any] = {"seed": seed, "chats": chats, "watchers": watchers, "make_server": make_fleet}
    async with Trial(folder, members=3, has_calls=True, on_worker_lost="continue", **given) as trial:
        fleet: Any = trial.server
        await trial.create_chats()
        trial.start_watchers()
        faults = Faults(fleet, random.Random(seed), postgres=postgres, database=store)
        failing = asyncio.create_task(faults.run(pause_s))
        try:
            await trial.busy(seconds)
        finally:
            failing.cancel()
            await asyncio.wait({failing})
        assert failing.cancelled() or failing.exception() is None, failing.exception()
        await trial.settle()
        evidence = await trial.collect(stuck_s=20.0)
        assert check(evidence) == []
        assert trial.calls is not None
        assert trial.calls.answered
        assert trial.acknowledged > 2 * seconds
        for member in fleet.members:  # nothing stays degraded
            await wait_until(lambda member=member: _is_ready(member), "it is ready again")
        return faults.happened


async def _is_ready(member: Any) -> bool:
    assert member.is_running, f"it ended: {member.log()[-3000:]}"
    return bool((await member.get("/readyz"))["status"] == "ready")


async def test_a_short_trial_with_faults_violates_no_invariant(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    happened = await run_trial(
        tmp_path, postgres_server, postgres_url, seed=1, seconds=8, chats=5, watchers=2, pause_s=0.8
    )
    assert sum(happened.values()) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("bus", ["postgres", "nats"])
async def test_five_minutes_of_faults_violate_no_invariant(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str, nats_server: NatsServer, bus: str
) -> None:
    happened = await run_trial(
        tmp_path,
        postgres_server,
        postgres_url,
        bus=nats_server.url if bus == "nats" else "",
        seed=2,
        seconds=300,
        chats=40,
        watchers=5,
        pause_s=4.0,
    )
    assert len(happened) == 5, "every kind of fault"
