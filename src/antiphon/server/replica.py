"""One of several instances on a shared store, from start to the last good-bye.

Nothing durable lies in its data directory: only how to find the instance, and the directory's own token. Of several
replicas on one directory the first opens the instance protocol's sockets there; the next one does when it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import structlog

from antiphon.api.http.server import HttpServer, start_anywhere
from antiphon.api.zmq.endpoint import ZmqEndpoint, open_zmq_endpoint
from antiphon.errors import AntiphonError
from antiphon.local.lock import claim_unless_held
from antiphon.options import GivenOptions
from antiphon.ports import Bus
from antiphon.server.announcement import local_token, tell_gone, tell_primary, tell_without_sockets
from antiphon.server.backends import without_password
from antiphon.server.lifetime import Ready, collect_seldom, until_stopped
from antiphon.server.open_instance import EmbeddedInstance, open_instance

CLAIM_S = 0.5
"""How often a replica without the directory's lock tries it."""

log = structlog.get_logger(__name__)


async def serve_replica(
    agent: Any,
    data: Path,
    instance_id: str,
    *,
    stopping: asyncio.Event,
    tell: Callable[[Ready], None],
    wrap_bus: Callable[[Bus], Bus],
    options: GivenOptions,
) -> None:
    """Run until told to stop. Raises `Unavailable` where the store or the bus cannot be reached."""
    async with open_instance(agent=agent, instance_id=instance_id, wrap_bus=wrap_bus, **options) as instance:
        assert instance.cluster is not None
        server: HttpServer | None = None
        local = LocalDoor(instance, data)
        try:
            is_port_free = options.get("port") is None
            server = await start_anywhere(instance.asgi, instance.options, is_port_free=is_port_free)
            await instance.serve_at(server.url)
            token = await local_token(instance, data)
            await local.start(server.url, token)
            collect_seldom()
            log.info("ready", url=server.url, instance_id=instance_id, store=without_password(instance.options.store))
            tell(Ready(instance_id=instance_id, role="replica", url=server.url, token=token))
            await until_stopped(stopping, instance.background, local.task)
        finally:
            await instance.stop()
            await local.aclose()
            if server is not None:
                await server.aclose()
            tell_gone(instance_id, data)


class LocalDoor:
    """A replica's place on its data directory: with the lock it has the sockets there, else it waits for it."""

    def __init__(self, instance: EmbeddedInstance, data: Path) -> None:
        self._instance = instance
        self._data = data
        self._stack = AsyncExitStack()
        self._endpoint: ZmqEndpoint | None = None
        self._url = self._token = ""
        self.task: asyncio.Task[None] | None = None

    async def start(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        if not await self._take():
            tell_without_sockets(self._instance.instance_id, self._data, role="replica", url=url)
        self.task = asyncio.create_task(self._hold())

    async def _take(self) -> bool:
        """Open the sockets and say where they are, if the lock can be had."""
        lock = claim_unless_held(self._data, instance_id=self._instance.instance_id)
        if lock is None:
            return False
        async with AsyncExitStack() as stack:
            stack.callback(lock.release)  # also where the sockets cannot be opened: another may have more luck
            endpoint = await stack.enter_async_context(
                open_zmq_endpoint(self._instance, self._instance.asgi, self._data)
            )
            tell_primary(self._instance, lock, endpoint, token=self._token)
            self._stack, self._endpoint = stack.pop_all(), endpoint
        return True

    async def _hold(self) -> None:
        failure = ""
        while self._endpoint is None:
            await asyncio.sleep(CLAIM_S)
            try:
                await self._take()
            except (OSError, AntiphonError) as error:  # the directory is gone, say: it serves all the same
                if str(error) != failure:
                    failure = str(error)
                    log.warning("directory_not_taken", error=failure)
        if self._endpoint.task is not None:
            await self._endpoint.task

    async def aclose(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})
        if self._endpoint is not None:
            self._endpoint.publish_shutdown("stopped")
        await self._stack.aclose()
