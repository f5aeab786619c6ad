"""A chat with its whole history, checked after every command.

`History` runs commands through the real `advance`. A `Ledger` checks the facts by its own rules, independent of
`evolve`, so that two implementations must agree. A second state folds the facts as decoded from the log
(`wire.log`).
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.chat import advance, fold
from antiphon.core.evolve import evolve
from antiphon.core.model import CallState, Chat, Needs, Outcome, Status, WhenBusy
from antiphon.core.parts import Role
from antiphon.core.transitions import MOVES, TABLE, label
from antiphon.errors import Refused
from antiphon.wire.log import decode_fact, encode_chat, encode_fact

T0 = 1_700_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND


def words(text: str) -> bytes:
    """The content of a message with one text part."""
    return b'[{"type":"text","text":"%b"}]' % text.encode()


def kinds(entries: tuple[f.Entry, ...]) -> tuple[str, ...]:
    """The kinds of the facts as in the contract's table; a message with its role."""
    return tuple(
        f"{f.kind_of(e.fact)}({e.fact.role})" if isinstance(e.fact, f.MessageAppended) else f.kind_of(e.fact)
        for e in entries
    )


class Ledger:
    """The state by the facts, applied one by one. Raises AssertionError at the first impossible fact."""

    def __init__(self) -> None:
        self.seq = 0
        self.draft = 0
        self.turn = 0
        self.attempt = 0
        self.status = ""
        self.visible: list[tuple[int, Role]] = []
        self.hidden: set[int] = set()
        self.open_calls: tuple[str, ...] = ()
        self.results: dict[tuple[int, str], int] = {}
        self.last_answer = 0
        self.left = 0
        """The fact with the beginning that an attempt has left."""
        self.steering: tuple[int, ...] = ()
        self.promoted: tuple[int, ...] = ()
        self.ordinary: tuple[int, ...] = ()
        self.fates: dict[int, str] = {}
        self.is_deleted = False
        self.is_begun = False
        """Whether any attempt has started; before, all answers are a history that the chat was created with."""

    def branch(self) -> Ledger:
        other = object.__new__(Ledger)
        other.__dict__.update(self.__dict__)
        other.visible = list(self.visible)
        other.hidden = set(self.hidden)
        other.results = dict(self.results)
        other.fates = dict(self.fates)
        return other

    @property
    def waiting(self) -> tuple[int, ...]:
        return (*self.steering, *self.promoted, *self.ordinary)

    def role(self, message_id: int) -> Role | None:
        return next((role for seq, role in self.visible if seq == message_id), None)

    def apply(self, entry: f.Entry) -> None:
        fact = entry.fact
        assert entry.seq == self.seq + 1, "facts have no holes"
        assert not self.is_deleted, "nothing happens after the end"
        self.seq = entry.seq
        match fact:
            case f.MessageAppended():
                self._message(entry.seq, fact)
            case f.MessageQueued():
                self._queued(entry.seq, fact.when_busy)
            case f.QueuedMessageEdited():
                assert fact.queued_id in self.waiting
            case f.QueuedMessageDeleted():
                assert fact.queued_id in self.waiting
                self._leaves(fact.queued_id, "deleted")
            case f.QueuedMessagePromoted():
                assert fact.queued_id in self.waiting
                self._leaves(fact.queued_id, "")
                self.promoted = (*self.promoted, fact.queued_id)
            case f.QueueMoved():
                self._moved(fact)
            case f.HistoryTruncated():
                assert not self.attempt, "no attempt holds a chat whose history is truncated"
                self.hidden |= {seq for seq, _ in self.visible if seq >= fact.from_message_id}
                self.visible = [m for m in self.visible if m[0] < fact.from_message_id]
                self.open_calls = ()
                self.left = 0
            case f.AttemptStarted():
                assert not self.attempt, "one attempt at a time"
                self.attempt = entry.seq
                self.is_begun = True
            case f.AttemptReleased() | f.AttemptLost():
                assert fact.attempt == self.attempt != 0
                self.attempt = 0
                self.left = entry.seq if fact.content_size else self.left
            case f.RetryScheduled() | f.InterruptRequested():
                assert self.attempt, "an attempt holds the turn"
            case f.ActionRequired():
                assert self.attempt
                self.attempt = 0
            case f.TurnRestarted():
                assert not self.turn
                self.turn = fact.turn_id
                assert self.role(fact.turn_id) is Role.USER
            case f.TurnEnded():
                assert fact.turn_id == self.turn != 0, "a turn ends once"
                if fact.outcome is not Outcome.REPLACED:
                    assert not self.open_calls, "every call has its result when its turn ends"
                self.turn = self.attempt = self.left = 0
            case f.ChatDeleted():
                self.is_deleted = True
                self.turn = self.attempt = 0
                self.open_calls = self.steering = self.promoted = self.ordinary = ()
        if type(fact) in f.OPENS_DRAFT:
            self.draft = entry.seq
        self.status = entry.status
        assert entry.draft == self.draft, "the open draft is named by the fact that opened it"

    def _message(self, seq: int, fact: f.MessageAppended) -> None:
        if fact.role is Role.USER:
            assert not self.open_calls, "a user message enters history only when no call is open"
            assert fact.closes is None
            assert fact.turn_id == (self.turn or seq)
            self.turn = fact.turn_id
            if fact.queued_id:
                assert fact.queued_id in self.waiting, "each queued message is delivered once"
                picked = self.status == Status.ERROR and fact.queued_id in self.promoted
                assert picked or fact.queued_id == self.waiting[0], "in order: steering, promoted, the rest"
                self._leaves(fact.queued_id, "delivered")
        elif fact.role is Role.ASSISTANT:
            assert not self.open_calls, "the model speaks when every call has its result"
            assert fact.turn_id == self.turn != 0
            if not self.is_begun:
                assert fact.closes is None, "what a chat is created with was no draft"
            elif fact.closes is None:
                assert self.left, "only the beginning that an attempt has left is no draft any more"
                assert fact.interrupted
                assert not fact.calls
            else:
                assert self.attempt, "only an attempt speaks"
                assert fact.closes.draft == self.draft, "it closes the draft that is open"
            self.open_calls = tuple(call.tool_call_id for call in fact.calls)
            self.last_answer = seq
        else:
            assert fact.role is Role.TOOL
            assert fact.turn_id == self.turn != 0
            assert fact.resolves in self.open_calls, "a result answers an open call"
            self.open_calls = tuple(call for call in self.open_calls if call != fact.resolves)
            key = self.last_answer, fact.resolves
            assert key not in self.results, "each call has exactly one result"
            self.results[key] = seq
        self.visible.append((seq, fact.role))
        self.left = 0

    def _queued(self, seq: int, when_busy: WhenBusy) -> None:
        self.fates[seq] = "queued"
        if when_busy is WhenBusy.STEER:
            self.steering = (*self.steering, seq)
        elif when_busy is WhenBusy.INTERRUPT:
            self.promoted = (*self.promoted, seq)
        else:
            self.ordinary = (*self.ordinary, seq)

    def _leaves(self, queued_id: int, fate: str) -> None:
        if fate:
            self.fates[queued_id] = fate
        self.steering = tuple(i for i in self.steering if i != queued_id)
        self.promoted = tuple(i for i in self.promoted if i != queued_id)
        self.ordinary = tuple(i for i in self.ordinary if i != queued_id)

    def _moved(self, fact: f.QueueMoved) -> None:
        for part in ("steering", "promoted", "ordinary"):
            ids = list(getattr(self, part))
            if fact.queued_id in ids:
                ids.remove(fact.queued_id)
                ids.insert(len(ids) if fact.before is None else ids.index(fact.before), fact.queued_id)
                setattr(self, part, tuple(ids))
                return
        raise AssertionError("only a waiting message is moved")


