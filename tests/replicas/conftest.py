"""Real PostgreSQL and NATS for the replicas' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .fleet import ReplicaFleet


@pytest.fixture
async def fleet(tmp_path: Path, postgres_url: str) -> AsyncIterator[ReplicaFleet]:
    """Three replicas that rehearse, hints and drafts over PostgreSQL and ZeroMQ."""
    members = ReplicaFleet(tmp_path / "fleet", store=postgres_url)
    await members.start()
    yield members
    await members.close_streams()
    await members.kill()
