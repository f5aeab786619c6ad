"""The command loop: load, decide, append, publish hints. Every command of a person or a worker goes through it.

Within a process each chat has a command queue. Its task dequeues the waiting commands, decides them in order on one
state and appends their facts together. Between processes the store's check of `after_seq` serialises the appends: on
a conflict the loop loads the state and decides again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import structlog

from antiphon.budgets import Budgets
from antiphon.chats.append_batch import AppendBatch, first_answer
from antiphon.chats.command_queue import CommandQueue, CommandQueues, Job
from antiphon.chats.counting import MINUTE_US
from antiphon.chats.deleted_chats import DeletedChatCache
from antiphon.chats.fork_slots import ForkSlots
from antiphon.chats.hints import WANTED_CHANNEL, owner_channel, stream_channel
from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.model import Chat
from antiphon.errors import AntiphonError, Conflict, NotAllowedNow, RateLimited, Unavailable
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.ports import (
    Append,
    Appended,
    Bus,
    Done,
    Ids,
    NoSlots,
    Notification,
    OutcomeUnknown,
    Request,
    Store,
    TurnSlots,
)
from antiphon.signal import KeyedSignal, Signal
from antiphon.tracebacks import traceback_of
from antiphon.wire import codec
from antiphon.wire.notify_facts import encode_chat_event, event_kinds, stream_message

GROUP_MAX = 256
"""Maximum number of jobs of one chat that share an append."""
QUEUED_MAX = 1_000
"""Maximum number of jobs in a chat's command queue. Beyond it, commands are refused as unavailable."""
CONFLICTS_MAX = 64
"""Maximum number of times that jobs are decided again because the chat changed."""
UNKNOWN_TRIES_MAX = 5
"""Maximum number of tries of an append whose outcome is unknown."""
UNKNOWN_PAUSE_S = 0.2
"""How long to wait between two such tries, in seconds."""

log = structlog.get_logger(__name__)

MakeNotification = Callable[[str, Chat, Sequence[f.Entry]], Notification | None]
"""Builds the notification that is stored with an append, from the chat id, the new state and the facts; None: no
notification."""


