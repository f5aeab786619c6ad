"""Real PostgreSQL and NATS for the replicas' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from antiphon.testing.nats import NatsServer

from .fleet import ReplicaFleet


@pytest.fixture
async def fleet(tmp_path: Path, postgres_url: str) -> AsyncIterator[ReplicaFleet]:
    """Three replicas that rehearse, hints and drafts over PostgreSQL and ZeroMQ."""
    members = ReplicaFleet(tmp_path / "fleet", store=postgres_url)
    await members.start()
    yield members
    await members.close_streams()
    await members.kill()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def nats_fleet(tmp_path: Path, postgres_url: str, nats_server: NatsServer) -> AsyncIterator[ReplicaFleet]:
    """Two replicas, hints and drafts over NATS."""
    members = ReplicaFleet(tmp_path / "fleet", store=postgres_url, bus=nats_server.url, size=2)
    await members.start()
    yield members
    await members.close_streams()
    await members.kill()
