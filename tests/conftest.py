"""Fixtures of all tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.testing.postgres import PostgresMissing, PostgresServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One for all tests of this process, which neither stop it nor depend on what else is in it."""
    with tempfile.TemporaryDirectory(prefix="antiphon-postgres-") as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        try:
            with PostgresServer(Path(folder) / "server") as server:
                yield server
        except PostgresMissing as error:
            if "CI" in os.environ:
                raise
            pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of the test's own."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)
