"""Runs one of several instances on a shared store, from start to stop.

Its data directory has only the addresses of the instance and the local token. If several replicas share a directory,
the one with the directory's lock offers the instance protocol there; when it exits, the next one does.
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
from antiphon.server.announcement import (
    announce_primary,
    announce_without_sockets,
    local_token,
    withdraw_announcement,
)
from antiphon.server.backends import without_password
from antiphon.server.lifetime import Ready, collect_seldom, until_stopped
from antiphon.server.nats_agents import open_agents
from antiphon.server.open_instance import EmbeddedInstance, open_instance

CLAIM_S = 0.5
"""How often a replica tries to claim the lock of its data directory, in seconds."""

log = structlog.get_logger(__name__)


async def serve_replica(
    agent: Any,
    data: Path,
    instance_id: str,
    *,
    stopping: asyncio.Event,
    report_ready: Callable[[Ready], None],
    wrap_bus: Callable[[Bus], Bus],
    options: GivenOptions,
    claim_s: float = CLAIM_S,
) -> None:
    """Run until `stopping` is set. Raises `Unavailable` if the store or the bus cannot be reached."""
    async with (
        open_instance(agent=agent, instance_id=instance_id, wrap_bus=wrap_bus, **options) as instance,
        open_agents(instance) as agents,
    ):
        assert instance.cluster is not None
        server: HttpServer | None = None
        local = LocalSockets(instance, data, claim_s=claim_s)
        try:
            may_use_any_port = options.get("port") is None
            server = await start_anywhere(instance.asgi, instance.options, may_use_any_port=may_use_any_port)
            await instance.serve_at(server.url)
            token = await local_token(instance, data)
            await local.start(server.url, token)
            collect_seldom()
            log.info(
                "server_started",
                url=server.url,
                instance_id=instance_id,
                store=without_password(instance.options.store),
            )
            report_ready(Ready(instance_id=instance_id, role="replica", url=server.url, token=token))
            await until_stopped(stopping, instance.background, local.task, agents.task)
        finally:
            await agents.leave()
            await instance.stop()
            await local.aclose()
            if server is not None:
                await server.aclose()
            withdraw_announcement(instance_id, data)


class LocalSockets:
    """Offers the instance protocol in a replica's data directory once the replica has the directory's lock."""

    def __init__(self, instance: EmbeddedInstance, data: Path, *, claim_s: float = CLAIM_S) -> None:
        self._claim_s = claim_s
        self._instance = instance
        self._data = data
        self._stack = AsyncExitStack()
        self._endpoint: ZmqEndpoint | None = None
        self._url = self._token = ""
        self.task: asyncio.Task[None] | None = None

    async def start(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        if not await self._open_if_free():
            announce_without_sockets(self._instance.instance_id, self._data, role="replica", url=url)
        self.task = asyncio.create_task(self._keep_open())

    async def _open_if_free(self) -> bool:
        """Claim the lock, open the sockets and announce them; False if another replica holds the lock."""
        lock = claim_unless_held(self._data, instance_id=self._instance.instance_id)
        if lock is None:
            return False
        async with AsyncExitStack() as stack:
            stack.callback(lock.release)  # also if the sockets cannot be opened: another replica may succeed
            endpoint = await stack.enter_async_context(
                open_zmq_endpoint(self._instance, self._instance.asgi, self._data)
            )
            announce_primary(self._instance, lock, endpoint, token=self._token)
            self._stack, self._endpoint = stack.pop_all(), endpoint
        return True

    async def _keep_open(self) -> None:
        failure = ""
        while self._endpoint is None:
            await asyncio.sleep(self._claim_s)
            try:
                await self._open_if_free()
            except (
                OSError,
                AntiphonError,
            ) as error:  # for example, no such directory; HTTP is served without
                if str(error) != failure:
                    failure = str(error)
                    log.warning("directory_claim_failed", error=failure)
        if self._endpoint.task is not None:
            await self._endpoint.task

    async def aclose(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})
        if self._endpoint is not None:
            self._endpoint.publish_shutdown("stopped")
        await self._stack.aclose()
