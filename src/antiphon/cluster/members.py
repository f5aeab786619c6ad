"""The membership list: the other instances on a shared store, and how many turns each of them runs.

Every instance has a row in the store and a lock of its database session. `Members` reads the rows four times a
second, and decides from the loads whether this instance claims a turn or leaves it to a less busy one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import zlib
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.core.values import Value
from antiphon.errors import AntiphonError
from antiphon.ports import Balance, Bus, InstanceRecord, Link, Presence
from antiphon.signal import Signal
from antiphon.version import __version__

LOAD_CHANNEL = "antiphon:load"
"""The channel of the loads. A message is an instance id and a number of turns."""
STEP_S = 0.02
"""How long an instance leaves a turn to others, for each turn it runs more than the least busy one, in seconds."""
DELAY_S_MAX = 0.5
"""Maximum time that an instance leaves a turn to others, in seconds."""


class ClusterTiming(Value):
    """How often instances check each other, and how long they wait. All in seconds."""

    refresh_s: float = 0.25
    """Between two reads of the membership rows."""
    heartbeat_s: float = 1.0
    """Between two heartbeats, and between two messages with an unchanged load."""
    load_s: float = 0.1
    """Minimum time between two messages with the load."""
    silent_s: float = 5.0
    """An instance without a heartbeat for this long gets no work."""
    absent_s: float = 2.0
    """How long an instance's lock must be free before it is declared dead."""
    database_up_s: float = 5.0
    """How long the database must be up before a free lock counts: a restart frees all locks."""
    stall_s: float = 1.0
    """A refresh that is late by this much shows that this process stalled: what it read before is out of date."""
    ping_s: float = 1.0
    """How long a ping may take."""
    forget_s: float = 30.0
    """The row of a dead instance without attempts is removed after this long."""


def own_record(instance_id: str, link: Link, *, started_at: int, capacity: int) -> InstanceRecord:
    """The row of this process's instance."""
    return InstanceRecord(
        instance_id=instance_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        relay_endpoint=link.endpoint,
        relay_key=link.key,
        started_at=started_at,
        capacity=capacity,
    )


class Members(Balance):
    """The membership list. `run` it as a task after `register` and `refresh`."""

    def __init__(
        self,
        record: InstanceRecord,
        *,
        presence: Presence,
        link: Link,
        bus: Bus,
        timing: ClusterTiming = ClusterTiming(),  # noqa: B008 - a value
    ) -> None:
        self.record = record
        self.others: dict[str, InstanceRecord] = {}
        self.error: str | None = None
        self.refreshed: Signal[float] = Signal("members_refreshed")
        """Emitted after each read, with how long the database has been up, in seconds; with 0 if the read failed."""
        self.timing = timing
        self._presence = presence
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._loads: dict[str, tuple[int, float]] = {}
        """The load that each other instance published, and when."""
        self._newest_heartbeat_at = 0
        self._refreshing = asyncio.Lock()
        self._unsubscribe = bus.subscribe(LOAD_CHANNEL, self._on_load)

    @property
    def instance_id(self) -> str:
        return self.record.instance_id

    async def register(self, http_url: str | None = None) -> None:
        """Write this instance's row, with the URL of its HTTP API once there is one."""
        if http_url is not None:
            self.record = replace(self.record, http_url=http_url)
        await self._presence.register(self.record)

    async def refresh(self) -> None:
        """Read the membership rows."""
        async with self._refreshing:
            records, up_s = await self._presence.instances()
        self._newest_heartbeat_at = max((record.seen_at for record in records), default=0)
        self.others = {r.instance_id: r for r in records if r.instance_id != self.instance_id}
        self._loads = {instance_id: load for instance_id, load in self._loads.items() if instance_id in self.others}
        self._link.update_members(tuple(self.others.values()))  # absent ones too: they are pinged
        self.refreshed.emit(up_s)

    async def deregister(self) -> None:
        """Remove this instance's row and release its lock."""
        self._unsubscribe()
        await self._presence.deregister(self.instance_id)

    # --- load

    def _on_load(self, message: bytes | None) -> None:
        instance_id, _, load = (message or b"").decode("utf-8", "replace").partition(" ")
        if instance_id in self.others and load.isascii() and load.isdecimal() and len(load) < 8:
            self._loads[instance_id] = int(load), self._loop.time()

    def _load_of(self, record: InstanceRecord) -> int:
        """The load that an instance published last; if hints are lost, the running turns in its row."""
        load, received_at = self._loads.get(record.instance_id, (0, float("-inf")))
        is_recent = self._loop.time() - received_at < self.timing.heartbeat_s + 2 * self.timing.refresh_s
        return load if is_recent else record.running

    def _accepts_work(self, record: InstanceRecord) -> bool:
        is_available = record.is_present and not record.is_draining
        is_silent = self._newest_heartbeat_at - record.seen_at >= self.timing.silent_s * 1e6
        return is_available and not is_silent and (not record.capacity or self._load_of(record) < record.capacity)

    def _lowest_load(self) -> int | None:
        """The load of the least busy other instance that accepts work; None if there is none."""
        loads = [self._load_of(record) for record in self.others.values() if self._accepts_work(record)]
        return min(loads, default=None)

    def may_claim(self, load: int) -> bool:
        """Whether no other instance runs much fewer turns."""
        lowest = self._lowest_load()
        return lowest is None or load <= lowest + lowest // 2

    def delay_s(self, chat_id: str, load: int) -> float:
        """The busier this instance, the longer; instances of equal load have another order for each chat."""
        lowest = self._lowest_load()
        if lowest is None:
            return 0.0
        if load > lowest:
            return min((load - lowest) * STEP_S, DELAY_S_MAX)
        return STEP_S / 2 * self._rank(chat_id, load)

    def _rank(self, chat_id: str, load: int) -> int:
        equals = [r.instance_id for r in self.others.values() if self._accepts_work(r) and self._load_of(r) <= load]
        own = _weight(chat_id, self.instance_id)
        return sum(_weight(chat_id, other) < own for other in equals)

    # --- refreshing

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            slept_at = self._loop.time()
            await asyncio.sleep(self.timing.refresh_s)
            if self._loop.time() - slept_at > self.timing.refresh_s + self.timing.stall_s:
                self.refreshed.emit(0.0)  # this process stalled: what it read before is out of date
            try:
                await self.refresh()
                self.error = None
            except AntiphonError as error:
                self.error = str(error)
                self.refreshed.emit(0.0)  # what it read before is out of date

    def shown(self, *, running: int, is_draining: bool) -> Sequence[InstanceRecord]:
        """All instances, this one first."""
        own = replace(self.record, running=running, is_draining=is_draining, is_present=True)
        return (own, *sorted(self.others.values(), key=lambda record: record.started_at))


def _weight(chat_id: str, instance_id: str) -> int:
    return zlib.crc32(f"{chat_id} {instance_id}".encode())
