"""One server and two editors for all tests of a file; each test has chats of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import ToolContext, ask_person, tool

from ..http.api_client import ApiClient, open_api
from .editor import Editor, open_editor

FORMS = {"elicitation": {"form": {}}}


@tool(needs_approval=True)
def pay(amount: int = 1) -> str:
    """Pay, if a person allows it."""
    return f"paid {amount}"


@tool
def search_files(context: ToolContext, word: str) -> str:
    """Search, and report progress."""
    for name in ("a.txt", "b.txt"):
        context.progress(f"{name}\n")
        time.sleep(0.02)
    return f"found {word}"


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def shared_api(anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    data = tmp_path_factory.mktemp("acp") / "data"
    async with open_api(data=data, concurrency=1_000, tools=(pay, search_files, ask_person)) as opened:
        yield opened


def access(api: ApiClient) -> dict[str, Any]:
    return {"env": {"ANTIPHON_TOKEN": api.token}}


def address(api: ApiClient) -> tuple[str, str]:
    return "--url", f"http://127.0.0.1:{api.port}"


@pytest.fixture(scope="module")
async def editor(shared_api: ApiClient) -> AsyncIterator[Editor]:
    """An editor without forms."""
    async with open_editor(*address(shared_api), **access(shared_api)) as opened:
        yield opened


@pytest.fixture(scope="module")
async def other(shared_api: ApiClient) -> AsyncIterator[Editor]:
    """An editor of the same owner, with forms."""
    async with open_editor(*address(shared_api), capabilities=FORMS, **access(shared_api)) as opened:
        yield opened
