"""Heartbeats and load of this instance: written to its membership row, and published to the other instances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from antiphon.cluster.members import LOAD_CHANNEL, ClusterTiming
from antiphon.core.values import Value
from antiphon.errors import AntiphonError
from antiphon.ports import Bus, Presence


class Load(Value):
    """How busy this instance is: `running` turns, of which `counted` count when turns are distributed. `is_draining`:
    it accepts no new ones."""

    running: int
    counted: int
    is_draining: bool


class Heartbeat:
    """`run` it as a task. `load` returns the current load; `error` is why the last heartbeat failed."""

    def __init__(
        self, instance_id: str, *, presence: Presence, bus: Bus, load: Callable[[], Load], timing: ClusterTiming
    ) -> None:
        self.error: str | None = None
        self._instance_id = instance_id
        self._presence = presence
        self._bus = bus
        self._load = load
        self._timing = timing

    async def run(self) -> None:
        """Send heartbeats and publish the load until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat_forever())
            tasks.create_task(self._publish_load_forever())

    async def _beat_forever(self) -> None:
        while True:
            load = self._load()
            try:
                await self._presence.heartbeat(self._instance_id, running=load.running, is_draining=load.is_draining)
                self.error = None
            except AntiphonError as error:
                self.error = str(error)
            await asyncio.sleep(self._timing.heartbeat_s)

    async def _publish_load_forever(self) -> None:
        loop = asyncio.get_running_loop()
        published, published_at = -1, loop.time()
        while True:
            await asyncio.sleep(self._timing.load_s)
            load, now = self._load().counted, loop.time()
            if load != published or now - published_at >= self._timing.heartbeat_s:
                published, published_at = load, now
                self._bus.publish_nowait(LOAD_CHANNEL, f"{self._instance_id} {load}".encode())
