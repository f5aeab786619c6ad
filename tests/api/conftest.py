"""What the tests of HTTP's protocols share: a server for all tests of a file (`shared_api` of their folders), and an
owner of each test's own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from .http.api_client import ApiClient
from .http.wire import close_wires

_owner_numbers = itertools.count(1)


@pytest.fixture
async def api(shared_api: ApiClient) -> AsyncIterator[ApiClient]:
    """The server of the file for an owner of the test's own."""
    owner = await shared_api.as_owner(f"owner {next(_owner_numbers)}")
    yield owner
    await owner.close_connections()
    await close_wires()
