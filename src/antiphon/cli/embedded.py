"""An instance of our own, for as long as a command runs: the same server on a free port of loopback, so that other
commands and the page find it, too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any


@contextlib.asynccontextmanager
async def open_embedded(data: Path) -> AsyncIterator[tuple[str, str]]:
    """The (address, token) of an instance on `data`. Raises `Unavailable` if another process holds the directory.

    Whatever still runs when it closes goes on when an instance is started there again.
    """
    from antiphon.observe.logs import configure_logging
    from antiphon.server.lifetime import Ready
    from antiphon.server.serve import serve

    configure_logging(as_json=False, level="error")
    ready: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()

    def tell(its: Ready) -> None:
        ready.set_result((its.url, its.token))

    serving = asyncio.create_task(serve(data=data, port=0, drain_s=0.0, on_ready=tell, may_stand_by=False))
    try:
        waited: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield ready.result()
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
