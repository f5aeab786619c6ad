"""THE loop: load -> advance -> append -> publish hints. Every command goes through it, by a person or a worker.

Within the process the commands of a chat stand in line: the head takes all that wait, advances them in turn
on one state and appends their facts together. Between processes the store's check of `after_seq` serialises:
on a conflict the loop loads and decides again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import structlog

from antiphon.chats.append_batch import Round, first_answer
from antiphon.chats.command_queue import Job, Line, Lines
from antiphon.chats.deleted_chats import DeletedChatCache
from antiphon.chats.hints import WANTED_CHANNEL, owner_channel, stream_channel
from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.model import Chat
from antiphon.errors import AntiphonError, Conflict, NotAllowedNow, Unavailable
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
from antiphon.signal import Signal
from antiphon.wire import codec
from antiphon.wire.notify_facts import encode_chat_event, event_kinds, stream_message

GROUP_MAX = 256
"""At most so many commands of one chat share an append."""

LINE_MAX = 1_000
"""At most so many commands wait in one chat's line; more are refused as unavailable."""

CONFLICTS_MAX = 64
UNKNOWN_TRIES = 5
UNKNOWN_PAUSE_S = 0.2

log = structlog.get_logger(__name__)


Notice = Callable[[str, Chat, Sequence[f.Entry]], Notification | None]


