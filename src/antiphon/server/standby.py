"""Standing by on a data directory that another process holds: requests are handed on, and the lock is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from antiphon.api.http.server import HttpServer, start_anywhere
from antiphon.api.proxy.app import StandbyDoor
from antiphon.api.proxy.primary import Primary
from antiphon.local.lock import LockFile, try_claim
from antiphon.options import Options
from antiphon.server.announcement import tell_gone, tell_without_sockets

CLAIM_S = 0.02
"""How often the lock is tried: what a primary's shutdown frame asks for is done all the time, for it costs little."""

log = structlog.get_logger(__name__)


class Standby:
    """`door` hands requests on, `server` is where it is; both stay when this process becomes the primary."""

    def __init__(self, instance_id: str, data: Path, *, door: StandbyDoor, server: HttpServer) -> None:
        self.door = door
        self.server = server
        self._instance_id = instance_id
        self._data = data

    def announce(self) -> None:
        """Say that this process stands by, and where."""
        tell_without_sockets(self._instance_id, self._data, role="standby", url=self.server.url)

    async def wait_lock(self, stopping: asyncio.Event) -> LockFile | None:
        """The lock, the moment it is free; None when `stopping` is set before."""
        failure = ""
        while not stopping.is_set():
            try:
                lock = try_claim(self._data, instance_id=self._instance_id, may_make=False)
                if lock is not None:
                    return lock
            except OSError as error:  # the directory is gone, or no descriptor is left
                if str(error) != failure:
                    failure = str(error)
                    log.warning("lock_not_tried", error=failure)
            await asyncio.sleep(CLAIM_S)
        return None


@contextlib.asynccontextmanager
async def open_standby(
    instance_id: str, data: Path, options: Options, *, is_port_free: bool
) -> AsyncIterator[Standby]:
    """Stand by on `data`. `is_port_free`: nobody chose the port, so where the default is taken any will do."""
    primary = Primary(data)
    door = StandbyDoor(instance_id=instance_id, data=data, options=options, primary=primary)
    server = await start_anywhere(door, options, is_port_free=is_port_free, descriptors_each=2)
    watching = asyncio.create_task(primary.watch())
    standby = Standby(instance_id, data, door=door, server=server)
    standby.announce()
    try:
        yield standby
    finally:
        tell_gone(instance_id, data)
        door.stop()
        await server.aclose()
        watching.cancel()
        await asyncio.wait({watching})
        await primary.aclose()
