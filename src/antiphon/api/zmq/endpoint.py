"""The instance protocol's door: opened while the data directory's lock is held, closed before it is given back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from antiphon.api.zmq.calls import Calls
from antiphon.api.zmq.publisher import Publisher
from antiphon.api.zmq.replica_follower import Elsewhere
from antiphon.api.zmq.sockets import InstanceSockets, fits_ipc, open_ipc_sockets, open_tcp_sockets
from antiphon.errors import Invalid
from antiphon.local.discovery import socket_dir
from antiphon.wire.instance import default_ports

if TYPE_CHECKING:
    from antiphon.instance import Instance

CALLS_AT_ONCE_MAX = 64
"""So many calls are answered side by side; more wait in the socket's queue."""

log = structlog.get_logger(__name__)


class InstanceDoor:
    """`pub_endpoint` and `rpc_endpoint` are where it is; `run` it as a task."""

    def __init__(self, instance: Instance, sockets: InstanceSockets, *, project_id: str, owner_id: str) -> None:
        self.project_id = project_id
        self.task: asyncio.Task[None] | None = None
        """What runs it; a door that fails takes its server down."""
        self._sockets = sockets
        self._is_leaving = False
        self.pub_endpoint = sockets.pub_endpoint
        self.rpc_endpoint = sockets.rpc_endpoint
        self.publisher = Publisher(
            service=instance.service,
            drafts=instance.drafts,
            sockets=sockets,
            instance_id=instance.instance_id,
            project_id=project_id,
            owner_id=owner_id,
            started_at=instance.started_at,
            active_chat=instance.active_chat,
            elsewhere=_elsewhere(instance, owner_id),
        )
        self.calls = Calls(
            instance, self.publisher, project_id=project_id, endpoints=(self.pub_endpoint, self.rpc_endpoint)
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

    def say_goodbye(self, reason: str) -> None:
        """The last frame. A second time nothing is said."""
        if not self._is_leaving:
            self._is_leaving = True
            self.publisher.say_goodbye(reason)

    async def aclose(self, reason: str) -> None:
        """The last frame, delivered, and the sockets."""
        self.say_goodbye(reason)
        self.publisher.close()
        self._sockets.close()
        await asyncio.to_thread(self._sockets.deliver)


def _elsewhere(instance: Instance, owner_id: str) -> Elsewhere | None:
    """What others write, where there may be others."""
    if instance.relay is None:
        return None
    return Elsewhere(
        service=instance.service,
        bus=instance.bus,
        watch=instance.watch,
        relay=instance.relay,
        owner_id=owner_id,
        instance_id=instance.instance_id,
    )


@contextlib.asynccontextmanager
async def open_instance_door(
    instance: Instance, data: Path, *, reason: str = "stopped"
) -> AsyncIterator[InstanceDoor]:
    """The door of the instance on `data`, answering and publishing. Raises `Unavailable` where it cannot be opened,
    `Invalid` for keyless TCP where there are several owners."""
    project_dir = data.resolve().parent
    door = InstanceDoor(
        instance,
        await _open_sockets(instance, data, project_dir),
        project_id=str(project_dir),
        owner_id=instance.owner_id,
    )
    door.task = task = asyncio.create_task(door.run())
    try:
        yield door
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            log.error("instance_door_failed", exc_info=task.exception())
        await door.aclose(reason)


async def _open_sockets(instance: Instance, data: Path, project_dir: Path) -> InstanceSockets:
    options = instance.options
    if options.bus_tcp:
        keys_file = Path(options.keys) if options.keys else None
        if keys_file is None and await instance.store.owner_count() > 1:
            raise Invalid(
                "--bus-tcp", "without keys it speaks to every user of this machine: not with several owners"
            )
        if keys_file is None:
            instance.warnings.add("bus_without_keys")
            log.warning("bus_without_keys", note="every user of this machine can read and command the admin's chats")
        if options.bus_ports:
            return open_tcp_sockets(*options.bus_ports, keys_file=keys_file, pairs_tried=1)
        return open_tcp_sockets(*default_ports(str(project_dir)), keys_file=keys_file)
    folder = data.resolve() / "run"
    return open_ipc_sockets(folder if fits_ipc(folder) else socket_dir(data))
