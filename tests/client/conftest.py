"""A server for a whole file of tests, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from antiphon.client import AsyncClient, Client

from .servers import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("server") / "data", "--drain-s", "0")
    yield running
    assert running.stop() == 0


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, server.token) as opened:
        yield opened


@pytest.fixture
def blocking(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url, server.token) as opened:
        yield opened
