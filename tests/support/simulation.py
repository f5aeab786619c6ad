"""A simulation of several instances in one process: `simulate(seed)` plays half a minute of faults in virtual time,
and the same seed gives the same trace, byte for byte.

    PYTHONPATH=tests ./dev exec python -m support.simulation 42      # replays a seed: its trace, and what was broken
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import msgspec
import structlog

from antiphon.core.events import Bye, Event
from antiphon.core.values import Value
from antiphon.testing.checker import Violation, check
from antiphon.testing.evidence import Evidence, FinalChat
from antiphon.wire.stream import chat_json, decode_event, message_json, queued_message_json
from support.simulated_clients import Clients
from support.simulated_deletions import Deletions
from support.simulated_faults import Faults
from support.simulated_model import Rehearsed
from support.simulated_promises import check_promises
from support.simulated_world import World
from support.virtual_loop import Endless, VirtualLoop

BUSY_S = 25.0
IDLE_S = 20.0
"""After the faults every chat that is to go on is written within this time, in seconds: the slowest answer takes 12
s."""

REST_S = 600.0
"""And none goes on for ever."""

LIMIT_S = 1_800.0
STEPS_MAX = 20_000_000
"""A life that goes on for longer is ended. Most take less than a minute and a million steps."""

END_S = 3_600.0
"""How long every task then has to end, in seconds."""

CONVERGE_S = 3.0
STUCK_S = 15.0


class Outcome(Value):
    """What a seed has shown."""

    seed: int
    violations: tuple[Violation, ...]
    trace: tuple[str, ...]
    digest: str
    faults: tuple[str, ...]
    appends: int
    deleted: int
    acknowledged: int

    def report(self, lines: int = 40) -> str:
        """For the search of the cause: the seed, what was broken, the end of the trace."""
        broken = "\n".join(f"{v.invariant} {v.chat_id}: {v.what}" for v in self.violations)
        return f"seed {self.seed}\n{broken}\n" + "\n".join(self.trace[-lines:])


def simulate(seed: int, *, busy_s: float = BUSY_S, idle_s: float = IDLE_S, limit_s: float = LIMIT_S) -> Outcome:
    """Run the simulation of a seed.

    Args:
        seed: Determines everything that happens.
        busy_s: How long clients send and faults happen, in seconds of virtual time.
        idle_s: How long a busy chat may stay unchanged after the faults before it counts as stuck.
        limit_s: Maximum duration of the simulation.
    """
    loop = VirtualLoop()
    world = World(seed, loop)
    loop.set_exception_handler(world.on_exception)
    loop.bound(limit_s, STEPS_MAX)
    with _without_chance(world):
        simulation = _Simulation(world, idle_s=idle_s)
        try:
            return loop.run_until_complete(simulation.run(busy_s))
        except Endless as error:
            world.broken("NO-END", "", f"{error}: it waits for {simulation.waits_for}")
            return simulation.outcome()
        finally:
            _end(world)
            loop.close()


@contextlib.contextmanager
def _without_chance(world: World) -> Iterator[None]:
    """Nothing is collected at a time of the collector's own, and what is logged goes into the trace."""
    known = structlog.get_config()

    def into_trace(_: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        fields = " ".join(f"{k}={v}" for k, v in sorted(event.items()) if k not in ("event", "exc_info"))
        world.note(f"[{method}] {event['event']} {fields}")
        if event.get("exc_info"):
            error = sys.exc_info()[1] if event["exc_info"] is True else event["exc_info"]
            world.broken("LOUD", "", f"{event['event']}: {error!r}")
        raise structlog.DropEvent

    was_enabled = gc.isenabled()
    gc.disable()
    structlog.configure(
        processors=[into_trace],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**known)
        if was_enabled:
            gc.enable()


def _end(world: World) -> None:
    """Let every task end, also those of the dead: nothing they call does anything any more."""
    loop = world.loop
    loop.bound(END_S, STEPS_MAX)
    world.is_closed = True
    for process in world.processes.values():
        loop.bury(process.host)
    for _ in range(100):
        tasks = sorted(asyncio.all_tasks(loop), key=hash)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=30.0))
    for task in tasks:
        assert task.done(), f"{task} does not end"


