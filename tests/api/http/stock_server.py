"""An instance behind a stock uvicorn, which knows nothing of our connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from support.waiting import wait_until

from .api_client import ApiClient


@contextlib.asynccontextmanager
async def served_by_uvicorn(api: ApiClient, **options: Any) -> AsyncIterator[ApiClient]:
    """A client of the same instance at the other server. `options` are uvicorn's."""
    config = uvicorn.Config(
        api.instance.asgi, port=0, loop="none", lifespan="off", log_config=None, access_log=False, **options
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started)
    plain = ApiClient.__new__(ApiClient)
    plain.__dict__ = api.__dict__ | {"port": server.servers[0].sockets[0].getsockname()[1], "_idle": []}
    try:
        yield plain
    finally:
        await plain.close_connections()
        server.should_exit = True
        await task
