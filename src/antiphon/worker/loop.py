"""The worker: claims chats that need one, runs each as a task, renews their leases, flushes drafts, and drains.

How it claims
-------------
A hint names a chat that needs a worker. The worker claims it at once if this instance is one of the less busy ones.
Otherwise it defers the chat: a less busy instance may claim it meanwhile. Hints can be lost and deferred chats are
limited in number, so every `claim_poll_s` a poll of the store finds all chats that no instance has claimed.
"""

from __future__ import annotations

import asyncio

import structlog

from antiphon.chats.hints import WANTED_CHANNEL, text_hint
from antiphon.core import commands as c
from antiphon.core.model import Chat, Status
from antiphon.errors import AntiphonError, Refused
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.tracebacks import traceback_of
from antiphon.worker.attempt import Attempt
from antiphon.worker.environment import Environment
from antiphon.worker.flusher import DraftFlusher
from antiphon.worker.slots import Slots
from antiphon.worker.stop import Stop

DEFERRED_MAX = 1_000
"""Maximum number of chats that are deferred at a time; the poll finds the others."""
SKIPPED_MAX = 1_000
"""Maximum number of chats that are skipped because they could not be claimed."""

log = structlog.get_logger(__name__)


class Worker:
    """`run` it as a task. `drain` waits for running turns and releases those that take too long."""

    def __init__(self, environment: Environment, slots: Slots) -> None:
        self._env = environment
        self._timing = environment.timing
        self._slots = slots
        self.instance_id = slots.instance_id
        self._left: dict[str, float] = {}
        """Chats that the poll left to less busy instances, and since when."""
        self._skipped: dict[str, float] = {}
        """Chats that could not be claimed, and until when they are skipped."""
        self._attempts: dict[asyncio.Task[None], Attempt] = {}
        self._wanted: list[str] = []
        self._deferred: dict[str, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self.claim_error: str | None = None
        self.renew_error: str | None = None
        self._flusher = DraftFlusher(environment.drafts, environment.work, flush_s=environment.timing.flush_s)
        self._unsubscribe = (
            environment.bus.subscribe(WANTED_CHANNEL, self._on_wanted),
            slots.started.subscribe(self._start),
            slots.freed.subscribe(self._wake.set),  # chats may be waiting for the slot
        )

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def flush_error(self) -> str | None:
        """Why the last flush of the drafts failed, None if it succeeded."""
        return self._flusher.error

    async def flush(self) -> None:
        """Store what the open drafts have gained since the last flush."""
        await self._flusher.flush()

    def runs(self, chat_id: str, attempt: int) -> bool:
        """Whether a task of this worker runs that attempt."""
        return any(a.chat_id == chat_id and a.number == attempt for a in self._attempts.values())

    # --- claiming

    def _start(self, chat_id: str, chat: Chat) -> None:
        """Run the attempt that holds `chat` in a reserved slot."""
        attempt = Attempt(self._env, chat_id, chat)
        if self._slots.is_draining:
            attempt.drain()
        task = asyncio.create_task(attempt.run(), name=f"attempt {chat_id} {attempt.number}")
        self._attempts[task] = attempt
        self._slots.running.start(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        attempt = self._attempts.pop(task)
        self._slots.running.end(task)
        self._slots.release(attempt.chat.owner_id)
        if not task.cancelled() and task.exception() is not None:
            METRICS.unexpected.labels("attempt_task_failure").inc()
            log.error("attempt_task_failed", chat_id=attempt.chat_id, exception=traceback_of(task.exception()))

    def _on_wanted(self, message: bytes | None) -> None:
        if message is None or len(self._wanted) >= self._slots.concurrency:
            self._wake.set()
            return
        if self._slots.is_draining or self._slots.free_count <= 0:
            return  # another instance may have a free slot; else the poll finds the chat
        chat_id = text_hint(message)
        delay_s = self._slots.balance.delay_s(chat_id, self._slots.load)
        if not delay_s:
            self._want(chat_id)
        elif chat_id not in self._deferred and len(self._deferred) < DEFERRED_MAX:
            self._defer(chat_id, delay_s, waited_s=0.0)

    def _defer(self, chat_id: str, delay_s: float, *, waited_s: float) -> None:
        """Leave the chat to less busy instances for `delay_s`."""
        loop = asyncio.get_running_loop()
        self._deferred[chat_id] = loop.call_later(delay_s, self._want_deferred, chat_id, waited_s + delay_s)

    def _want_deferred(self, chat_id: str, waited_s: float) -> None:
        """Claim the chat, or defer it again while other instances are much less busy: a burst of hints reaches all of
        them at the same time, and each claims one chat after another. After `claim_poll_s` the poll decides."""
        del self._deferred[chat_id]
        if self._slots.may_claim():
            if len(self._wanted) < self._slots.concurrency:  # else the poll finds it
                self._want(chat_id)
        elif waited_s < self._timing.claim_poll_s:
            self._defer(
                chat_id,
                max(self._slots.balance.delay_s(chat_id, self._slots.load), self._timing.defer_s_min),
                waited_s=waited_s,
            )

    def _want(self, chat_id: str) -> None:
        self._wanted.append(chat_id)
        self._wake.set()

    async def _claim_forever(self) -> None:
        loop = asyncio.get_running_loop()
        polled_at = loop.time()
        while True:
            self._wake.clear()  # before polling: a hint that arrives meanwhile wakes it again
            hinted, self._wanted = self._wanted, []
            wanted: tuple[str, ...] = ()
            try:
                if not hinted or loop.time() - polled_at >= self._timing.claim_poll_s:
                    polled_at = loop.time()
                    wanted = await self._claimable()
                self.claim_error = None
            except AntiphonError as error:
                self.claim_error = str(error)
                log.warning("claim_failed", error=str(error))
            for chat_id in hinted:
                if self._slots.may_claim():  # the load has grown with the claims before
                    await self._claim_or_skip(chat_id)
                elif chat_id not in self._deferred and len(self._deferred) < DEFERRED_MAX:
                    self._defer(chat_id, self._timing.defer_s_min, waited_s=0.0)
            for chat_id in wanted:
                await self._claim_or_skip(chat_id)
            try:
                async with asyncio.timeout(self._timing.claim_poll_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _claimable(self) -> tuple[str, ...]:
        free = self._slots.free_count
        if self._slots.is_draining or free <= 0:
            return ()
        now = asyncio.get_running_loop().time()
        self._skipped = {chat_id: until for chat_id, until in self._skipped.items() if until > now}
        found = await self._env.work.claimable(limit=free, passing_over=(*self._slots.full_owners(), *self._skipped))
        return self._share_of(found, now)

    def _share_of(self, found: tuple[str, ...], now: float) -> tuple[str, ...]:
        """The chats that this instance claims. Chats that less busy instances did not claim since the last poll are
        claimed as well, a quarter of them at a time: those instances may be about to claim the others."""
        running = self._slots.load
        share = []
        left: dict[str, float] = {}
        overdue = sum(now - since >= self._timing.claim_poll_s / 2 for since in self._left.values())
        spare = 1 + overdue // 4
        for chat_id in found:
            since = self._left.get(chat_id, now)
            is_overdue = now - since >= self._timing.claim_poll_s / 2
            if self._slots.balance.may_claim(running) or (is_overdue and spare > 0):
                spare -= is_overdue
                share.append(chat_id)
                running += 1
            else:
                left[chat_id] = since
        self._left = left
        return tuple(share)

    async def _claim_or_skip(self, chat_id: str) -> None:
        """Claim a chat, or skip it for a while if that fails (it may be of a newer version): it must not delay
        others."""
        try:
            await self._claim(chat_id)
        except AntiphonError as error:
            METRICS.unexpected.labels("claim_failure").inc()
            log.warning("claim_failed", chat_id=chat_id, error=str(error))
            if len(self._skipped) < SKIPPED_MAX:
                self._skipped[chat_id] = asyncio.get_running_loop().time() + self._timing.failed_claim_s

    async def _claim(self, chat_id: str) -> None:
        chat = await self._env.work.chat(chat_id)
        if (
            chat is None
            or not chat.needs_worker
            or self._slots.is_draining
            or not self._slots.has_free(chat.owner_id)
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

    # --- leases

    async def _renew_forever(self) -> None:
        loop, timing = asyncio.get_running_loop(), self._timing
        renewed_at = loop.time()
        while True:
            await asyncio.sleep(timing.renew_s)
            limit_at = max(renewed_at + timing.renew_timeout_s, loop.time() + timing.renew_s)
            try:
                async with asyncio.timeout_at(limit_at):  # a store that hangs must not hide that the leases expire
                    await self._renew()
            except (AntiphonError, TimeoutError) as error:
                self.renew_error = str(error) or "the store does not answer"
                log.warning("renew_failed", error=self.renew_error)
                if loop.time() - renewed_at >= timing.renew_failed_s:
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
        held = await self._env.work.renew(self.instance_id, pairs)
        for attempt in attempts:
            status = held.get(attempt.chat_id)
            if status is None:
                attempt.stop(Stop.LOST)
            elif status is Status.INTERRUPTING:
                attempt.stop(Stop.INTERRUPT)

    async def _check_children_forever(self) -> None:
        """Interrupt the turns of child chats that no parent waits for any more."""
        while True:
            await asyncio.sleep(self._timing.child_poll_s)
            await self._env.child_chats.end_unwanted(
                [(attempt.chat_id, attempt.chat) for attempt in self._attempts.values()]
            )

    # --- running and draining

    async def run(self) -> None:
        """Claim, renew and flush until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._claim_forever())
            tasks.create_task(self._renew_forever())
            tasks.create_task(self._check_children_forever())
            tasks.create_task(self._flusher.run())

    def pause(self) -> None:
        """Claim nothing from now on."""
        self._slots.is_draining = True

    async def drain(self, drain_s: float) -> None:
        """Stop claiming. Running steps may finish within `drain_s` seconds; then the remaining attempts are
        released."""
        self._slots.is_draining = True
        for attempt in self._attempts.values():
            attempt.drain()
        if self._attempts and drain_s > 0:
            log.info("drain_started", turns=len(self._attempts), drain_s=drain_s)
            await self._wait_all(drain_s)
        self._stop_all(Stop.RELEASE)
        await self._wait_all(self._timing.stop_s)
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
        for timer in self._deferred.values():
            timer.cancel()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._env.child_chats.close()
