"""One server for all tests of a file, and OpenAI's own client for an owner of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from antiphon import ask_person, tool

from ..http.api_client import ApiClient, open_api


@tool(needs_approval=True)
def pay(amount: int = 1) -> str:
    """Pay, if a person allows it."""
    return f"paid {amount}"


@tool
def clock() -> str:
    """The time."""
    return "noon"


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def shared_api(anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    async with open_api(
        data=tmp_path_factory.mktemp("openai") / "data", concurrency=1_000, tools=(pay, clock, ask_person)
    ) as opened:
        yield opened


@pytest.fixture
async def client(api: ApiClient) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client as that owner; it repeats nothing by itself."""
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{api.port}/v1", api_key=api.token, max_retries=0) as made:
        yield made
