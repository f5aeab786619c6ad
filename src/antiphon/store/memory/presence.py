"""The instances on a store in memory, for a simulation of several instances in one process (port Presence)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from antiphon.ports import Clock, InstanceRecord

Attempts = Callable[[str], tuple[tuple[str, int], ...]]


class MemoryPresence:
    """Shared by all instances on the store. The simulation kills instances (`kill`) and restarts the database
    (`restart`): every lock is then free until its instance calls `register` or `heartbeat`."""

    def __init__(self, clock: Clock, attempts_of: Attempts) -> None:
        self._clock = clock
        self._attempts_of = attempts_of
        self._records: dict[str, InstanceRecord] = {}
        self._up_since_us: int | None = None

    def kill(self, instance_id: str) -> None:
        """The process of the instance is dead and its lock is free. Its row remains."""
        self._change(instance_id, is_present=False)

    def restart(self) -> None:
        """Restart the database: all locks are free, and the uptime is 0."""
        self._up_since_us = self._clock.now_us()
        for instance_id in self._records:
            self.kill(instance_id)

    async def register(self, record: InstanceRecord) -> None:
        self._records[record.instance_id] = replace(record, seen_at=self._clock.now_us(), is_present=True)

    async def heartbeat(self, instance_id: str, *, running: int, is_draining: bool = False) -> None:
        now = self._clock.now_us()
        self._change(instance_id, seen_at=now, running=running, is_draining=is_draining, is_present=True)

    async def instances(self) -> tuple[tuple[InstanceRecord, ...], float]:
        """Before the first restart the uptime is infinite."""
        up_s = float("inf") if self._up_since_us is None else (self._clock.now_us() - self._up_since_us) / 1_000_000
        return tuple(self._records.values()), up_s

    async def attempts_of(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        return self._attempts_of(instance_id)

    async def deregister(self, instance_id: str) -> None:
        self._records.pop(instance_id, None)

    async def aclose(self) -> None:
        """Nothing: the other instances share it."""

    def _change(self, instance_id: str, **fields: object) -> None:
        record = self._records.get(instance_id)
        if record:
            self._records[instance_id] = replace(record, **fields)
