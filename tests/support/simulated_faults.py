"""What goes wrong in a simulation beyond single messages and calls: deaths, freezes, drains, outages, cuts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from support.simulated_model import Rehearsed
from support.simulated_process import Process
from support.simulated_world import World

FREEZES_S = (0.5, 3.0, 9.7, 10.2, 12.0, 25.0)
"""Shorter than a lease, about as long, longer."""

LINGER_S = 12.0
"""Longer than a lease: what the last faults did has its consequences before all is mended."""

RESTART_S = 3.0
OUTAGES_S = (0.2, 2.0, 6.0, 12.0)


class Faults:
    """`run` until cancelled; `mend` brings all back. As many processes run as the profile says."""

    def __init__(self, world: World, rehearsed: Rehearsed) -> None:
        self.world = world
        self.random = world.random("faults")
        self._rehearsed = rehearsed
        self._names = count(1)
        self.happened: list[str] = []

    def start_one(self) -> Process:
        process = Process(self.world, self._rehearsed, f"p{next(self._names)}")
        process.on_death = self._start_another
        process.start()
        return process

    def _start_another(self) -> None:
        """A supervisor starts a new process soon."""
        delay_s = 0.0 if self.world.is_calm else self.random.uniform(0, RESTART_S)
        self.world.loop.call_later(delay_s, self.keep_number, context=self.world.context)

    async def run(self) -> None:
        kinds: list[Callable[[], None]] = [
            self.kill,
            self.kill,
            self.drain,
            self.freeze,
            self.freeze,
            self.outage,
            self.restart_server,
            self.drop_lock,
            self.drop_lock,
            self.cut,
            self.cut_and_drop_lock,
            self.lose_hints,
        ]
        while True:
            await asyncio.sleep(self.random.uniform(0.5, 1.5) * self.world.profile.fault_pause_s)
            fault = self.random.choice(kinds)
            self.happened.append(fault.__name__)
            fault()

    def keep_number(self) -> None:
        while not self.world.is_closed and len(self.world.running) < self.world.profile.processes:
            self.start_one()

    async def mend(self) -> None:
        """The last fault has ended, and every process runs again."""
        world = self.world
        await asyncio.sleep(self.random.choice((0.0, LINGER_S)))
        world.is_calm = True
        world.cut.clear()
        for process in world.running:
            process.wake()
            process.presence.dropped_until = 0.0
        world.note("nothing fails any more")
        await asyncio.sleep(max(0.0, world.down_until - world.loop.time()))
        while not all(process.is_well for process in world.running) or not world.running:
            await asyncio.sleep(0.1)
        world.note("calm")

    def _one(self) -> Process | None:
        """Any; now and then the last that is well."""
        well = [process for process in self.world.running if process.is_well]
        if len(well) < 2 and self.random.random() < 0.8:
            return None
        return self.random.choice(self.world.running) if self.world.running else None

    def kill(self) -> None:
        process = self._one()
        if process is not None:
            process.die("killed")

    def drain(self) -> None:
        process = self._one()
        if process is not None:
            process.drain()

    def freeze(self) -> None:
        process = self._one()
        if process is not None and not process.host.is_frozen:
            process.freeze()
            seconds = self.random.choice(FREEZES_S) + self.random.uniform(0, 0.5)
            self.world.loop.call_later(seconds, process.wake, context=self.world.context)

    def outage(self) -> None:
        """The store's server answers no process."""
        seconds = self.random.choice(OUTAGES_S)
        now = self.world.loop.time()
        self.world.note(f"the store is away for {seconds} s")
        self.world.down_until = max(self.world.down_until, now + seconds)
        self.world.outages.append((now, now + seconds))

    def restart_server(self) -> None:
        """All session locks are free; each is taken again with its owner's next beat."""
        self.world.note("the store's server restarts")
        self.outage()
        self.world.memory.presence.restart()

    def drop_lock(self) -> None:
        process = self._one()
        if process is not None:
            self.world.note(f"the lock of {process.host.name} is dropped")
            process.presence.dropped_until = self.world.loop.time() + self.random.uniform(0, 8)
            self.world.memory.presence.kill(process.instance_id)

    def cut(self) -> None:
        """No message passes between two for a while."""
        running = self.world.running
        if len(running) >= 2:
            one, other = self.random.sample(running, 2)
            self._cut(one, other, self.random.uniform(0.5, 8))

    def cut_and_drop_lock(self) -> None:
        """A living process that seems dead to all."""
        process = self._one()
        if process is not None:
            seconds = self.random.uniform(2, 8)
            for other in self.world.running:
                if other is not process:
                    self._cut(process, other, seconds)
            process.presence.dropped_until = self.world.loop.time() + seconds
            self.world.memory.presence.kill(process.instance_id)

    def _cut(self, one: Process, other: Process, seconds: float) -> None:
        world = self.world
        pair = (one.instance_id, other.instance_id)
        world.note(f"{one.host.name} and {other.host.name} are cut from each other")
        world.cut[pair] = None

        def join() -> None:
            world.cut.pop(pair, None)
            world.lose(*pair)

        world.loop.call_later(seconds, join, context=world.context)

    def lose_hints(self) -> None:
        """A bus that was away says so."""
        process = self._one()
        if process is not None:
            self.world.loop.call_soon(process.bus.notify_dropped, context=process.host.context)
