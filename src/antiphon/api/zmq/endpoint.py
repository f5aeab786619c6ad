"""The instance protocol's endpoint: opened while the data directory's lock is held, closed before it is given
back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from antiphon.api.http.app import HttpApp
from antiphon.api.zmq.calls import Calls
from antiphon.api.zmq.limits import SocketLimits
from antiphon.api.zmq.publisher import Publisher
from antiphon.api.zmq.sockets import InstanceSockets, fits_ipc, open_ipc_sockets, open_tcp_sockets
from antiphon.errors import Invalid
from antiphon.instance import Instance
from antiphon.local.discovery import socket_dir
from antiphon.tracebacks import traceback_of
from antiphon.watch.owner_follower import FollowLimits
from antiphon.wire.instance import default_ports

CALLS_AT_ONCE_MAX = 64
"""Maximum number of calls handled concurrently; more wait in the socket's queue."""

log = structlog.get_logger(__name__)


class ZmqEndpoint:
    """`pub_endpoint` and `rpc_endpoint` are where it is; `run` it as a task."""

    def __init__(
        self,
        instance: Instance,
        http: HttpApp,
        sockets: InstanceSockets,
        *,
        project_id: str,
        follow_limits: FollowLimits,
    ) -> None:
        self.project_id = project_id
        self.task: asyncio.Task[None] | None = None
        """What runs it; a endpoint that fails takes its server down."""
        self._sockets = sockets
        self._is_leaving = False
        self.pub_endpoint = sockets.pub_endpoint
        self.rpc_endpoint = sockets.rpc_endpoint
        self.publisher = Publisher(instance, sockets, project_id=project_id, follow_limits=follow_limits)
        self.calls = Calls(
            instance, self.publisher, http, project_id=project_id, endpoints=(self.pub_endpoint, self.rpc_endpoint)
        )

    async def run(self) -> None:
        """Publish and answer, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.publisher.run())
            tasks.create_task(self._answer_forever(tasks))

    async def _answer_forever(self, tasks: asyncio.TaskGroup) -> None:
        places = asyncio.Semaphore(CALLS_AT_ONCE_MAX)
        while True:
            await places.acquire()
            identity, message = await self._sockets.receive()
            tasks.create_task(self._answer(identity, message)).add_done_callback(lambda _: places.release())

    async def _answer(self, identity: bytes, message: bytes) -> None:
        answer = await self.calls.answer(message)
        if answer is not None:
            await self._sockets.reply(identity, answer)

    def publish_shutdown(self, reason: str) -> None:
        """The last frame. A second time nothing is said."""
        if not self._is_leaving:
            self._is_leaving = True
            self.publisher.publish_shutdown(reason)

    async def aclose(self, reason: str) -> None:
        """The last frame, delivered, and the sockets."""
        self.publish_shutdown(reason)
        self.publisher.close()
        self._sockets.close()
        await asyncio.to_thread(self._sockets.deliver)


@contextlib.asynccontextmanager
async def open_zmq_endpoint(
    instance: Instance,
    http: HttpApp,
    data: Path,
    *,
    reason: str = "stopped",
    limits: SocketLimits = SocketLimits(),  # noqa: B008 - a value
    follow_limits: FollowLimits = FollowLimits(),  # noqa: B008 - a value
) -> AsyncIterator[ZmqEndpoint]:
    """Open the ZeroMQ endpoint of an instance and run it.

    Args:
        instance: The instance.
        http: Its HTTP API, for calls that are only available over HTTP.
        data: The data directory, whose lock is held.
        reason: Why it closes, published as the last event.
        follow_limits: How many chats are followed for the subscribers.

    Raises:
        Unavailable: The endpoint cannot be opened.
        Invalid: TCP without keys where there are several owners.
    """
    project_dir = data.resolve().parent
    sockets = await _open_sockets(instance, data, project_dir, limits)
    endpoint = ZmqEndpoint(instance, http, sockets, project_id=str(project_dir), follow_limits=follow_limits)
    endpoint.task = task = asyncio.create_task(endpoint.run())
    try:
        yield endpoint
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            log.error("instance_endpoint_failed", exception=traceback_of(task.exception()))
        await endpoint.aclose(reason)


async def _open_sockets(instance: Instance, data: Path, project_dir: Path, limits: SocketLimits) -> InstanceSockets:
    options = instance.options
    if options.bus_tcp:
        keys_file = Path(options.keys) if options.keys else None
        if keys_file is None and await instance.store.owner_count() > 1:
            raise Invalid(
                "--bus-tcp", "without keys it speaks to every user of this machine: not with several owners"
            )
        if keys_file is None:
            instance.health.warn(
                "bus_without_keys", "every user of this machine can read and command the admin's chats"
            )
            instance.owners.allow_only_admin(
                "keyless TCP (--bus-tcp without --keys) is for one owner; stop it or give it keys first"
            )
        if options.bus_ports:
            return open_tcp_sockets(*options.bus_ports, keys_file=keys_file, pairs_tried=1, limits=limits)
        return open_tcp_sockets(*default_ports(str(project_dir)), keys_file=keys_file, limits=limits)
    folder = data.resolve() / "run"
    return open_ipc_sockets(folder if fits_ipc(folder) else socket_dir(data), limits)