class Service:
    """Commands in, facts out. `execute` is the only way by which a chat changes."""

    def __init__(
        self, *, store: Store, bus: Bus, ids: Ids, slots: TurnSlots | None = None, notice: Notice | None = None
    ) -> None:
        """`slots` lets a worker of this process claim a turn in the append that starts it. `notice` makes the
        notification that is stored with an append."""
        self._store = store
        self._bus = bus
        self._name = ids.uuid()
        self._append_count = itertools.count(1)
        self._lines = Lines()
        self._tasks: set[asyncio.Task[None]] = set()
        self.appended: Signal[Append] = Signal("appended")
        """Emitted with every append that was written here, in order."""
        self.deleted_chats = DeletedChatCache()
        self._slots = slots or NoSlots()
        self._notice = notice or (lambda chat_id, chat, entries: None)

    # --- commands

    async def execute(self, chat_id: str, *commands: c.Command, request: Request | None = None) -> Done:
        """Apply the commands, in one append. Raises `Refused` (nothing changed) or `Unavailable`.

        With a `request`, a repeat of the same is given the first answer, and `Conflict` if its body differs.
        """
        return await self.submit_nowait(chat_id, *commands, request=request)

    def submit_nowait(
        self, chat_id: str, *commands: c.Command, request: Request | None = None
    ) -> asyncio.Future[Done]:
        """Put the commands in the chat's line; the answer comes in the future. Cancelling it takes them out of the
        line, unless they are under way."""
        line = self._lines.get(chat_id)
        if len(line.jobs) >= LINE_MAX:
            raise Unavailable("too many commands wait for this chat")
        job = Job(commands, request, asyncio.get_running_loop().create_future())
        line.jobs.append(job)
        if line.task is None:
            line.task = asyncio.create_task(self._run(line))
            self._tasks.add(line.task)
            line.task.add_done_callback(self._tasks.discard)
        return job.future

    async def aclose(self) -> None:
        """Wait until what stands in line is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- the state of a chat

    async def chat(self, chat_id: str) -> Chat | None:
        """The state: as this process last knew it, loaded if it does not. Of a shared store as it is now."""
        if self._store.is_shared:
            return await self._chat_now(chat_id)
        line = self._lines.get(chat_id)
        if not line.is_loaded:
            chat = await self._store.load(chat_id)
            if chat is None:
                return None  # another process may create it at any time
            if not line.is_loaded:
                line.know(chat)
        return line.chat

    async def _chat_now(self, chat_id: str) -> Chat | None:
        """The state as stored; what this process itself has just written may be newer than what was read."""
        stored = await self._store.load(chat_id)
        line = self._lines.known(chat_id)
        known = line.chat if line else None
        if known is not None and (stored is None or stored.seq <= known.seq):
            return known
        if stored is not None and stored.is_deleted and known is not None:
            self.deleted_chats.record(chat_id, known, stored)
        if stored is not None and (line is None or line.task is None):
            self._lines.get(chat_id).know(stored)
        return stored

    def chat_nowait(self, chat_id: str) -> Chat | None:
        """The same without looking into the store."""
        line = self._lines.known(chat_id)
        return line.chat if line else None

    def entries_after(self, chat_id: str, seq: int) -> list[f.Entry] | None:
        """The newest facts from memory, if `seq` is not further back than they reach."""
        line = self._lines.known(chat_id)
        return line.entries_after(seq) if line else None

    def forget(self, chat_id: str, seq: int) -> None:
        """Another process has taken the chat to `seq`: what is known is old."""
        line = self._lines.known(chat_id)
        if line and line.task is None and (line.chat is None or line.chat.seq < seq):
            self._lines.forget(line)

    # --- the loop

    async def _run(self, line: Line) -> None:
        try:
            while line.jobs:
                group = [line.jobs.popleft() for _ in range(min(len(line.jobs), GROUP_MAX))]
                try:
                    await self._process(line, group)
                except Exception as error:
                    if not isinstance(error, AntiphonError):
                        log.exception("line_failed", chat_id=line.chat_id)
                    self._lines.forget(line)
                    _fail([job for job in group if job not in line.jobs], error)
        finally:
            line.task = None

    async def _process(self, line: Line, group: list[Job]) -> None:
        """Answer the jobs of `group`; those that cannot share this append go back to the head of the line."""
        for _ in range(CONFLICTS_MAX):
            is_cached = line.is_loaded
            if not is_cached:
                line.know(await self._store.load(line.chat_id))
            taking = Round(line.chat, self._store, line.chat_id)
            await taking.take(group)
            if is_cached and taking.has_answers_without_append and not await self._is_current(line):
                continue
            if taking.left:
                line.jobs.extendleft(reversed(taking.left))
                group = [job for job in group if job not in taking.left]
            await self._refuse(line, taking.refused)
            group = [job for job, _ in taking.taken]
            if not taking.entries:
                for job, _ in taking.taken:
                    _answer(job, line.chat_id, taking.chat, ())
                return
            result = await self._append(line, taking)
            if result is Appended.DONE:
                return
            if result is Appended.ANSWERED:
                group = await self._answer_repeats(line, group)
            elif result is Appended.LEASE_LIVE:
                assert taking.chat is not None
                _fail(group, NotAllowedNow(taking.chat.status, "the attempt's lease has not ended"))
                return
            else:
                METRICS.conflicts.inc()
                self._lines.forget(line)
            if not group:
                return
        raise Unavailable("the chat changes too fast")

    async def _is_current(self, line: Line) -> bool:
        """Whether the cached state is the stored one (another process may have written); else it is forgotten. An
        append would find out by itself; a refusal or a `nothing to do` has to ask."""
        stored = await self._store.load(line.chat_id)
        if (stored.seq if stored else 0) == (line.chat.seq if line.chat else 0):
            return True
        self._lines.forget(line)
        return False

    async def _append(self, line: Line, taking: Round) -> Appended:
        claimed = self._claim(taking)
        owner_id = taking.chat.owner_id if taking.chat else ""
        append = taking.make_append(f"{self._name}:{next(self._append_count)}", self._notice)
        crash_point("before-append")
        try:
            result = await self._append_known(append)
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
        before = line.chat
        if append.chat.is_deleted and before is not None:
            self.deleted_chats.record(line.chat_id, before, append.chat)
        line.know(append.chat)
        self._lines.remember(line, append.entries)
        self._publish(append, before)
        self.appended.emit(append)
        for job, entries in taking.answers(append.entries):
            _answer(job, line.chat_id, append.chat, entries)
        if claimed:
            self._slots.start(line.chat_id, append.chat)
        elif append.chat.needs_worker:
            self._bus.publish_nowait(WANTED_CHANNEL, line.chat_id.encode())
        return result

    async def _append_known(self, append: Append) -> Appended:
        """Append; when the answer was lost, ask again: the store looks whether it was written."""
        for _ in range(UNKNOWN_TRIES):
            try:
                return await self._store.append(append)
            except OutcomeUnknown:
                METRICS.unknown_outcomes.inc()
                await asyncio.sleep(UNKNOWN_PAUSE_S)
        raise Unavailable("the database did not say whether the change was written")

    def _claim(self, taking: Round) -> bool:
        """Let a free local worker take the turn in the same append: one durable write less."""
        chat = taking.chat
        if chat is None or not chat.needs_worker or not taking.may_claim or taking.at < chat.retrying_at:
            return False
        instance_id = self._slots.reserve_nowait(chat.owner_id)
        if instance_id is None:
            return False
        taking.advance(c.StartAttempt(instance_id=instance_id))
        return True

    def _publish(self, append: Append, before: Chat | None) -> None:
        """Tell who watches the chat and who lists its owner's, if anybody may."""
        chat_id, chat = append.chat_id, append.chat
        channel = stream_channel(chat_id)
        if self._bus.has_subscribers(channel):
            message = stream_message(before, append.entries, chat)
            self._bus.publish_nowait(channel, codec.encode(message))
        channel = owner_channel(chat.owner_id)
        if self._bus.has_subscribers(channel):
            for kind in event_kinds(append.entries):
                self._bus.publish_nowait(
                    channel, encode_chat_event(kind, chat_id, self.deleted_chats.get(chat_id, chat))
                )

    # --- repeats

    async def _refuse(self, line: Line, refused: Sequence[tuple[Job, Exception]]) -> None:
        """A repeat is answered before any rule may refuse it."""
        new = await self._answer_repeats(line, [job for job, _ in refused])
        for job, error in refused:
            if job in new:
                _fail([job], error)

    async def _answer_repeats(self, line: Line, jobs: Sequence[Job]) -> list[Job]:
        """Answer those of `jobs` that are repeats; the others."""
        client_ids = [job.request.client_id for job in jobs if job.request is not None]
        receipts = await self._store.read_receipts(line.chat_id, client_ids) if client_ids else {}
        chat = line.chat or (await self._store.load(line.chat_id) if receipts else None)
        new = []
        for job in jobs:
            receipt = receipts.get(job.request.client_id) if job.request is not None else None
            if receipt is None or job.request is None:
                new.append(job)
            elif receipt.body_hash != job.request.body_hash:
                _fail([job], Conflict("chat id" if not job.request.client_id else "client_message_id"))
            else:
                _answer(job, line.chat_id, chat, (first_answer(receipt, job),), is_repeat=True)
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
