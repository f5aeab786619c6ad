"""An instance that runs as long as a command: a complete server on a free loopback port, which other commands and the
web UI can use too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antiphon.cli.verb import DATA
from antiphon.errors import InstanceMissing

if TYPE_CHECKING:
    from antiphon.cli.instance import InstanceAccess


@contextlib.asynccontextmanager
async def open_access(data: Path | None, url: str | None) -> AsyncIterator[InstanceAccess]:
    """Access to the running instance, or to one that is started until the command ends, which is said on stderr.
    Raises as `find_instance`."""
    from antiphon.cli.instance import InstanceAccess, find_instance

    async with contextlib.AsyncExitStack() as stack:
        try:
            reached = await asyncio.to_thread(find_instance, data, url)
        except InstanceMissing:
            if url is not None:
                raise
            own = data or Path(DATA)
            address, token = await stack.enter_async_context(open_embedded(own))
            note = f"antiphon: no instance is running; started one on {own} until this command ends"
            click.echo(f"{note} (`antiphon serve` starts a permanent one)", err=True)
            reached = InstanceAccess(url=address, token=token)
        yield reached


@contextlib.asynccontextmanager
async def open_embedded(data: Path) -> AsyncIterator[tuple[str, str]]:
    """Start an instance on `data`: its address and token. Raises `Unavailable` if another process holds the
    directory.

    A turn that still runs when it closes continues when the next instance starts on the directory.
    """
    from antiphon.observe.logs import configure_logging
    from antiphon.server.lifetime import Ready
    from antiphon.server.serve import serve

    configure_logging(as_json=False, level="error")
    ready: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()

    def report_ready(its: Ready) -> None:
        ready.set_result((its.url, its.token))

    serving = asyncio.create_task(serve(data=data, port=0, drain_s=0.0, on_ready=report_ready, may_stand_by=False))
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
