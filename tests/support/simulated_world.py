"""The world of a simulation: its loop, its chances, its store's server, its processes, and the trace of it all.

Everything that is by chance comes from the seed; each part draws from a stream of its own, so that one more draw in
one part does not move the others.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
from random import Random
from typing import TYPE_CHECKING, Any

from antiphon.core.facts import AttemptLost
from antiphon.core.values import Value
from antiphon.ports import Append, Ended
from antiphon.store.memory.store import MemoryStore
from antiphon.store.rows import LEASE_US
from antiphon.testing.checker import Violation
from antiphon.testing.clock import START_US
from antiphon.testing.ids import SeededIds
from support.virtual_loop import HOST, Host, VirtualLoop

if TYPE_CHECKING:
    from support.simulated_process import Process

LOST_LATELY_S = 4.0
"""A ping that was lost so short a time ago may have been the one that was to prove life."""

WELL_AGAIN_S = 5.0
"""How long a process waits after it woke before it checks what is due, in seconds."""

CALLER: contextvars.ContextVar[Host | None] = contextvars.ContextVar("caller", default=None)
"""Whose call the store's server is at."""


class Profile(Value):
    """How bad a seed's world is: probabilities for each message or call, and seconds (`_s`)."""

    processes: int
    chats: int
    watchers: int
    hint_drop: float
    hint_double: float
    hint_delay_s: float
    link_loss: float
    link_full: float
    link_is_bus: bool
    store_fail: float
    store_slow: float
    crash_point: float
    fault_pause_s: float

    @staticmethod
    def draw(random: Random) -> Profile:
        return Profile(
            processes=random.randint(2, 4),
            chats=random.randint(2, 4),
            watchers=2,
            hint_drop=random.choice([0.0, 0.1, 0.5, 1.0]),
            hint_double=random.choice([0.0, 0.2]),
            hint_delay_s=random.choice([0.001, 0.02, 0.3]),
            link_loss=random.choice([0.0, 0.02, 0.2]),
            link_full=random.choice([0.0, 0.05]),
            link_is_bus=random.random() < 0.3,
            store_fail=random.choice([0.0, 0.0, 0.01, 0.05]),
            store_slow=random.choice([0.0, 0.03]),
            crash_point=random.choice([0.0, 0.002]),
            fault_pause_s=random.uniform(1.0, 5.0),
        )


