"""Several replicas on one PostgreSQL database: each an `antiphon serve --store` in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg

from benchmarks.server import SERVE, BenchServer, cpu_s_of
from support.postgres import PostgresServer

CONNECTIONS = 16
NO_DRAIN = ("--drain-s", "0")
MUTE = ("benchmarks.mute",)
ROOT = Path(__file__).parent.parent
DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"}


class BenchDatabase:
    """PostgreSQL that syncs every commit, in a folder that is thrown away; or the caller's own database `url`."""

    def __init__(self, url: str = "") -> None:
        self._url = url
        self._server: PostgresServer | None = None

    def fresh(self) -> str:
        """The URL of an empty database; the caller's own is taken as it is."""
        return self._server.create_database() if self._server is not None else self._url

    def cpu_s(self) -> float | None:
        """CPU seconds of all its processes; None if it is not a server of the benchmark."""
        if self._server is None:
            return None
        parent = self._server.pid
        seconds = cpu_s_of(parent, with_children=True)
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                seconds += cpu_s_of(int(child))
        return seconds


@contextmanager
def open_database(url: str = "") -> Iterator[BenchDatabase]:
    """A server of the bench's own unless there is a `url`. Raises `PostgresMissing`."""
    database = BenchDatabase(url)
    if url:
        yield database
        return
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        with PostgresServer(Path(folder) / "server", **DURABLE) as database._server:
            yield database


def replica(
    folder: Path, store: str, *, bus: str = "", is_mute: bool = False, env: Mapping[str, str] | None = None
) -> BenchServer:
    """One on that store, with a data directory of its own. `is_mute`: none of its hints leaves the process."""
    options = (*NO_DRAIN, "--store", store, *(("--bus", bus) if bus else ()))
    if not is_mute:
        return BenchServer(data=folder, options=options, program=SERVE, env=env)
    python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return BenchServer(data=folder, options=options, program=MUTE, env={"PYTHONPATH": python_path, **(env or {})})


@contextmanager
def open_replicas(
    store: str, count: int, *, bus: str = "", env: Mapping[str, str] | None = None
) -> Iterator[list[BenchServer]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = [replica(Path(folder) / str(number), store, bus=bus, env=env) for number in range(count)]
        for server in servers:
            stack.push(server)  # also where another one does not start
        for server in servers:
            server.__enter__()
        yield servers


# --- the database's own rate


async def commit_rate(url: str, *, seconds: float) -> float:
    """Commits of one small row a second, by 16 connections."""
    connections = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]
    await connections[0].execute("CREATE TABLE bench_floor (id bigserial PRIMARY KEY, body bytea)")
    try:
        started = time.perf_counter()
        counts = await asyncio.gather(*(_commit(connection, started + seconds) for connection in connections))
        return sum(counts) / (time.perf_counter() - started)
    finally:
        await connections[0].execute("DROP TABLE bench_floor")
        for connection in connections:
            await connection.close()


async def _commit(connection: asyncpg.Connection, until: float) -> int:
    insert = await connection.prepare("INSERT INTO bench_floor (body) VALUES ($1)")
    count = 0
    while time.perf_counter() < until:
        await insert.fetch(b"x" * 100)
        count += 1
    return count
