"""One round of the command loop: the jobs that are decided on one state, and the append that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog

from antiphon.budgets import Budgets
from antiphon.chats.command_queue import Job
from antiphon.chats.counting import sends_of_append, usage_of_append
from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.chat import advance
from antiphon.core.model import Chat, Status
from antiphon.errors import Conflict, Refused
from antiphon.observe.metrics import METRICS
from antiphon.ports import Append, Drop, Ended, Grant, Notification, Receipt, Store
from antiphon.tracebacks import traceback_of
from antiphon.wire.log import decode_fact, encode_fact

log = structlog.get_logger(__name__)


class AppendBatch:
    """Decides jobs one after another on the same state and collects their facts.

    `accepted` jobs are answered by the append (each with the range of its entries), `refused` ones with their error,
    and `deferred` ones go back to the head of the queue: they cannot share this append.
    """

    def __init__(self, chat: Chat | None, store: Store, chat_id: str) -> None:
        self.chat = chat
        self.at = store.clock.now_us()
        self.entries: list[f.Entry] = []
        self.accepted: list[tuple[Job, tuple[int, int]]] = []
        self.refused: list[tuple[Job, Refused | AssertionError]] = []
        self.deferred: list[Job] = []
        self.may_claim = True
        """Whether a worker of this process may claim the turn in the same append."""
        self._before = chat
        self._store = store
        self._chat_id = chat_id

    async def decide(self, group: list[Job]) -> None:
        """Decide the jobs in order, up to one that needs an append of its own or changes the lease."""
        client_ids: set[str] = set()
        for i, job in enumerate(group):
            if job.future.cancelled():
                continue
            repeats = job.request is not None and job.request.client_id in client_ids
            if self.entries and (repeats or any(isinstance(command, _MUST_BE_FIRST) for command in job.commands)):
                self.deferred = group[i:]
                return
            if not await self._decide_one(job) and self.entries:
                self.deferred = group[i:]  # only a durable state may be the reason of a refusal
                return
            if job.request is not None:
                client_ids.add(job.request.client_id)
            if self._lease_changed():
                self.deferred = group[i + 1 :]
                return

    async def _decide_one(self, job: Job) -> bool:
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
                log.error("broken_invariant", chat_id=self._chat_id, exception=traceback_of(error))
            self.chat = chat
            del self.entries[start:]
            if not start:
                self.refused.append((job, error))
            return False
        self.accepted.append((job, (start, len(self.entries))))
        return True

    @property
    def has_answers_without_append(self) -> bool:
        """Whether a job is refused, or is accepted without a fact."""
        return bool(self.refused) or (bool(self.accepted) and not self.entries)

    def advance(self, command: c.Command) -> None:
        """Decide one command on the state so far, and add its facts."""
        self.chat, entries = advance(self.chat, command, at=self.at)
        self.entries.extend(entries)

    async def _with_evidence(self, command: c.Command) -> c.Command:
        """Add what a rule needs from the log beyond the state, read from the store."""
        if isinstance(command, c.MAY_END_TURN) and self.chat and (seq := self.chat.beginning_seq):
            # the fact is stored: one that leaves a beginning changes the lease, which ends the group
            found = await self._store.read_contents(self._chat_id, [seq])
            command = msgspec.structs.replace(command, unfinished=found.get(seq, b""))
        if isinstance(command, c.EditMessage):
            role = await self._store.message_role(self._chat_id, command.message_id)
            state_seq = await self._state_before(command.message_id)
            return msgspec.structs.replace(command, target=role, state_seq=state_seq)
        if isinstance(command, c.Retry) and self.chat:
            return msgspec.structs.replace(command, state_seq=await self._state_before(self.chat.answer_id))
        if isinstance(command, c.QueueCommand) and self.chat and self.chat.queued(command.queued_id) is None:
            fate = await self._store.queued_fate(self._chat_id, command.queued_id)
            evidence = {"was_delivered": fate == "delivered"}
            if isinstance(command, c.DeleteQueued):
                evidence["existed"] = fate is not None
            return msgspec.structs.replace(command, **evidence)
        return command

    async def _state_before(self, message_id: int) -> int:
        """The fact of the agent's state before a visible message: what the first change after it has replaced. (A
        truncation in between goes back to a message after this one, and so to the same state or a later one.)"""
        if self.chat is None or not 0 < message_id <= self.chat.state_seq:
            return 0
        entry = await self._store.oldest_entry(self._chat_id, "state_changed", after_seq=message_id)
        return entry.fact.before if entry is not None and isinstance(entry.fact, f.StateChanged) else 0

    def _lease_changed(self) -> bool:
        return (self._before.attempt if self._before else 0) != (self.chat.attempt if self.chat else 0)

    # --- the append

    def make_append(
        self,
        append_id: str,
        make_notification: Callable[[str, Chat, Sequence[f.Entry]], Notification | None],
        budgets: Budgets,
    ) -> Append:
        """The append of all accepted jobs, with their receipts, the change of the lease, their usage and
        the count of what they send."""
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
            notification=make_notification(self._chat_id, self.chat, self.entries),
            usage=usage_of_append(self.chat.owner_id, self.entries),
            sends=sends_of_append(self.chat.owner_id, self.entries, budgets),
        )

    def _entries(self) -> tuple[f.Entry, ...]:
        *others, last = self.entries
        return (*(msgspec.structs.replace(entry, more=True) for entry in others), last)

    def _receipts(self) -> tuple[Receipt, ...]:
        receipts = []
        for job, (start, end) in self.accepted:
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
        if any(_is_lease_expiry(command, before) for job, _ in self.accepted for command in job.commands):
            return Ended(attempt=before)
        return Drop()

    def answers(self, entries: Sequence[f.Entry]) -> list[tuple[Job, tuple[f.Entry, ...]]]:
        """Each accepted job with its own entries."""
        return [(job, tuple(entries[start:end])) for job, (start, end) in self.accepted]


_MUST_BE_FIRST = (c.EditMessage, c.Retry, c.QueueCommand, c.ExpireAttempt)
"""Commands that need the stored state: they depend on the log beyond it, or on its lease."""


def _is_lease_expiry(command: c.Command, attempt: int) -> bool:
    return isinstance(command, c.ExpireAttempt) and command.reason == "lease" and command.attempt == attempt


def _answering(entries: Sequence[f.Entry]) -> f.Entry | None:
    """The fact that answers a send: its appended or queued message (of a new chat: the creation); without one, the
    first answer to an open call, or the restart of a turn."""
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, f.ChatCreated | f.MessageQueued):
            return entry
        if isinstance(fact, f.MessageAppended) and not fact.queued_id:
            return entry
    return next((entry for entry in entries if isinstance(entry.fact, f.ActionResolved | f.TurnRestarted)), None)


def first_answer(receipt: Receipt, job: Job) -> f.Entry:
    """The entry of the first answer. Its content is taken from the repeat, which has the same hash."""
    stored = msgspec.json.decode(receipt.answer, type=dict[str, msgspec.Raw])
    fact = decode_fact(bytes(stored["fact"]))
    recorded = f.Recorded(int(bytes(stored["seq"])), int(bytes(stored["at"])), fact)
    content = next((command.content for command in job.commands if isinstance(command, c.SendMessage)), None)
    return f.Entry(recorded=recorded, status=Status.RUNNING, draft=0, content=content)