def check_state(chat: Chat) -> None:
    """Check the invariants of a chat between two commands."""
    if chat.is_deleted:
        assert not chat.attempt
        assert not chat.turn_id
        assert not chat.waits
        assert not chat.calls
        return
    states = {call.state for call in chat.calls}
    assert bool(chat.turn_id) == (not chat.is_idle), "busy means a turn"
    assert bool(chat.attempt) == bool(chat.holder)
    assert 1 <= chat.draft <= chat.seq
    assert bool(chat.last_error) == (chat.status is Status.ERROR)
    assert not (chat.is_archived and not chat.is_idle), "an archived chat is idle"
    assert all(item.when_busy is WhenBusy.STEER and not item.is_promoted for item in chat.steering)
    assert [item.is_promoted for item in chat.queue] == sorted((i.is_promoted for i in chat.queue), reverse=True)
    assert len({call.tool_call_id for call in chat.calls}) == len(chat.calls)
    for call in chat.calls:
        assert (call.state is not CallState.AWAITING) or call.needs is not Needs.SERVER
        assert (call.state is not CallState.APPROVED) or call.needs is Needs.APPROVAL
        assert call.needs is not Needs.RESULT or call.state is CallState.AWAITING, (
            "the server never runs a client's call"
        )
    match chat.status:
        case Status.WAITING:
            assert not chat.waits, "a waiting chat has an empty queue"
            assert not chat.attempt
            assert not chat.calls
        case Status.ERROR:
            assert not chat.attempt
            assert not chat.calls
        case Status.RUNNING:
            if chat.attempt:
                assert states <= {CallState.BEGUN, CallState.AWAITING}
        case Status.INTERRUPTING:
            assert chat.attempt, "a turn without a holder ends at once"
        case Status.REQUIRES_ACTION:
            assert not chat.attempt
            assert CallState.AWAITING in states
            assert CallState.BEGUN not in states
            assert chat.deadline


