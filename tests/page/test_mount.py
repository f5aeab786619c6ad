"""The web UI of a server that is mounted under a path of another application, served by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from antiphon import Turn, open_instance

from .visit import NO_SESSION, Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]

ANSWER = """# A heading

```python
print("<b>no tag</b>")
```

[into the page](/chat/#token=theirs), [away](https://example.org/x)
"""


async def agent(turn: Turn) -> AsyncIterator[str]:
    for line in ANSWER.splitlines(keepends=True):
        yield line


@contextlib.asynccontextmanager
async def open_uvicorn(app: Starlette) -> AsyncIterator[str]:
    """Serves the app on its own port; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def own_page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the application's own")


async def test_the_page_works_under_a_path(visits: Visits) -> None:
    async with open_instance(agent=agent, drain_s=0) as antiphon:
        token = (await antiphon.tokens.create("admin", is_admin=True)).secret
        app = Starlette(routes=[Route("/", own_page), Mount("/inside/chat", app=antiphon.asgi)])
        async with open_uvicorn(app) as origin:
            visit = await visits(f"{origin}/inside/chat", token)
            visit.expected.append(NO_SESSION)
            tab = await visit.open()
            await tab.wait_live()
            assert tab.page.url == f"{visit.url}/"
            chat_id = await tab.start_chat("anything")
            await tab.message("assistant").get_by_role("heading", name="A heading").wait_for()
            await tab.wait_idle()
            await expect(tab.page.locator(".code .hljs-built_in")).to_have_text("print")  # a module loaded later
            links = tab.message("assistant").get_by_role("link")
            assert [await link.get_attribute("href") for link in await links.all()] == ["https://example.org/x"]
            assert await tab.page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
            await tab.page.reload()
            await tab.message("assistant").get_by_role("heading", name="A heading").wait_for()
            assert tab.page.url == f"{visit.url}/#/chat/{chat_id}"
            await tab.button("Sign out").click()
            await tab.page.get_by_label("Token").wait_for()
            assert tab.page.url == f"{visit.url}/"
            assert await visit.context.cookies() == []
            await tab.page.goto("about:blank")
