"""How the rate of short turns grows with the number of replicas, and their CPU cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import uvloop

from antiphon.core.values import Value
from benchmarks.fleet import BenchDatabase, open_database, open_replicas
from benchmarks.runner import Figure, Scale, middle
from benchmarks.server import BenchServer
from benchmarks.talker import open_talker

CALLERS = 48
SIZES = (1, 2, 3)
PER = 1_000
WARM_S = 60.0
POLL_S = 0.01


class Grown(Value):
    """Turns a second, and CPU seconds per thousand turns: the replicas', and the database's (0: not known)."""

    rate: float
    cpu_s: float
    database_cpu_s: float


def measure_growth(scale: Scale) -> list[Figure]:
    """48 callers, spread over all replicas, have tiny turns one after another; the floor is one replica."""
    seconds = 2.0 if scale.is_quick else 5.0
    found: dict[int, list[Grown]] = {size: [] for size in SIZES}
    with open_database(scale.store) as database:
        for _ in range(scale.repeats):
            for size, runs in found.items():
                with open_replicas(database.fresh(), size) as servers:
                    runs.append(uvloop.run(grow(database, servers, callers=CALLERS, seconds=seconds)))
    one = found[SIZES[0]]
    return [figure for size, runs in found.items() for figure in _figures(size, runs, None if runs is one else one)]


def _figures(size: int, runs: Sequence[Grown], one: Sequence[Grown] | None) -> list[Figure]:
    shown = [
        (f"tiny turns, {CALLERS} callers", "per s", "rate"),
        (f"CPU of {PER:,} tiny turns, the replicas'", "s", "cpu_s"),
        (f"CPU of {PER:,} tiny turns, PostgreSQL's", "s", "database_cpu_s"),
    ]
    return [
        Figure(
            name=f"growth, {size} replica{'s' if size > 1 else ''}: {name}",
            value=middle([getattr(run, field) for run in runs]),
            unit=unit,
            floor=None if one is None else middle([getattr(run, field) for run in one]),
            floor_name="one replica",
        )
        for name, unit, field in shown
        if any(getattr(run, field) for run in runs)
    ]


async def grow(database: BenchDatabase, servers: Sequence[BenchServer], *, callers: int, seconds: float) -> Grown:
    """Count the turns of `callers` clients in `seconds`, after a first turn of each. Each client has its own chat."""
    loop = asyncio.get_running_loop()
    talkers = [await open_talker(servers[number % len(servers)]) for number in range(callers)]
    for talker in talkers:
        talker.start()
    async with asyncio.timeout(WARM_S):
        while not all(talker.turns for talker in talkers):
            await asyncio.sleep(POLL_S)
    before = sum(talker.turns for talker in talkers)
    cpu, database_cpu, started = sum(server.cpu_s() for server in servers), database.cpu_s(), loop.time()
    await asyncio.sleep(seconds)
    turns, took_s = sum(talker.turns for talker in talkers) - before, loop.time() - started
    cpu = sum(server.cpu_s() for server in servers) - cpu
    database_cpu = (database.cpu_s() or 0.0) - (database_cpu or 0.0)
    for talker in talkers:
        talker.close()
    if not turns:
        raise RuntimeError("no turn has ended")
    return Grown(rate=turns / took_s, cpu_s=cpu / turns * PER, database_cpu_s=database_cpu / turns * PER)