class _Simulation:
    def __init__(self, world: World, *, idle_s: float) -> None:
        self.world = world
        self._idle_s = idle_s
        self.rehearsed = Rehearsed(world)
        self.clients = Clients(world)
        self.deletions = Deletions(world, self.clients)
        self.faults = Faults(world, self.rehearsed)
        self.waits_for = "the chats to be created"

    async def run(self, busy_s: float) -> Outcome:
        world, clients, faults = self.world, self.clients, self.faults
        world.note(f"{world.profile}")
        faults.keep_number()
        await clients.create_chats()
        watchers = clients.start_watchers()
        failing = asyncio.create_task(faults.run())
        self.waits_for = "the clients to be done"
        deleting = asyncio.create_task(self.deletions.run(busy_s))
        await clients.busy(busy_s)
        await deleting
        failing.cancel()
        await asyncio.wait({failing})
        self.waits_for = "the processes to be well again"
        await faults.mend()
        while not await self._converge():
            pass
        self.waits_for = "the watchers of deleted chats"
        await self.deletions.check()
        for task in watchers:
            task.cancel()
        await asyncio.wait(watchers)
        if not self._busy():  # the log of a chat that is stuck has no end
            evidence = await self._collect()
            for violation in (*check(evidence), *check_promises(world, evidence)):
                world.broken(violation.invariant, violation.chat_id, violation.what)
        return self.outcome()

    def outcome(self) -> Outcome:
        """What has been seen so far."""
        world = self.world
        return Outcome(
            seed=world.seed,
            violations=tuple(world.violations),
            trace=tuple(world.trace),
            digest=world.digest,
            faults=tuple(self.faults.happened),
            appends=world.appends,
            deleted=len(world.deleted_at),
            acknowledged=sum(sent.is_acked for sent in self.clients.sent),
        )

    async def _rest(self) -> None:
        """NO-STUCK: once nothing fails, every chat comes to rest."""
        calm_at = self.world.loop.time()
        while busy := self._busy():
            self.waits_for = f"the chats {busy} to come to rest"
            for chat_id in busy:
                chat = self.world.memory.peek(chat_id)
                assert chat is not None
                now, moved_at = self.world.loop.time(), self.world.moved_at.get(chat_id, 0.0)
                if now - max(moved_at, calm_at) > self._idle_s or now - calm_at > REST_S:
                    self.world.broken("NO-STUCK", chat_id, f"{chat.status}, attempt {chat.attempt} of {chat.holder}")
                    return
            await asyncio.sleep(0.05)

    def _busy(self) -> list[str]:
        return [chat_id for chat_id in self.clients.chat_ids if not self._rests(chat_id)]

    def _rests(self, chat_id: str) -> bool:
        chat = self.world.memory.peek(chat_id)
        return chat is not None and chat.is_idle and not chat.waits

    async def _converge(self) -> bool:
        """CONVERGE: with a poll every 2 s no watcher is behind 3 s later, hints or not. False: something has happened
        meanwhile (what a client had given up was still under way), so it cannot be decided yet."""
        await self._rest()
        appends = self.world.appends
        self.waits_for = "the watchers to see the end"
        await asyncio.sleep(CONVERGE_S)
        if appends != self.world.appends and not self.world.violations:
            return False
        for chat_id in self.clients.chat_ids:
            chat = self.world.memory.peek(chat_id)
            if chat is not None and not self.clients.have_seen(chat_id, chat.seq):
                self.world.broken("CONVERGE", chat_id, f"a watcher has not come to {chat.seq}")
        return True

    async def _collect(self) -> Evidence:
        return Evidence(
            sent=self.clients.sent,
            interrupted=self.clients.interrupted,
            watched=self.clients.watched,
            model_calls=self.rehearsed.calls,
            final=[await self._final(chat_id) for chat_id in self.clients.chat_ids],
            tool_runs=self.rehearsed.runs,
            is_stop_timed=False,
            stuck_s=STUCK_S + self.world.away_s,
        )

    async def _final(self, chat_id: str) -> FinalChat:
        """Read at any process."""
        self.waits_for = f"a last read of {chat_id}"
        chat = await self.clients.ask_until_answered(lambda i: i.chats.get(chat_id))
        page = await self.clients.ask_until_answered(lambda i: i.chats.page(chat_id, limit=1000))
        log = await self._log(chat_id)
        return FinalChat(
            chat_id=chat_id,
            chat=_plain(chat_json(chat_id, chat)),
            messages=[_plain(message_json(chat_id, entry)) for entry in page.messages],
            queued_messages=[_plain(queued_message_json(chat_id, *item)) for item in page.queued],
            log=log,
        )

    async def _log(self, chat_id: str) -> list[Event]:
        while True:
            process = self.clients.random.choice(self.world.running)
            stream = process.open_stream(chat_id, (0, 0), until_idle=True)
            log: list[Event] = []
            while (frame := await stream.next()) is not None:
                place = "" if frame.seq is None else f"{frame.seq}.{frame.position}"
                log.append(decode_event(frame.data, cursor=place))
            if log and isinstance(log[-1], Bye):
                return log
            await asyncio.sleep(0.1)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def main(arguments: list[str]) -> int:
    """Replay seeds, each SEED or SEED:SECONDS (how long clients send); 1 if any has broken a promise."""
    is_broken = False
    for argument in arguments:
        seed, _, busy_s = argument.partition(":")
        outcome = simulate(int(seed), busy_s=float(busy_s or BUSY_S))
        print("\n".join(outcome.trace))
        print(f"seed {seed}: {len(outcome.violations)} broken promises, {outcome.digest}")
        is_broken |= bool(outcome.violations)
    return int(is_broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
