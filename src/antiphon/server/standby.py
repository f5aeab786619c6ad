"""A standby of a data directory that another process holds: forwards requests, and waits for the lock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from antiphon.api.http.server import HttpServer, start_anywhere
from antiphon.api.proxy.app import StandbyApp
from antiphon.api.proxy.limits import ProxyLimits
from antiphon.api.proxy.primary import Primary
from antiphon.local.lock import LockFile, try_claim
from antiphon.options import Options
from antiphon.server.announcement import announce_without_sockets, read_token, withdraw_announcement
from antiphon.server.lifetime import Ready

CLAIM_S = 0.02
"""How often a standby tries to claim the lock, in seconds. A try is cheap, so it polls."""

log = structlog.get_logger(__name__)


class Standby:
    """`app` forwards requests and `server` serves it. Both are kept when this process becomes the primary."""

    def __init__(self, instance_id: str, data: Path, *, app: StandbyApp, server: HttpServer) -> None:
        self.app = app
        self.server = server
        self._instance_id = instance_id
        self._data = data

    @property
    def ready(self) -> Ready:
        """What is reported once it serves requests."""
        url, token = self.server.url, read_token(self._data)
        return Ready(instance_id=self._instance_id, role="standby", url=url, token=token)

    def announce(self) -> None:
        """Announce this standby and its URL."""
        announce_without_sockets(self._instance_id, self._data, role="standby", url=self.server.url)

    async def wait_lock(self, stopping: asyncio.Event) -> LockFile | None:
        """Claim the lock as soon as it is free; None if `stopping` is set first."""
        failure = ""
        while not stopping.is_set():
            try:
                lock = try_claim(self._data, instance_id=self._instance_id, may_make=False)
                if lock is not None:
                    return lock
            except OSError as error:  # no such directory, or no descriptor left
                if str(error) != failure:
                    failure = str(error)
                    log.warning("lock_claim_failed", error=failure)
            await asyncio.sleep(CLAIM_S)
        return None


@contextlib.asynccontextmanager
async def open_standby(
    instance_id: str, data: Path, options: Options, *, may_use_any_port: bool, limits: ProxyLimits = ProxyLimits()
) -> AsyncIterator[Standby]:
    """Run a standby of `data`. `may_use_any_port`: if the default port is in use, use any other."""
    primary = Primary(data, limits)
    app = StandbyApp(instance_id=instance_id, data=data, options=options, primary=primary)
    server = await start_anywhere(app, options, may_use_any_port=may_use_any_port, descriptors_each=2)
    watching = asyncio.create_task(primary.watch())
    standby = Standby(instance_id, data, app=app, server=server)
    standby.announce()
    log.info("standby_started", url=server.url, instance_id=instance_id, data=str(data))
    try:
        yield standby
    finally:
        withdraw_announcement(instance_id, data)
        app.stop()
        await server.aclose()
        watching.cancel()
        await asyncio.wait({watching})
        await primary.aclose()
