"""One server for all tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ..http.api_client import ApiClient, open_api


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def shared_api(anyio_backend: Any) -> AsyncIterator[ApiClient]:
    async with open_api(concurrency=1_000) as opened:
        yield opened
