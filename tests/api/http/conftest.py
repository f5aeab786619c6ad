"""Doors in this process, on the event loop that `serve` uses."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import tool

from .door import Door, open_door
from .wire import close_wires


@tool(needs_approval=True)
def pay(amount: int = 1) -> str:
    """Pay, if a person allows it."""
    return f"paid {amount}"


_owner_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def shared_door(anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """On SQLite, for all tests of a file."""
    async with open_door(data=tmp_path_factory.mktemp("door") / "data", concurrency=1_000, tools=(pay,)) as opened:
        yield opened


@pytest.fixture
async def door(shared_door: Door) -> AsyncIterator[Door]:
    """The same for an owner of the test's own."""
    owner = await shared_door.as_owner(f"owner {next(_owner_numbers)}")
    yield owner
    await owner.hang_up()
    await close_wires()