class History:
    """`do` advances the chat by a command and checks it; `kinds` are the kinds of its facts. Refusals are raised."""

    def __init__(self, cells: set[tuple[Status, str]] | None = None) -> None:
        self.at = T0
        self.entries: tuple[f.Entry, ...] = ()
        self.ledger = Ledger()
        self.cells: set[tuple[Status, str]] = set() if cells is None else cells
        self._chat: Chat | None = None
        self._folded: Chat | None = None
        self._encoded: bytes | None = None
        """The chat as it was when a command made it: no later command may change it."""

    @property
    def chat(self) -> Chat:
        assert self._chat is not None
        return self._chat

    def branch(self) -> History:
        other = object.__new__(History)
        other.__dict__.update(self.__dict__)
        other.ledger = self.ledger.branch()
        return other

    def do(self, command: c.Command, *, wait: int = 0) -> tuple[str, ...]:
        self.at += wait
        if isinstance(command, c.MAY_END_TURN) and self._chat is not None and self._chat.beginning_seq:
            command = replace(command, unfinished=self.entries[self._chat.beginning_seq - 1].content or b"")
        try:
            after, entries = advance(self._chat, command, at=self.at)
        except Refused:
            assert self._encode() == self._encoded, "a refusal changes nothing"
            raise
        assert self._encode() == self._encoded, "values do not change"
        for entry in entries:
            self._take(entry)
        assert after == self._folded, "the fold of the stored facts is the state"
        if not entries:
            assert after is self._chat, "without a fact nothing changes"
        if after is not self._chat:
            self._chat = after
            self._encoded = self._encode()
        self.entries += entries
        check_state(after)
        self._compare()
        return kinds(entries)

    def _encode(self) -> bytes | None:
        return None if self._chat is None else encode_chat(self._chat)

    def _take(self, entry: f.Entry) -> None:
        recorded = f.Recorded(entry.seq, entry.recorded.at, decode_fact(encode_fact(entry.fact)))
        assert entry.recorded.at == self.at
        assert not entry.more
        if self._folded is not None and type(entry.fact) in MOVES:
            cell = self._folded.status, label(self._folded, entry.fact)
            assert TABLE[cell] is entry.status
            self.cells.add(cell)
        self._folded = evolve(self._folded, recorded)
        assert entry.status is self._folded.status
        assert entry.draft == self._folded.draft
        self.ledger.apply(entry)

    def _compare(self) -> None:
        chat, ledger = self.chat, self.ledger
        assert (chat.seq, chat.draft, chat.attempt, chat.turn_id) == (
            ledger.seq,
            ledger.draft,
            ledger.attempt,
            ledger.turn,
        )
        assert tuple(item.id for item in chat.steering) == ledger.steering
        assert tuple(item.id for item in chat.queue) == (*ledger.promoted, *ledger.ordinary)
        assert tuple(item.id for item in chat.queue if item.is_promoted) == ledger.promoted
        assert tuple(call.tool_call_id for call in chat.calls) == ledger.open_calls

    def check_fold(self) -> None:
        """Fold all facts from the beginning, as decoded from the log."""
        stored = [(e.seq, e.recorded.at, encode_fact(e.fact)) for e in self.entries]
        assert fold(f.Recorded(seq, at, decode_fact(body)) for seq, at, body in stored) == self.chat
        assert [seq for seq, _, _ in stored] == list(range(1, len(stored) + 1))
        waits = {seq for seq, fate in self.ledger.fates.items() if fate == "queued"}
        assert waits == set(self.ledger.waiting) or self.chat.is_deleted, "no queued message is lost"

    # --- evidence that the service looks up before a command is decided

    def evidence(self, queued_id: int) -> dict[str, Any]:
        fate = self.ledger.fates.get(queued_id)
        return {"queued_id": queued_id, "was_delivered": fate == "delivered"}

    # --- shortcuts

    def start(self) -> tuple[str, ...]:
        return self.do(c.StartAttempt(instance_id="i1"))

    def send(self, text: str, when_busy: str = "queue", **more: Any) -> tuple[str, ...]:
        return self.do(c.SendMessage(content=words(text), when_busy=WhenBusy(when_busy), **more))

    def commit(self, text: str = "answer", *calls: f.CallOpened, is_last: bool | None = None) -> tuple[str, ...]:
        return self.do(
            c.CommitMessage(
                attempt=self.chat.attempt,
                draft=self.chat.draft,
                content=words(text),
                upto=len(text),
                calls=calls,
                is_last=not calls if is_last is None else is_last,
            )
        )

    def result(self, tool_call_id: str) -> tuple[str, ...]:
        return self.do(
            c.CommitToolResult(attempt=self.chat.attempt, tool_call_id=tool_call_id, content=words("result"))
        )

    def require_action(self) -> tuple[str, ...]:
        needed = tuple(
            f.ActionNeeded(tool_call_id=call.tool_call_id, tool_name=call.tool_name, args={}, needs=call.needs)
            for call in self.chat.calls
        )
        return self.do(
            c.RequireAction(attempt=self.chat.attempt, draft=self.chat.draft, calls=needed, deadline=self.at + HOUR)
        )

    def interrupt(self, **more: Any) -> tuple[str, ...]:
        return self.do(c.Interrupt(turn_id=self.chat.turn_id, **more))
