"""The other instances on a shared store: who is there, who is dead, and who has how much to do.

An instance is proven dead (sooner than its leases end) when its session's lock has been free for 2 s while the
database has been up for 5 s, and it does not answer a ping: a database that restarts frees all locks and must not
expire everybody. Its attempts are then expired by whoever is first.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import structlog
from msgspec.structs import replace

from antiphon.errors import AntiphonError
from antiphon.observe.metrics import METRICS
from antiphon.ports import Bus, InstanceRecord, Link, Presence

LOOK_S = 0.25
BEAT_S = 1.0
ABSENT_S = 2.0
SERVER_UP_S = 5.0
STALL_S = 1.0
PING_S = 1.0
TOLD_S = 0.1
"""An instance tells its load at most so often, and every second though it is the same."""
FORGET_S = 30.0
"""The row of a dead instance that holds nothing is taken away after so long."""
SILENT_S = 5.0
"""Who has not beaten for so long (it stands still, say) is not waited for with work."""
STEP_S = 0.02
DELAY_MAX_S = 0.5
"""For each turn more than the least busy has, an instance waits a step before it claims what anyone may claim."""

LOAD_CHANNEL = "antiphon:load"

log = structlog.get_logger(__name__)

Expire = Callable[[str, int, str], Awaitable[None]]
Pings = Callable[[str, float], Coroutine[None, None, bool]]


class Balance:
    """How work is spread over instances; alone, everything is taken at once."""

    def may_take(self, load: int) -> bool:
        """Whether a turn should begin here, where so many count already."""
        return True

    def delay_s(self, chat_id: str, load: int) -> float:
        """How long to leave a chat that anyone may claim to those who are less busy."""
        return 0.0


class Replicas(Balance):
    """`start`, then `run` it as a task. `expire(chat_id, attempt, reason)` records an attempt as lost, `ping` asks an
    instance whether it is there, `running` says how many turns run here, and `load` how many of them count when work
    is spread."""

    def __init__(
        self,
        record: InstanceRecord,
        *,
        presence: Presence,
        link: Link,
        bus: Bus,
        ping: Pings,
        expire: Expire,
        running: Callable[[], int],
        load: Callable[[], int],
    ) -> None:
        self.record = record
        self.error: str | None = None
        self.others: dict[str, InstanceRecord] = {}
        self.is_draining = False
        self._presence = presence
        self._link = link
        self._bus = bus
        self._ping = ping
        self._expire = expire
        self._running = running
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._absent_since: dict[str, float] = {}
        self._pings: dict[str, asyncio.Task[bool]] = {}
        self._inquests: dict[str, asyncio.Task[None]] = {}
        self._loads: dict[str, tuple[int, float]] = {}
        """What others told of their load, and when."""
        self._seen_at = 0
        self._looking = asyncio.Lock()
        self._unsubscribe = bus.subscribe(LOAD_CHANNEL, self._on_load)

    @property
    def instance_id(self) -> str:
        return self.record.instance_id

    async def start(self) -> None:
        """Be there, and know who else is."""
        await self._presence.enter(self.record)
        await self.look()

    async def tell_url(self, url: str) -> None:
        """Say where this instance is reached over HTTP."""
        self.record = replace(self.record, http_url=url)
        await self._presence.enter(self.record)

    async def run(self) -> None:
        """Look, beat and tell, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_forever())
            tasks.create_task(self._beat_forever())
            tasks.create_task(self._tell_forever())

    async def aclose(self) -> None:
        """Be gone, for all to see."""
        self._unsubscribe()
        for task in (*self._inquests.values(), *self._pings.values()):
            task.cancel()
        try:
            async with asyncio.timeout(PING_S):
                await self._presence.leave(self.instance_id)
        except (AntiphonError, TimeoutError) as error:
            log.warning("not_left", error=str(error))  # the lock goes with the session; the row is swept later

    # --- who is there

    async def _look_forever(self) -> None:
        while True:
            slept_at = self._loop.time()
            await asyncio.sleep(LOOK_S)
            if self._loop.time() - slept_at > LOOK_S + STALL_S:
                self._absent_since.clear()  # who was absent before this process stood still is looked at anew
            try:
                await self.look()
                self.error = None
            except AntiphonError as error:
                self.error = str(error)
                self._absent_since.clear()  # nothing is known of anybody

    async def look(self) -> None:
        """Read who is there, and begin an inquest for each whose absence has lasted."""
        async with self._looking:
            records, up_s = await self._presence.instances()
        self._seen_at = max((record.seen_at for record in records), default=0)
        self.others = {r.instance_id: r for r in records if r.instance_id != self.instance_id}
        self._loads = {told: load for told, load in self._loads.items() if told in self.others}
        self._pings = {asked: ping for asked, ping in self._pings.items() if asked in self.others}
        self._link.know(tuple(self.others.values()))  # the absent ones, too: they are asked whether they live
        if up_s < SERVER_UP_S:
            self._absent_since.clear()
            return
        now = self._loop.time()
        for instance_id, record in self.others.items():
            if record.is_present:
                self._absent_since.pop(instance_id, None)
            elif instance_id not in self._absent_since:
                self._absent_since[instance_id] = now
                self._pings[instance_id] = asyncio.create_task(self._ping(instance_id, ABSENT_S))
            elif now - self._absent_since[instance_id] >= ABSENT_S:
                self._inquire(instance_id)
        for instance_id in [known for known in self._absent_since if known not in self.others]:
            del self._absent_since[instance_id]

    def _inquire(self, instance_id: str) -> None:
        if instance_id not in self._inquests:
            task = self._inquests[instance_id] = asyncio.create_task(self._settle(instance_id))
            task.add_done_callback(lambda _: self._inquests.pop(instance_id, None))

    async def _settle(self, instance_id: str) -> None:
        """An instance that has not answered either is dead: its attempts are lost, and in time its row goes."""
        absent_since = self._absent_since.get(instance_id)
        try:
            attempts = await self._presence.attempts_of(instance_id)
            ping = self._pings.pop(instance_id, None)
            if ping is None:  # that of the last inquest has proven nothing for this one
                ping = asyncio.create_task(self._ping(instance_id, PING_S))
            if await ping:
                log.warning("absent_but_answers", instance_id=instance_id)
                self._absent_since.pop(instance_id, None)  # if it still is at the next look, it is asked again
                return
            if absent_since is None or self._absent_since.get(instance_id) != absent_since:
                return  # it came back meanwhile
            for chat_id, attempt in attempts:
                await self._expire_one(chat_id, attempt)
            if attempts:
                log.warning("instance_dead", instance_id=instance_id, attempts=len(attempts))
            elif self._loop.time() - absent_since > FORGET_S:
                await self._presence.leave(instance_id)
        except AntiphonError as error:
            METRICS.oddities.labels("inquest").inc()
            log.warning("inquest_failed", instance_id=instance_id, error=str(error))

    async def _expire_one(self, chat_id: str, attempt: int) -> None:
        """A chat of which nothing can be written (it is of a newer version, say) must not hold up the others."""
        try:
            await self._expire(chat_id, attempt, "dead")
        except AntiphonError as error:
            METRICS.oddities.labels("inquest").inc()
            log.warning("attempt_not_expired", chat_id=chat_id, attempt=attempt, error=str(error))

    async def _beat_forever(self) -> None:
        while True:
            try:
                await self._presence.beat(self.instance_id, running=self._running(), is_draining=self.is_draining)
            except AntiphonError as error:
                self.error = str(error)
            await asyncio.sleep(BEAT_S)

    # --- who has how much to do

    async def _tell_forever(self) -> None:
        told, told_at = -1, self._loop.time()
        while True:
            await asyncio.sleep(TOLD_S)
            load, now = self._load(), self._loop.time()
            if load != told or now - told_at >= BEAT_S:
                told, told_at = load, now
                self._bus.publish_nowait(LOAD_CHANNEL, f"{self.instance_id} {load}".encode())

    def _on_load(self, message: bytes | None) -> None:
        instance_id, _, load = (message or b"").decode("utf-8", "replace").partition(" ")
        if instance_id in self.others and load.isascii() and load.isdecimal() and len(load) < 8:
            self._loads[instance_id] = int(load), self._loop.time()

    def _load_of(self, record: InstanceRecord) -> int:
        """The load that another told; where hints are lost, how many turns its row says that it runs."""
        load, told_at = self._loads.get(record.instance_id, (0, float("-inf")))
        return load if self._loop.time() - told_at < BEAT_S + 2 * LOOK_S else record.running

    def _takes_work(self, record: InstanceRecord) -> bool:
        """Whether an instance is there, takes turns and has room for one."""
        is_well = record.is_present and not record.is_draining and self._seen_at - record.seen_at < SILENT_S * 1e6
        return is_well and (not record.capacity or self._load_of(record) < record.capacity)

    def _least(self) -> int | None:
        """The load of the least busy other instance that takes work; None where there is none."""
        loads = [self._load_of(r) for r in self.others.values() if self._takes_work(r)]
        return min(loads, default=None)

    def may_take(self, load: int) -> bool:
        """Not while another has far less to do."""
        least = self._least()
        return least is None or load <= least + least // 2

    def delay_s(self, chat_id: str, load: int) -> float:
        """The longer, the more is to be done here; among equals each chat has an order of its own."""
        least = self._least()
        if least is None:
            return 0.0
        if load > least:
            return min((load - least) * STEP_S, DELAY_MAX_S)
        return STEP_S / 2 * self._rank(chat_id, load)

    def _rank(self, chat_id: str, load: int) -> int:
        equals = [r.instance_id for r in self.others.values() if self._takes_work(r) and self._load_of(r) <= load]
        own = _weight(chat_id, self.instance_id)
        return sum(_weight(chat_id, other) < own for other in equals)

    def shown(self) -> Sequence[InstanceRecord]:
        """All that are there, this one first."""
        own = replace(self.record, running=self._running(), is_draining=self.is_draining, is_present=True)
        return (own, *sorted(self.others.values(), key=lambda record: record.started_at))


def _weight(chat_id: str, instance_id: str) -> int:
    return zlib.crc32(f"{chat_id} {instance_id}".encode())
