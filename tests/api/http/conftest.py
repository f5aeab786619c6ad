"""Instances in this process with a client, on the event loop that `serve` uses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import ask_person, tool

from .api_client import ApiClient, open_api


@tool(needs_approval=True)
def pay(amount: int = 1) -> str:
    """Pay, if a person allows it."""
    return f"paid {amount}"


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def shared_api(anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    """On SQLite, for all tests of a file."""
    async with open_api(
        data=tmp_path_factory.mktemp("api") / "data", concurrency=1_000, tools=(pay, ask_person)
    ) as opened:
        yield opened
