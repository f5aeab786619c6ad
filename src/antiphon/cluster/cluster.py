"""One instance among several on a shared store: its membership, heartbeat and failure detection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from antiphon.cluster.failure_detector import Expire, FailureDetector
from antiphon.cluster.heartbeat import Heartbeat, Load
from antiphon.cluster.members import Members
from antiphon.cluster.relay import RelayedDrafts
from antiphon.errors import AntiphonError
from antiphon.ports import Bus, InstanceRecord, Presence

log = structlog.get_logger(__name__)


class Cluster:
    """`start`, then `run` it as a task."""

    def __init__(
        self,
        members: Members,
        *,
        presence: Presence,
        bus: Bus,
        relay: RelayedDrafts,
        expire: Expire,
        load: Callable[[], Load],
    ) -> None:
        """
        Args:
            members: The membership list.
            presence: The membership rows of the store.
            bus: Carries the load of each instance.
            relay: The drafts of other instances; also sends the pings.
            expire: Records a lost attempt.
            load: Returns this instance's current load.
        """
        self.members = members
        self.relay = relay
        self._load = load
        self._heartbeat = Heartbeat(members.instance_id, presence=presence, bus=bus, load=load, timing=members.timing)
        self._failures = FailureDetector(members, presence=presence, ping=relay.ping, expire=expire)

    @property
    def error(self) -> str | None:
        """Why membership is not current, None if it is."""
        return self.members.error or self._heartbeat.error

    def shown(self) -> Sequence[InstanceRecord]:
        """All instances, this one first."""
        load = self._load()
        return self.members.shown(running=load.running, is_draining=load.is_draining)

    async def start(self) -> None:
        """Register this instance and load the membership list."""
        await self.members.register()
        await self.members.refresh()

    async def run(self) -> None:
        """Refresh, send heartbeats and relay drafts until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.members.run())
            tasks.create_task(self._heartbeat.run())
            tasks.create_task(self.relay.run())

    async def aclose(self) -> None:
        """Deregister, so that no instance waits for this one."""
        self._failures.close()
        try:
            async with asyncio.timeout(self.members.timing.ping_s):
                await self.members.deregister()
        except (AntiphonError, TimeoutError) as error:
            log.warning("deregistration_failed", error=str(error))  # the database frees the lock with the session
        self.relay.close()
