"""One round of the loop: the jobs taken on one state, and the append they make together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog

from antiphon.chats.command_queue import Job
from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.chat import advance
from antiphon.core.model import Chat, Status
from antiphon.errors import Conflict, Refused
from antiphon.observe.metrics import METRICS
from antiphon.ports import Append, Drop, Ended, Grant, Notification, Receipt, Store
from antiphon.wire.log import decode_fact, encode_fact

log = structlog.get_logger(__name__)


class Round:
    """One round of the loop: the jobs taken on one state, and the facts they made."""

    def __init__(self, chat: Chat | None, store: Store, chat_id: str) -> None:
        self.chat = chat
        self.at = store.clock.now_us()
        self.entries: list[f.Entry] = []
        self.taken: list[tuple[Job, tuple[int, int]]] = []
        self.refused: list[tuple[Job, Refused | AssertionError]] = []
        self.left: list[Job] = []
        self.may_claim = True
        self._before = chat
        self._store = store
        self._chat_id = chat_id

    async def take(self, group: list[Job]) -> None:
        """Advance the jobs one after another, up to one that must stand alone or changes the lease."""
        client_ids: set[str] = set()
        for i, job in enumerate(group):
            if job.future.cancelled():
                continue
            repeats = job.request is not None and job.request.client_id in client_ids
            if self.entries and (repeats or any(isinstance(command, _STANDS_FIRST) for command in job.commands)):
                self.left = group[i:]
                return
            if not await self._take_one(job) and self.entries:
                self.left = group[i:]  # it may be refused only for what is durable
                return
            if job.request is not None:
                client_ids.add(job.request.client_id)
            if self._lease_changed():
                self.left = group[i + 1 :]
                return

    async def _take_one(self, job: Job) -> bool:
        chat, start = self.chat, len(self.entries)
        try:
            for command in job.commands:
                if isinstance(command, c.CreateChat) and self.chat is not None:
                    raise Conflict("chat id")
                self.advance(await self._with_evidence(command))
                if isinstance(command, c.ExpireAttempt):
                    self.may_claim = False
        except (Refused, AssertionError) as error:
            if isinstance(error, AssertionError):
                METRICS.unexpected.labels("broken_invariant").inc()
                log.error("broken_invariant", chat_id=self._chat_id, exc_info=error)
            self.chat = chat
            del self.entries[start:]
            if not start:
                self.refused.append((job, error))
            return False
        self.taken.append((job, (start, len(self.entries))))
        return True

    @property
    def has_answers_without_append(self) -> bool:
        return bool(self.refused) or (bool(self.taken) and not self.entries)

    def advance(self, command: c.Command) -> None:
        self.chat, entries = advance(self.chat, command, at=self.at)
        self.entries.extend(entries)

    async def _with_evidence(self, command: c.Command) -> c.Command:
        """What a rule needs to know of the log beyond the state, looked up at the state it is decided on."""
        if isinstance(command, c.EditMessage):
            role = await self._store.message_role(self._chat_id, command.message_id)
            return msgspec.structs.replace(command, target=role)
        if isinstance(command, c.QueueCommand) and self.chat and self.chat.queued(command.queued_id) is None:
            fate = await self._store.queued_fate(self._chat_id, command.queued_id)
            evidence = {"was_delivered": fate == "delivered"}
            if isinstance(command, c.DeleteQueued):
                evidence["existed"] = fate is not None
            return msgspec.structs.replace(command, **evidence)
        return command

    def _lease_changed(self) -> bool:
        return (self._before.attempt if self._before else 0) != (self.chat.attempt if self.chat else 0)

    # --- the append

    def make_append(
        self, append_id: str, notice: Callable[[str, Chat, Sequence[f.Entry]], Notification | None]
    ) -> Append:
        assert self.chat is not None
        assert self.entries
        contents = {entry.seq: entry.content for entry in self.entries if entry.content is not None}
        return Append(
            chat_id=self._chat_id,
            after_seq=self._before.seq if self._before else 0,
            append_id=append_id,
            entries=self._entries(),
            contents=contents,
            chat=self.chat,
            receipts=self._receipts(),
            lease=self._lease(),
            notification=notice(self._chat_id, self.chat, self.entries),
        )

    def _entries(self) -> tuple[f.Entry, ...]:
        *others, last = self.entries
        return (*(msgspec.structs.replace(entry, more=True) for entry in others), last)

    def _receipts(self) -> tuple[Receipt, ...]:
        receipts = []
        for job, (start, end) in self.taken:
            answer = _answering(self.entries[start:end])
            if job.request is not None and answer is not None:
                body = b'{"seq":%d,"at":%d,"fact":%b}' % (answer.seq, answer.recorded.at, encode_fact(answer.fact))
                request = job.request
                receipts.append(Receipt(client_id=request.client_id, body_hash=request.body_hash, answer=body))
        return tuple(receipts)

    def _lease(self) -> Grant | Drop | Ended | None:
        before = self._before.attempt if self._before else 0
        assert self.chat is not None
        if before == self.chat.attempt:
            return None
        if self.chat.attempt:
            return Grant(attempt=self.chat.attempt, instance_id=self.chat.holder)
        if any(_is_lease_expiry(command, before) for job, _ in self.taken for command in job.commands):
            return Ended(attempt=before)
        return Drop()

    def answers(self, entries: Sequence[f.Entry]) -> list[tuple[Job, tuple[f.Entry, ...]]]:
        return [(job, tuple(entries[start:end])) for job, (start, end) in self.taken]


_STANDS_FIRST = (c.EditMessage, c.QueueCommand, c.ExpireAttempt)
"""Commands that are decided on a stored state: by what the log says beyond it, or by its lease."""


def _is_lease_expiry(command: c.Command, attempt: int) -> bool:
    return isinstance(command, c.ExpireAttempt) and command.reason == "lease" and command.attempt == attempt


def _answering(entries: Sequence[f.Entry]) -> f.Entry | None:
    """The fact a send is answered with: the message it appended or queued (a created chat: its creation)."""
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, f.ChatCreated | f.MessageQueued):
            return entry
        if isinstance(fact, f.MessageAppended) and not fact.queued_id:
            return entry
    return None


def first_answer(receipt: Receipt, job: Job) -> f.Entry:
    """The entry of the first answer; its content is the repeat's own, which has the same hash."""
    stored = msgspec.json.decode(receipt.answer, type=dict[str, msgspec.Raw])
    fact = decode_fact(bytes(stored["fact"]))
    recorded = f.Recorded(int(bytes(stored["seq"])), int(bytes(stored["at"])), fact)
    content = next((command.content for command in job.commands if isinstance(command, c.SendMessage)), None)
    return f.Entry(recorded=recorded, status=Status.RUNNING, draft=0, content=content)
