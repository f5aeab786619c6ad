"""A browser for the tests that visit a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

from system.server_process import ServerProcess

from .chromium import launch_options
from .visit import Tab, Visit

DESK = {"width": 1280, "height": 800}

Visits = Callable[..., Awaitable[Visit]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="package")  # a longer one keeps its event loop, and the tests of other packages would get that
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    options = launch_options()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(**options)
        yield browser
        await browser.close()


@pytest.fixture
async def visits(chromium: Browser) -> AsyncIterator[Visits]:
    """`await visits(url, token, **options of the browser's context)`; every visit is checked at the end."""
    made: list[Visit] = []

    async def make(url: str, token: str, **options: Any) -> Visit:
        context = await chromium.new_context(**{"viewport": DESK, "service_workers": "block", **options})
        context.set_default_timeout(15_000)
        made.append(Visit(context, url, token))
        return made[-1]

    yield make
    for visit in made:
        await visit.context.close()
    for visit in made:
        visit.check()


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One server for the tests of a module; each test has its own chats."""
    server = ServerProcess(tmp_path_factory.mktemp("page") / "data")
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def visit(visits: Visits, server: ServerProcess) -> Visit:
    return await visits(f"http://127.0.0.1:{server.port}", server.token)


@pytest.fixture
async def tab(visit: Visit) -> Tab:
    """A tab that is signed in."""
    return await visit.open()
