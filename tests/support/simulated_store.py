"""A process's way to the simulated store's server: calls take time, fail, and may be done although the caller gets
no answer."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from antiphon.errors import Unavailable
from antiphon.ports import Append, Appended, Clock, Due, InstanceRecord, OutcomeUnknown, Store
from antiphon.testing.clock import START_US
from antiphon.testing.store import WrappedStore
from support.simulated_world import CALLER, World

if TYPE_CHECKING:
    from support.simulated_process import Process

WAIT_S = 5.0
"""How long a call waits for a server that is away, in seconds."""

TRY_AGAIN_S = 1.5
"""How long until a process whose call failed has repeated it, in seconds."""

SLOW_S = 0.3
OFF_MS = 20
WAKES_AT_EXPIRY = 0.8


class HostClock:
    """The store's time as a process knows it: a little off."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._off_us = world.random(f"clock {name}").randint(-OFF_MS, OFF_MS) * 1000

    def now_us(self) -> int:
        return START_US + round(self._world.loop.time() * 1_000_000) + self._off_us

    def monotonic(self) -> float:
        return self._world.loop.time()


class StoreLine:
    """Calls of one process to what lies at the server. What is under way when the process dies still arrives."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._random = world.random(f"store {process.host.name}")
        self._context = contextvars.Context()
        self._context.run(CALLER.set, process.host)

    async def ask(self, target: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """What `target`'s method of that name answers."""
        world = self._world
        if world.is_closed or self._process.host.is_dead:
            raise Unavailable("the simulation has ended")
        answer: asyncio.Future[Any] = world.loop.create_future()
        call = partial(getattr(target, name), *args, **kwargs)
        world.loop.call_later(self._latency_s(), self._arrive, name, call, answer, context=self._context)
        try:
            return await answer
        except (Unavailable, OutcomeUnknown):
            self._process.trouble_at = world.loop.time()
            raise

    def _latency_s(self) -> float:
        if self._random.random() < self._world.profile.store_slow:
            return self._random.uniform(0, SLOW_S)
        return self._random.uniform(0.0002, 0.002)

    def _arrive(self, name: str, call: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        self._world.loop.create_task(self._serve(name, call, answer), context=self._context)

    async def _serve(self, name: str, call: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        world = self._world
        waits_s = world.down_until - world.loop.time()
        if waits_s > 0:
            await asyncio.sleep(min(waits_s, WAIT_S))
        chance = 1.0 if world.is_calm else self._random.random() / max(world.profile.store_fail, 1e-9)
        is_write = name in ("append", "write_config")
        lost: Exception = OutcomeUnknown() if is_write and chance < 0.6 else Unavailable("the connection was lost")
        result: Any = None
        if waits_s > WAIT_S:
            lost, chance = Unavailable("the store is away"), 0.0
        elif chance >= 0.3:
            try:
                result = await self._do(name, call)
            except Exception as error:
                lost, chance = error, 0.0
            if is_write and 0.6 <= chance < 1.0:
                chance = 1.0  # `Unavailable` says that nothing was written
        if chance < 1.0:
            world.note(f"{name} of {self._process.host.name} fails: {type(lost).__name__}")
            world.outages.append((world.loop.time(), world.loop.time() + TRY_AGAIN_S))
        world.loop.call_later(self._latency_s(), _give, answer, result, lost if chance < 1.0 else None)

    async def _do(self, name: str, call: Callable[[], Any]) -> Any:
        if name == "due":
            return self._wake_a_worker(await call())
        if name != "append":
            return await call()
        append: Append = cast(Any, call).args[0]
        memory = self._world.memory
        await asyncio.sleep(0)
        before = await memory.load(append.chat_id)
        ends_at = memory.lease_ends_at(append.chat_id)
        result = await call()
        is_new = before is None or before.seq == append.after_seq
        if result is Appended.DONE and is_new:
            was = (before.attempt, before.holder) if before else (0, "")
            self._world.on_append(self._process, append, ends_at, was)
        return result

    def _wake_a_worker(self, found: tuple[Due, ...]) -> tuple[Due, ...]:
        """Whose lease has just been found to have ended wakes now and then at that very moment, and renews it."""
        for due in found:
            chat = self._world.memory.peek(due.chat_id)
            holder = self._world.processes.get(chat.holder) if chat else None
            if due.why == "lease" and holder is not None and self._random.random() < WAKES_AT_EXPIRY:
                holder.wake()
        return found


def _give(answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


class _Remote:
    """An object whose every method is a call over the line."""

    def __init__(self, line: StoreLine, target: Any) -> None:
        self._line = line
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return partial(self._line.ask, self._target, name)


class HostStore(WrappedStore):
    """The store as one process has it."""

    last_error = None

    def __init__(self, world: World, line: StoreLine, name: str) -> None:
        super().__init__(cast(Store, _Remote(line, world.memory)))
        self._clock = HostClock(world, name)

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def is_shared(self) -> bool:
        return True

    @property
    def file_storage(self) -> None:
        """Files are in the store."""

    async def aclose(self) -> None:
        """The server stays."""


class HostPresence:
    """The port Presence, over the line. A dropped lock is taken again with the first beat after `dropped_until`."""

    def __init__(self, world: World, line: StoreLine) -> None:
        self._world = world
        self._remote: Any = _Remote(line, world.memory.presence)
        self.dropped_until = 0.0

    async def register(self, record: InstanceRecord) -> None:
        await self._remote.register(record)

    async def heartbeat(self, instance_id: str, *, running: int, is_draining: bool = False) -> None:
        await self._remote.heartbeat(instance_id, running=running, is_draining=is_draining)
        if self._world.loop.time() < self.dropped_until:
            self._world.memory.presence.kill(instance_id)

    async def instances(self) -> tuple[tuple[InstanceRecord, ...], float]:
        found: tuple[tuple[InstanceRecord, ...], float] = await self._remote.instances()
        return found

    async def attempts_of(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        found: tuple[tuple[str, int], ...] = await self._remote.attempts_of(instance_id)
        return found

    async def deregister(self, instance_id: str) -> None:
        await self._remote.deregister(instance_id)

    async def aclose(self) -> None:
        """The server stays."""
