"""Fleets of replicas with a real PostgreSQL or NATS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.nats import NatsServer
from support.postgres import PostgresServer

from .fleet import ReplicaFleet


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def standing_fleet(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> AsyncIterator[ReplicaFleet]:
    members = ReplicaFleet(tmp_path_factory.mktemp("fleet") / "fleet", store=postgres_server.create_database())
    await members.start()
    yield members
    await members.kill()


@pytest.fixture
async def fleet(standing_fleet: ReplicaFleet) -> AsyncIterator[ReplicaFleet]:
    """Three replicas with the rehearsal, hints over PostgreSQL and drafts over ZeroMQ. The tests of a file share the
    fleet; it is complete at the start of each test."""
    for member in standing_fleet.members:
        if member.is_frozen:
            member.wake()
        if not member.is_running:
            await member.start()
    await standing_fleet.wait_whole()
    yield standing_fleet
    await standing_fleet.close_streams()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def nats_fleet(tmp_path: Path, postgres_url: str, nats_server: NatsServer) -> AsyncIterator[ReplicaFleet]:
    """Two replicas with hints and drafts over NATS."""
    members = ReplicaFleet(tmp_path / "fleet", store=postgres_url, bus=nats_server.url, size=2)
    await members.start()
    yield members
    await members.close_streams()
    await members.kill()