class Service:
    """Commands in, facts out. A chat changes only by `execute` and `submit_nowait`."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        ids: Ids,
        slots: TurnSlots | None = None,
        make_notification: MakeNotification | None = None,
        budgets: Budgets = Budgets(),  # noqa: B008 - a value
    ) -> None:
        """
        Args:
            store: Where the facts are appended.
            bus: Where the hints of appends are published.
            ids: Makes the name of this process in append ids.
            slots: Lets a worker of this process claim a turn in the append that starts it.
            make_notification: Makes the notification that is stored with an append.
            budgets: What an owner may send in a minute.
        """
        self._store = store
        self._bus = bus
        self._budgets = budgets
        self._name = ids.uuid()
        self._append_count = itertools.count(1)
        self._queues = CommandQueues()
        self._tasks: set[asyncio.Task[None]] = set()
        self.appended: Signal[Append] = Signal("appended")
        """Emitted with every append that was written here, in order."""
        self.appended_to_chat: KeyedSignal[Append] = KeyedSignal("appended_to_chat")
        """The same for the appends to one chat, by its id."""
        self.appended_for_owner: KeyedSignal[Append] = KeyedSignal("appended_for_owner")
        """The same for the appends to the chats of one owner, by the owner's id."""
        self.deleted_chats = DeletedChatCache()
        self.fork_slots = ForkSlots()
        self._slots = slots or NoSlots()
        self._make_notification = make_notification or (lambda chat_id, chat, entries: None)

    # --- commands

    async def execute(self, chat_id: str, *commands: c.Command, request: Request | None = None) -> Done:
        """Apply the commands in one append (`ports.Chats`)."""
        return await self.submit_nowait(chat_id, *commands, request=request)

    def submit_nowait(
        self, chat_id: str, *commands: c.Command, request: Request | None = None
    ) -> asyncio.Future[Done]:
        """Queue the commands; the future has the answer. Cancelling it removes them, unless they run."""
        queue = self._queues.get(chat_id)
        if len(queue.jobs) >= QUEUED_MAX:
            raise Unavailable("too many commands are queued for this chat")
        job = Job(commands, request, asyncio.get_running_loop().create_future())
        queue.jobs.append(job)
        if queue.task is None:
            queue.task = asyncio.create_task(self._run(queue))
            self._tasks.add(queue.task)
            queue.task.add_done_callback(self._tasks.discard)
        return job.future

    async def aclose(self) -> None:
        """Wait until all queued commands are answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- the state of a chat

    async def chat(self, chat_id: str) -> Chat | None:
        """The current state: of a shared store as it is stored now, otherwise from the cache if it is there."""
        if self._store.is_shared:
            return await self._chat_now(chat_id)
        queue = self._queues.get(chat_id)
        if not queue.is_loaded:
            chat = await self._store.load(chat_id)
            if chat is None:
                return None  # another process may create it at any time
            if not queue.is_loaded:
                queue.cache_chat(chat)
        return queue.chat

    async def _chat_now(self, chat_id: str) -> Chat | None:
        """The stored state, or the cached one if this process has written a newer one meanwhile."""
        stored = await self._store.load(chat_id)
        queue = self._queues.find(chat_id)
        cached = queue.chat if queue else None
        if cached is not None and (stored is None or stored.seq <= cached.seq):
            return cached
        if stored is not None and stored.is_deleted and cached is not None:
            self.deleted_chats.record(chat_id, cached, stored)
        if stored is not None and (queue is None or queue.task is None):
            self._queues.get(chat_id).cache_chat(stored)
        return stored

    def chat_nowait(self, chat_id: str) -> Chat | None:
        """The cached state, which may be old on a shared store; None if it is not cached."""
        queue = self._queues.find(chat_id)
        return queue.chat if queue else None

    def entries_after(self, chat_id: str, seq: int) -> list[f.Entry] | None:
        """The facts after `seq` from memory; None if not all of them are cached."""
        queue = self._queues.find(chat_id)
        return queue.entries_after(seq) if queue else None

    def evict(self, chat_id: str, seq: int) -> None:
        """Drop a cached state that is older than `seq`, which another process has written."""
        queue = self._queues.find(chat_id)
        if queue and queue.task is None and (queue.chat is None or queue.chat.seq < seq):
            self._queues.evict(queue)

    # --- the loop

    async def _run(self, queue: CommandQueue) -> None:
        try:
            while queue.jobs:
                group = [queue.jobs.popleft() for _ in range(min(len(queue.jobs), GROUP_MAX))]
                try:
                    await self._process(queue, group)
                except Exception as error:
                    if not isinstance(error, AntiphonError):
                        log.error("command_queue_failed", chat_id=queue.chat_id, exception=traceback_of())
                    self._queues.evict(queue)
                    _fail([job for job in group if job not in queue.jobs], error)
        finally:
            queue.task = None

    async def _process(self, queue: CommandQueue, group: list[Job]) -> None:
        """Answer the jobs of `group`; those that cannot share this append go back to the head of the queue."""
        for _ in range(CONFLICTS_MAX):
            is_cached = queue.is_loaded
            if not is_cached:
                queue.cache_chat(await self._store.load(queue.chat_id))
            batch = AppendBatch(queue.chat, self._store, queue.chat_id)
            await batch.decide(group)
            if is_cached and batch.has_answers_without_append and not await self._is_current(queue):
                continue
            if batch.deferred:
                queue.jobs.extendleft(reversed(batch.deferred))
                group = [job for job in group if job not in batch.deferred]
            await self._refuse(queue, batch.refused)
            group = [job for job, _ in batch.accepted]
            if not batch.entries:
                for job, _ in batch.accepted:
                    _answer(job, queue.chat_id, batch.chat, ())
                return
            result = await self._append(queue, batch)
            if result is Appended.DONE:
                return
            if result is Appended.ANSWERED:
                group = await self._answer_repeats(queue, group)
            elif result in (Appended.MESSAGES_LIMITED, Appended.TURNS_LIMITED):
                queue.jobs.extendleft(reversed(group[1:]))  # each by itself: the first ones may be within the limit
                if len(group) == 1:
                    _fail(group, self._rate_limited(result))
                    return
                group = group[:1]
            elif result is Appended.LEASE_LIVE:
                assert batch.chat is not None
                _fail(group, NotAllowedNow(batch.chat.status, "the attempt's lease has not ended"))
                return
            else:
                METRICS.conflicts.inc()
                self._queues.evict(queue)
            if not group:
                return
        raise Unavailable(f"the chat changed during all {CONFLICTS_MAX} tries of the command; send it again")

    def _rate_limited(self, result: Appended) -> RateLimited:
        """The refusal of a send beyond the limit of this minute, counted."""
        is_message = result is Appended.MESSAGES_LIMITED
        name = "messages_per_minute" if is_message else "turns_per_minute"
        limit = (self._budgets.messages_per_minute if is_message else self._budgets.turns_per_minute) or 0
        METRICS.limited.labels(name).inc()
        rest_us = MINUTE_US - self._store.clock.now_us() % MINUTE_US
        return RateLimited(name, limit, limit, -(-rest_us // 1000))

    async def _is_current(self, queue: CommandQueue) -> bool:
        """Whether the cached state is the stored one; otherwise it is evicted. The check of an append does this by
        itself, but a refusal or a command without facts has no append."""
        stored = await self._store.load(queue.chat_id)
        if (stored.seq if stored else 0) == (queue.chat.seq if queue.chat else 0):
            return True
        self._queues.evict(queue)
        return False

    async def _append(self, queue: CommandQueue, batch: AppendBatch) -> Appended:
        claimed = self._claim(batch)
        owner_id = batch.chat.owner_id if batch.chat else ""
        append = batch.make_append(f"{self._name}:{next(self._append_count)}", self._make_notification, self._budgets)
        crash_point("before-append")
        try:
            result = await self._append_surely(append)
        except BaseException:
            if claimed:
                self._slots.release(owner_id)
            raise
        crash_point("after-append")
        if result is not Appended.DONE:
            if claimed:
                self._slots.release(owner_id)
            return result
        METRICS.appends.inc()
        before = queue.chat
        if append.chat.is_deleted and before is not None:
            self.deleted_chats.record(queue.chat_id, before, append.chat)
        queue.cache_chat(append.chat)
        self._queues.cache_entries(queue, append.entries)
        self._publish(append, before)
        self.appended_to_chat.emit(append.chat_id, append)
        self.appended_for_owner.emit(append.chat.owner_id, append)
        self.appended.emit(append)
        for job, entries in batch.answers(append.entries):
            _answer(job, queue.chat_id, append.chat, entries)
        if claimed:
            self._slots.start(queue.chat_id, append.chat)
        elif append.chat.needs_worker:
            self._bus.publish_nowait(WANTED_CHANNEL, queue.chat_id.encode())
        return result

    async def _append_surely(self, append: Append) -> Appended:
        """Append, and repeat it while its outcome is unknown: the store finds out whether it was written."""
        for _ in range(UNKNOWN_TRIES_MAX):
            try:
                return await self._store.append(append)
            except OutcomeUnknown:
                METRICS.unknown_outcomes.inc()
                await asyncio.sleep(UNKNOWN_PAUSE_S)
        why = "the result of the commit is unknown; repeat the request with the same client id"
        raise Unavailable(why, is_uncertain=True)

    def _claim(self, batch: AppendBatch) -> bool:
        """Claim the turn for a free worker of this process in the same append, which saves one durable write."""
        chat = batch.chat
        if chat is None or not chat.needs_worker or not batch.may_claim or batch.at < chat.retrying_at:
            return False
        instance_id = self._slots.reserve_nowait(chat.owner_id)
        if instance_id is None:
            return False
        batch.advance(c.StartAttempt(instance_id=instance_id))
        return True

    def _publish(self, append: Append, before: Chat | None) -> None:
        """Publish hints of an append on the channels of the chat and its owner that have subscribers. Subscribers of
        this process learn of it by `appended_to_chat` and `appended_for_owner`."""
        chat_id, chat = append.chat_id, append.chat
        channel = stream_channel(chat_id)
        if self._bus.has_subscribers(channel, of_own_appends=True):
            message = stream_message(before, append.entries, chat)
            self._bus.publish_nowait(channel, codec.encode(message))
        channel = owner_channel(chat.owner_id)
        if self._bus.has_subscribers(channel, of_own_appends=True):
            for kind in event_kinds(append.entries):
                self._bus.publish_nowait(
                    channel, encode_chat_event(kind, chat_id, self.deleted_chats.get(chat_id, chat))
                )

    # --- repeats

    async def _refuse(self, queue: CommandQueue, refused: Sequence[tuple[Job, Exception]]) -> None:
        """Refuse the jobs that are not repeats: a repeat gets the first answer, whatever a rule says now."""
        new = await self._answer_repeats(queue, [job for job, _ in refused])
        for job, error in refused:
            if job in new:
                _fail([job], error)

    async def _answer_repeats(self, queue: CommandQueue, jobs: Sequence[Job]) -> list[Job]:
        """Answer those of `jobs` that are repeats; returns the others."""
        client_ids = [job.request.client_id for job in jobs if job.request is not None]
        receipts = await self._store.read_receipts(queue.chat_id, client_ids) if client_ids else {}
        chat = queue.chat or (await self._store.load(queue.chat_id) if receipts else None)
        new = []
        for job in jobs:
            receipt = receipts.get(job.request.client_id) if job.request is not None else None
            if receipt is None or job.request is None:
                new.append(job)
            elif receipt.body_hash != job.request.body_hash:
                _fail([job], Conflict("chat id" if not job.request.client_id else "client_message_id"))
            else:
                _answer(job, queue.chat_id, chat, (first_answer(receipt, job),), is_repeat=True)
        return new


def _answer(
    job: Job, chat_id: str, chat: Chat | None, entries: Sequence[f.Entry], *, is_repeat: bool = False
) -> None:
    assert chat is not None
    if not job.future.done():
        job.future.set_result(Done(chat_id=chat_id, chat=chat, entries=tuple(entries), is_repeat=is_repeat))


def _fail(jobs: Sequence[Job], error: Exception) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)