class ServerClock:
    """The store's clock, which counts. What the caller's wall clock says goes for nothing (planted bugs ask it)."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_us(self) -> int:
        return START_US + round(self._loop.time() * 1_000_000)

    def monotonic(self) -> float:
        return self._loop.time()

    def caller_us(self) -> int:
        """Up to an hour away from the truth."""
        host = CALLER.get()
        skew_s = Random(host.name).uniform(-3600, 3600) if host else 0.0
        return self.now_us() + round(skew_s * 1_000_000)


class World:
    """What all parts of a simulation share."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.seed = seed
        self.loop = loop
        self.context = contextvars.Context()
        self.profile = Profile.draw(self.random("profile"))
        self.trace: list[str] = []
        self.clock = ServerClock(loop)
        self.memory = MemoryStore(clock=self.clock, is_shared=True, ids=SeededIds(seed))
        self.processes: dict[str, Process] = {}
        """Every process there ever was, by its instance_id."""
        self.violations: list[Violation] = []
        self.is_calm = False
        """After the faults: nothing fails by chance any more."""
        self.is_closed = False
        self.down_until = 0.0
        self.outages: list[tuple[float, float]] = []
        """When the store did not answer, or failed a call, or no process was there to call it."""
        self._unattended_since: float | None = 0.0
        self.cut: dict[tuple[str, str], None] = {}
        """Pairs of instance ids between which no message passes."""
        self.lost_at: dict[tuple[str, str], float] = {}
        self.fenced_at: dict[tuple[str, int], float] = {}
        self.deleted_at: dict[str, float] = {}
        self.moved_at: dict[str, float] = {}
        """When each chat was written last."""
        self.appends = 0

    def random(self, name: str) -> Random:
        """The chances of that part of this seed."""
        return Random(f"{self.seed} {name}")

    def note(self, what: str) -> None:
        host = HOST.get()
        self.trace.append(f"{self.loop.time():.6f} {host.name if host else '-'} {what}")

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    @property
    def running(self) -> list[Process]:
        return [process for process in self.processes.values() if process.is_running]

    def broken(self, invariant: str, chat_id: str, what: str) -> None:
        self.note(f"BROKEN {invariant} {chat_id[:8]} {what}")
        self.violations.append(Violation(invariant=invariant, chat_id=chat_id, what=what))

    def on_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An uncaught exception is a defect."""
        if not self.is_closed:
            self.broken("LOUD", "", f"{context['message']}: {context.get('exception')!r}")

    # --- the network's state

    def is_cut(self, one: str, other: str) -> bool:
        return (one, other) in self.cut or (other, one) in self.cut

    def lose(self, one: str, other: str) -> None:
        self.lost_at[one, other] = self.lost_at[other, one] = self.loop.time()

    def excused_s(self, begin_us: int, end_us: int) -> float:
        """For how long between these two times nothing could be written."""
        begin, end = ((at - START_US) / 1_000_000 for at in (begin_us, end_us))
        excused_s = 0.0
        for away, back in sorted(self.outages):
            excused_s += max(0.0, min(end, back) - max(begin, away))
            begin = max(begin, back)
        return excused_s

    @property
    def away_s(self) -> float:
        """For how long it was so in all."""
        return self.excused_s(START_US, self.clock.now_us())

    def note_attendance(self) -> None:
        """A process started or ended: note whether one that works is left."""
        is_attended = any(process.is_well for process in self.running)
        if is_attended and self._unattended_since is not None:
            self.outages.append((self._unattended_since, self.loop.time() + WELL_AGAIN_S))
        if not is_attended and self._unattended_since is None:
            self._unattended_since = self.loop.time()
        elif is_attended:
            self._unattended_since = None

    # --- what the store's server sees

    def on_append(self, process: Process, append: Append, lease_ends_at: int | None, was: tuple[int, str]) -> None:
        """An append was written; `was` is the attempt that held the chat before it and its holder."""
        self.appends += 1
        self.moved_at[append.chat_id] = self.loop.time()
        kinds = ",".join(type(entry.fact).__name__ for entry in append.entries)
        self.note(f"append by {process.host.name}: {append.chat_id[:8]} {append.entries[0].seq} {kinds}")
        attempt, holder = was
        if attempt and attempt != append.chat.attempt:
            self.fenced_at[append.chat_id, attempt] = self.loop.time()
        if isinstance(append.lease, Ended) and lease_ends_at is not None and lease_ends_at > self.clock.now_us():
            self.broken("FENCE", append.chat_id, f"attempt {attempt} was expired before its lease had ended")
        if append.chat_id in self.deleted_at:
            self.broken("DELETED", append.chat_id, f"it was written to: {kinds}")
        if append.chat.is_deleted:
            self.deleted_at[append.chat_id] = self.loop.time()
        for entry in append.entries:
            if isinstance(entry.fact, AttemptLost) and entry.fact.reason == "dead":
                self._check_death(process, append.chat_id, holder)
            elif isinstance(entry.fact, AttemptLost) and entry.fact.reason == "lease":
                self._check_expiry(append.chat_id, attempt, holder)

    def _check_expiry(self, chat_id: str, attempt: int, holder: str) -> None:
        """Who was awake for a whole lease, with a store that answered, has renewed it."""
        accused = self.processes[holder]
        well_since = max(accused.woken_at, accused.trouble_at, *(end for _, end in self.outages), 0.0)
        is_well = accused.can_answer and self.loop.time() - well_since > LEASE_US / 1_000_000
        if is_well and accused.instance.worker.runs(chat_id, attempt):
            self.broken("FENCE", chat_id, f"attempt {attempt} was expired though {accused.host.name} renewed it")

    def _check_death(self, judge: Process, chat_id: str, holder: str) -> None:
        """Only an instance that is dead or could not be reached may be declared dead."""
        accused = self.processes[holder]
        silent_s = self.loop.time() - self.lost_at.get((judge.instance_id, holder), -LOST_LATELY_S)
        if accused.can_answer and silent_s >= LOST_LATELY_S and not self.is_cut(judge.instance_id, holder):
            self.broken("FENCE", chat_id, f"{accused.host.name} was taken for dead though it would have answered")
