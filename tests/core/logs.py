"""Logs as values that a search can compare. The real `advance` extends each, once per command."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.chat import advance
from antiphon.core.evolve import evolve
from antiphon.core.model import Chat, Queued, Status, WhenBusy
from antiphon.core.parts import Role
from antiphon.errors import Refused
from antiphon.wire.log import encode_fact

from .history import T0, words

FIRST_FACE = 0x1F600


def text_of(generation: int, tokens: int) -> str:
    """The text of model call number `generation` after `tokens` tokens of two code points each."""
    return "".join(chr(FIRST_FACE + generation) + "abcdef"[i] for i in range(tokens))


def generation_of(text: str) -> int:
    return ord(text[0]) - FIRST_FACE


@cache
def text_in(content: bytes) -> str:
    return content.decode()[len('[{"type":"text","text":"') : -len('"}]')]


class Log:
    """The facts of a chat, and what the invariants need of them. `bad` names the first broken invariant."""

    __slots__ = (
        "answered",
        "attempts",
        "bad",
        "chat",
        "drafts",
        "entries",
        "generations",
        "idents",
        "lost",
        "next",
        "removed",
        "truncations",
        "visible",
    )

    def __init__(self, chat: Chat | None) -> None:
        self.chat: Any = chat
        self.entries: tuple[f.Entry, ...] = ()
        self.drafts: tuple[int, ...] = (0,)
        self.generations: tuple[int, ...] = ()
        self.visible: tuple[tuple[int, Role, str], ...] = ()
        self.idents: frozenset[str] = frozenset()
        self.removed: frozenset[str] = frozenset()
        self.truncations = 0
        self.attempts = 0
        self.lost: frozenset[int] = frozenset()
        self.answered = False
        self.bad = ""
        self.next: dict[tuple[Any, ...], Log | None] = {}

    @property
    def seq(self) -> int:
        return len(self.entries)

    def draft_at(self, seq: int) -> int:
        return self.drafts[seq]

    def places(self, ident: str) -> int:
        """How many times a send is in the visible history or in the queue."""
        waiting = (*self.chat.steering, *self.chat.queue)
        return sum(text == ident for _, _, text in self.visible) + sum(
            item.client_message_id == ident for item in waiting
        )


class Logs:
    """All logs of one search. Two logs with the same facts and the same `lost` are the same object."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool, tuple[bytes, ...]], Log] = {}
        self.count = 0

    def begin(self, *commands: c.Command) -> Log:
        log = Log(None)
        for i, command in enumerate(commands):
            grown = self.step(log, ("begin", i), lambda command=command: command)
            assert grown is not None
            log = grown
        return log

    def step(
        self, log: Log, key: tuple[Any, ...], make: Callable[[], c.Command], *, at: int = T0, lost: bool = False
    ) -> Log | None:
        """The log after the command (the same: no change; None: refused). `key` names the command."""
        if key in log.next:
            return log.next[key]
        try:
            _, entries = advance(log.chat, make(), at=at)
        except Refused:
            grown = None
        except AssertionError as broken:
            grown = self._broken(log, f"ASSERT: {broken}")
        else:
            grown = self._grow(log, entries, lost=lost) if entries else log
        log.next[key] = grown
        return grown

    def _broken(self, log: Log, bad: str) -> Log:
        grown = _copy(log)
        grown.bad = bad
        return grown

    def _grow(self, log: Log, entries: tuple[f.Entry, ...], *, lost: bool) -> Log:
        name = id(log), lost, tuple(encode_fact(entry.fact) + (entry.content or b"") for entry in entries)
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = _copy(log)
            self.count += 1
            for entry in entries:
                _take(known, entry, lost)
            _check(known)
        return known


def _copy(log: Log) -> Log:
    grown = Log(log.chat)
    for name in Log.__slots__:
        if name != "next":
            setattr(grown, name, getattr(log, name))
    return grown


def _take(log: Log, entry: f.Entry, lost: bool) -> None:
    fact, before = entry.fact, log.chat
    log.chat = evolve(before, entry.recorded)
    log.entries += (entry,)
    log.drafts += (entry.draft,)
    if isinstance(fact, f.MessageAppended):
        _take_message(log, entry, fact, before, lost)
    elif isinstance(fact, f.MessageQueued):
        log.idents |= {fact.client_message_id}
    elif isinstance(fact, f.QueuedMessageDeleted):
        log.removed |= {before.queued(fact.queued_id).client_message_id}
    elif isinstance(fact, f.HistoryTruncated):
        log.removed |= {text for seq, role, text in log.visible if seq >= fact.from_message_id and role is Role.USER}
        log.visible = tuple(one for one in log.visible if one[0] < fact.from_message_id)
        log.truncations += 1
        log.answered = False
    elif isinstance(fact, f.AttemptStarted):
        log.attempts += 1
    elif isinstance(fact, f.TurnEnded):
        log.answered = False


def _take_message(log: Log, entry: f.Entry, fact: f.MessageAppended, before: Chat, lost: bool) -> None:
    if fact.role is Role.USER:
        log.answered = False
        text = fact.client_message_id or (text_in(entry.content) if entry.content else "?")
        log.idents |= {fact.client_message_id}
        if fact.queued_id:
            _check_order(log, before, fact.queued_id)
    elif fact.role is Role.ASSISTANT:
        assert entry.content is not None
        text = text_in(entry.content)
        log.generations += (generation_of(text),)
        log.answered = not fact.calls and not fact.interrupted
        if lost:
            log.lost |= {entry.seq}
    else:
        text = fact.resolves
    log.visible += ((entry.seq, fact.role, text),)


def _check_order(log: Log, before: Chat, queued_id: int) -> None:
    item = before.queued(queued_id)
    assert item is not None
    overtaken = [o for o in (*before.steering, *before.queue) if o.id < item.id and _part(o) == _part(item)]
    if overtaken and not log.bad:
        log.bad = "QUEUE: a later message overtakes an earlier one"


def _part(item: Queued) -> tuple[bool, bool]:
    return item.when_busy is WhenBusy.STEER, item.is_promoted


def _check(log: Log) -> None:
    chat = log.chat
    if log.bad:
        return
    if len(set(log.generations)) != len(log.generations):
        log.bad = "DUPLICATE: one model output is committed twice"
    elif any(log.places(ident) > 1 for ident in log.idents if ident):
        log.bad = "ACK-ONCE: one send stands twice in history and queue"
    elif chat.status is Status.RUNNING and not chat.turn_id:
        log.bad = "QUEUE: running without a turn"
    elif chat.status is Status.WAITING and chat.waits:
        log.bad = "QUEUE: waiting although a message waits"


def user(text: str) -> c.CreateChat:
    return c.CreateChat(owner_id="o", content=words(text), client_message_id=text)
