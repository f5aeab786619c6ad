"""The worker: claims runnable chats, runs each as one supervised task, renews leases, flushes drafts, drains."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog

from antiphon.chats.hints import WANTED_CHANNEL, text_hint
from antiphon.core import commands as c
from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.core.model import Chat, Status
from antiphon.errors import AntiphonError, Refused
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.ports import FlushedDelta
from antiphon.wire import codec
from antiphon.worker.attempt import Attempt
from antiphon.worker.environment import Environment
from antiphon.worker.slots import Slots
from antiphon.worker.stop import Stop

CLAIM_POLL_S = 1.0
RENEW_S = 2.0
RENEW_FAILS_S = 8.0
"""A worker that could not renew for so long stops: its leases are about to end."""

RENEW_HANGS_S = 10.0
"""A renewal without an answer is waited for so long after the last one: then its leases have ended."""

DEFER_S_MIN = 0.05
PUT_OFF_MAX = 1_000
"""So many chats that are wanted are left to those who are less busy for a moment; the poll finds the others."""

SHUN_S = 10.0
SHUNNED_MAX = 1_000
"""A chat that could not be claimed is left alone for so long; so many are remembered."""

FLUSH_S = 0.25
FLUSH_DELTA_CHARS = 128 * 1024
FLUSH_DELTAS_MAX = 1_000
FLUSH_BYTES_MAX = 1024 * 1024
"""Maximum size of one stored delta and of one flush, so that other writes need not wait for all drafts together."""
STOP_S = 0.9

log = structlog.get_logger(__name__)


class Worker:
    """`run` it as a task. `drain` finishes running turns and releases those that take too long."""

    def __init__(self, environment: Environment, slots: Slots) -> None:
        self._env = environment
        self._slots = slots
        self.instance_id = slots.instance_id
        self._left: dict[str, float] = {}
        self._shunned: dict[str, float] = {}
        self._attempts: dict[asyncio.Task[None], Attempt] = {}
        self._wanted: list[str] = []
        self._put_off: dict[str, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self._flushed: dict[tuple[str, int], int] = {}
        self.claim_error: str | None = None
        self.renew_error: str | None = None
        self.flush_error: str | None = None
        self._unsubscribe = (
            environment.bus.subscribe(WANTED_CHANNEL, self._on_wanted),
            slots.started.subscribe(self._start),
            slots.freed.subscribe(self._wake.set),  # chats may have waited for the place
        )

    def __len__(self) -> int:
        return len(self._attempts)

    def runs(self, chat_id: str, attempt: int) -> bool:
        """Whether a task of this worker runs that attempt."""
        return any(a.chat_id == chat_id and a.number == attempt for a in self._attempts.values())

    # --- claiming

    def _start(self, chat_id: str, chat: Chat) -> None:
        """Run the attempt that holds `chat` in a reserved place."""
        attempt = Attempt(self._env, chat_id, chat)
        attempt.is_draining = self._slots.is_draining
        task = asyncio.create_task(attempt.run(), name=f"attempt {chat_id} {attempt.number}")
        self._attempts[task] = attempt
        self._slots.running.begin(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        attempt = self._attempts.pop(task)
        self._slots.running.end(task)
        self._slots.release(attempt.chat.owner_id)
        if not task.cancelled() and task.exception() is not None:
            METRICS.unexpected.labels("attempt_task_failure").inc()
            log.error("attempt_task_failed", chat_id=attempt.chat_id, exc_info=task.exception())

    def _on_wanted(self, message: bytes | None) -> None:
        if message is None or len(self._wanted) >= self._slots.concurrency:
            self._wake.set()
            return
        if self._slots.is_draining or self._slots.free <= 0:
            return  # others may have room; the poll looks again
        chat_id = text_hint(message)
        delay_s = self._slots.balance.delay_s(chat_id, self._slots.load)
        if not delay_s:
            self._want(chat_id)
        elif chat_id not in self._put_off and len(self._put_off) < PUT_OFF_MAX:
            self._defer(chat_id, delay_s, waited_s=0.0)

    def _defer(self, chat_id: str, delay_s: float, *, waited_s: float) -> None:
        """Leave the chat to less busy instances for a moment."""
        loop = asyncio.get_running_loop()
        self._put_off[chat_id] = loop.call_later(delay_s, self._want_deferred, chat_id, waited_s + delay_s)

    def _want_deferred(self, chat_id: str, waited_s: float) -> None:
        """No instance may have claimed it yet. While others still have far less to do it is left to them: a burst
        reaches all at once, and each claims one chat after another. After CLAIM_POLL_S the poll decides."""
        del self._put_off[chat_id]
        if self._slots.may_claim():
            if len(self._wanted) < self._slots.concurrency:  # else the poll finds it
                self._want(chat_id)
        elif waited_s < CLAIM_POLL_S:
            self._defer(
                chat_id, max(self._slots.balance.delay_s(chat_id, self._slots.load), DEFER_S_MIN), waited_s=waited_s
            )

    def _want(self, chat_id: str) -> None:
        self._wanted.append(chat_id)
        self._wake.set()

    async def _claim_forever(self) -> None:
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while True:
            self._wake.clear()  # before looking: what comes meanwhile wakes again
            hinted, self._wanted = self._wanted, []
            wanted: tuple[str, ...] = ()
            try:
                if not hinted or loop.time() - looked_at >= CLAIM_POLL_S:
                    looked_at = loop.time()
                    wanted = await self._claimable()
                self.claim_error = None
            except AntiphonError as error:
                self.claim_error = str(error)
                log.warning("claim_failed", error=str(error))
            for chat_id in hinted:
                if self._slots.may_claim():  # it has grown with those before
                    await self._claim_or_shun(chat_id)
                elif chat_id not in self._put_off and len(self._put_off) < PUT_OFF_MAX:
                    self._defer(chat_id, DEFER_S_MIN, waited_s=0.0)
            for chat_id in wanted:
                await self._claim_or_shun(chat_id)
            try:
                async with asyncio.timeout(CLAIM_POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _claimable(self) -> tuple[str, ...]:
        free = self._slots.free
        if self._slots.is_draining or free <= 0:
            return ()
        now = asyncio.get_running_loop().time()
        self._shunned = {chat_id: until for chat_id, until in self._shunned.items() if until > now}
        found = await self._env.work.claimable(limit=free, passing_over=(*self._slots.full_owners(), *self._shunned))
        return self._taken_of(found, now)

    def _taken_of(self, found: tuple[str, ...], now: float) -> tuple[str, ...]:
        """The share of this instance. What less busy instances have not claimed for a whole poll is claimed all the
        same, a quarter of it at a time: they may be about to."""
        running = self._slots.load
        taken = []
        left: dict[str, float] = {}
        overdue = sum(now - since >= CLAIM_POLL_S / 2 for since in self._left.values())
        spare = 1 + overdue // 4
        for chat_id in found:
            since = self._left.get(chat_id, now)
            is_overdue = now - since >= CLAIM_POLL_S / 2
            if self._slots.balance.may_claim(running) or (is_overdue and spare > 0):
                spare -= is_overdue
                taken.append(chat_id)
                running += 1
            else:
                left[chat_id] = since
        self._left = left
        return tuple(taken)

    async def _claim_or_shun(self, chat_id: str) -> None:
        """Claim a chat. One that cannot be (it is of a newer version, say) must not hold up the others."""
        try:
            await self._claim(chat_id)
        except AntiphonError as error:
            METRICS.unexpected.labels("claim_failure").inc()
            log.warning("claim_failed", chat_id=chat_id, error=str(error))
            if len(self._shunned) < SHUNNED_MAX:
                self._shunned[chat_id] = asyncio.get_running_loop().time() + SHUN_S

    async def _claim(self, chat_id: str) -> None:
        chat = await self._env.work.chat(chat_id)
        if (
            chat is None
            or not chat.needs_worker
            or self._slots.is_draining
            or not self._slots.has_place(chat.owner_id)
        ):
            return
        owner_id = chat.owner_id
        self._slots.reserve(owner_id)
        crash_point("claim-before-append")
        try:
            done = await self._env.work.execute(chat_id, c.StartAttempt(instance_id=self.instance_id))
        except Refused:
            self._slots.release(owner_id)
            return
        except BaseException:
            self._slots.release(owner_id)
            raise
        crash_point("claim-after-append")
        self._start(chat_id, done.chat)

    # --- leases and flushes

    async def _renew_forever(self) -> None:
        loop = asyncio.get_running_loop()
        renewed_at = loop.time()
        while True:
            await asyncio.sleep(RENEW_S)
            limit_at = max(renewed_at + RENEW_HANGS_S, loop.time() + RENEW_S)
            try:
                async with asyncio.timeout_at(limit_at):  # else a store that hangs would hide that the lease ends
                    await self._renew()
            except (AntiphonError, TimeoutError) as error:
                self.renew_error = str(error) or "the store does not answer"
                log.warning("renew_failed", error=self.renew_error)
                if loop.time() - renewed_at >= RENEW_FAILS_S:
                    self._stop_all(Stop.LOST)
            else:
                self.renew_error = None
                renewed_at = loop.time()

    async def _renew(self) -> None:
        attempts = [attempt for attempt in self._attempts.values() if attempt.chat.attempt == attempt.number]
        if not attempts:
            return
        crash_point("renew-before")
        pairs = [(attempt.chat_id, attempt.number) for attempt in attempts]
        newest = dict(sorted(pairs))
        held = await self._env.work.renew(self.instance_id, pairs)
        for attempt in attempts:
            is_newest = attempt.number == newest[attempt.chat_id]  # the lease may be that of a later attempt here
            status = held.get(attempt.chat_id) if is_newest else None
            if status is None:
                attempt.stop(Stop.LOST)
            elif status is Status.INTERRUPTING:
                attempt.stop(Stop.INTERRUPT)

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
                self.flush_error = None
            except AntiphonError as error:
                self.flush_error = str(error)
                log.warning("flush_failed", error=str(error))

    async def flush(self) -> None:
        """Store what the open drafts have gained since the last flush, against the death of this process. Each write
        is bounded. A failure leaves the rest for the next flush; a delta flushed twice is stored once."""
        drafts = self._env.drafts.items()
        names = {(chat_id, draft.name) for chat_id, draft in drafts}
        self._flushed = {key: position for key, position in self._flushed.items() if key in names}
        batch: list[FlushedDelta] = []
        size = 0
        for chat_id, draft in drafts:
            for delta in _iter_deltas(draft, self._flushed.get((chat_id, draft.name), 0)):
                body = codec.encode(delta)
                batch.append(
                    FlushedDelta(chat_id=chat_id, draft=draft.name, from_=delta.from_, to=delta.to, body=body)
                )
                size += len(body)
                if len(batch) >= FLUSH_DELTAS_MAX or size >= FLUSH_BYTES_MAX:
                    await self._flush_batch(batch)
                    batch, size = [], 0
        if batch:
            await self._flush_batch(batch)

    async def _flush_batch(self, batch: list[FlushedDelta]) -> None:
        crash_point("flush-before")
        await self._env.work.flush(batch)
        crash_point("flush-after")
        for delta in batch:
            self._flushed[delta.chat_id, delta.draft] = delta.to

    # --- the whole

    async def run(self) -> None:
        """Claim, renew and flush until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._claim_forever())
            tasks.create_task(self._renew_forever())
            tasks.create_task(self._flush_forever())

    def pause(self) -> None:
        """Claim nothing from now on."""
        self._slots.is_draining = True

    async def drain(self, drain_s: float) -> None:
        """No new claims; steps that run may finish within `drain_s`; then let go of what is left."""
        self._slots.is_draining = True
        for attempt in self._attempts.values():
            attempt.is_draining = True
        if self._attempts and drain_s > 0:
            log.info("draining", turns=len(self._attempts), drain_s=drain_s)
            await self._wait_all(drain_s)
        self._stop_all(Stop.RELEASE)
        await self._wait_all(STOP_S)
        for task in list(self._attempts):
            task.cancel()

    async def _wait_all(self, limit_s: float) -> None:
        tasks = list(self._attempts)
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)

    def _stop_all(self, why: Stop) -> None:
        for attempt in list(self._attempts.values()):
            attempt.stop(why)

    def close(self) -> None:
        for timer in self._put_off.values():
            timer.cancel()
        for unsubscribe in self._unsubscribe:
            unsubscribe()


def _iter_deltas(draft: Draft, start: int) -> Iterator[Delta]:
    """The draft from a position to its present end, in deltas of bounded size."""
    end = draft.position
    for position in range(start, end, FLUSH_DELTA_CHARS):
        yield from draft.read(position, min(position + FLUSH_DELTA_CHARS, end))
