"""One server for all tests of a file, and the official client of MCP for an owner of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from ..http.api_client import ApiClient
from ..http.conftest import anyio_backend, shared_api

__all__ = ["anyio_backend", "shared_api"]

MODES = ("legacy", "2026-07-28")
"""A client that begins with `initialize`, and one of the revision without it."""


@contextlib.asynccontextmanager
async def connected(url: str, token: str, mode: str = "auto") -> AsyncIterator[Client]:
    """The official client. It checks every result of a tool against the tool's output schema."""
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode, cache=None) as client,
    ):
        await client.list_tools()
        yield client


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def url_of(api: ApiClient) -> str:
    return f"http://127.0.0.1:{api.port}"
