"""A model of everything around a chat: workers that crash, freeze and continue, a lease that expires at any time, a
channel that loses, repeats and reorders deltas, a watcher that disconnects and resumes by its cursor, lost answers.

An explicit-state search over the real `advance`, `Draft` and `View`; everything around them is a small model here.
Every step of `successors` is one possible next event. Each rule of the model is in `Rules` and can be disabled, to
show which invariant needs it. Rules of the core are disabled by patching it (test_model_scenes).

A published delta may reach the watcher at any later time, any number of times, alone or merged with earlier ones, or
never. This covers loss, repetition, reordering and merging.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any, NamedTuple

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.draft import Draft
from antiphon.core.events import Delta, OpenDraft, Resync
from antiphon.core.model import ErrorInfo, Status, WhenBusy
from antiphon.core.parts import Role, Text
from antiphon.core.view import View
from antiphon.core.workers import INTERRUPT_GRACE_US
from antiphon.errors import PeerError
from antiphon.wire.stream import decode_event, delta_frame, fact_frame

from .history import T0, words
from .logs import Log, Logs, generation_of, text_in, text_of, user

TOKEN = 2
"""Code points of one token: the length of its delta."""


class Rules(NamedTuple):
    """The guarantees of the shells around the core; True: in force."""

    after_seq: bool = True
    """An append is accepted only when `after_seq` is the last seq."""
    receipts: bool = True
    receipt_first: bool = True
    unknown_is_queried: bool = True
    """An unknown outcome is resolved by querying the append_id, not by deciding again."""
    atomic_finish: bool = True
    lease_in_append: bool = True
    flush_guard: bool = True
    cursor_keeps_position: bool = True
    future_position_waits: bool = True
    flush_from_any_position: bool = True
    drop_stale: bool = True
    facts_first: bool = True
    no_gap: bool = True
    no_repeat: bool = True
    cut_overlaps: bool = True
    clear_preview: bool = True
    keep: bool = False
    """`on_worker_lost="keep"`: an option, not a rule."""


class Scene(NamedTuple):
    """The events of a search, and the maximum number of each."""

    tokens: int = 2
    log_max: int = 9
    attempts: int = 2
    workers: int = 2
    sends: tuple[tuple[str, str], ...] = ()
    edit: int = 0
    interrupt: int = 0
    title: int = 0
    retry: int = 0
    final: int = 0
    tool: int = 0
    crash: int = 1
    freeze: int = 1
    unknown: int = 0
    drops: int = 0
    release: int = 0
    watch: bool = False
    flush: bool = True
    holder_is_local: bool = True
    two_phase: bool = False
    lease_ends: bool = True


BUDGETS = ("edit", "interrupt", "title", "retry", "final", "tool", "crash", "freeze", "unknown", "drops", "release")
PLACE = {name: i for i, name in enumerate(BUDGETS)}


class Worker(NamedTuple):
    """Its attempt, the draft that it writes, its model call (generation) and the number of tokens so far.

    `phase`: says, tools, finish (the answer is committed, the turn not ended), unknown (an answer was lost).
    """

    attempt: int
    draft: int
    generation: int
    said: int
    phase: str
    is_frozen: bool
    truncations: int
    pending: Any = None


class Watcher(NamedTuple):
    """The position of the server's side; the cursor and the preview of the client."""

    seq: int
    position: int
    cursor_seq: int
    cursor_position: int
    text: str
    is_on: bool


class State(NamedTuple):
    log: Log
    published: frozenset[tuple[int, int, int]]
    flushed: frozenset[tuple[int, int, int]]
    workers: tuple[Worker | None, ...]
    lease: tuple[int, bool]
    generation: int
    watcher: Watcher | None
    sends: tuple[int, ...]
    pending_stop: int
    budget: tuple[int, ...]
    bad: str


Step = tuple[str, State]


class World:
    """One search: a scene under rules."""

    def __init__(self, scene: Scene, rules: Rules) -> None:
        self.scene = scene
        self.rules = rules
        self.logs = Logs()
        self._seen_events: dict[Any, Any] = {}

    def start(self) -> State:
        log = self.logs.begin(user("m0"))
        watcher = Watcher(2, 0, 2, 0, "", True) if self.scene.watch else None
        return State(
            log=log,
            published=frozenset(),
            flushed=frozenset(),
            workers=(None,) * self.scene.workers,
            lease=(0, False),
            generation=0,
            watcher=watcher,
            sends=(0,) * len(self.scene.sends),
            pending_stop=0,
            budget=tuple(getattr(self.scene, name) for name in BUDGETS),
            bad="",
        )

    def successors(self, state: State) -> Iterator[Step]:
        yield from self._people(state)
        for i, worker in enumerate(state.workers):
            if worker is None:
                yield from self._claims(state, i)
            else:
                yield from self._worker(state, i, worker)
        yield from self._leases(state)
        if state.watcher is not None:
            yield from self._watch(state, state.watcher)

    # --- the store

    def append(self, state: State, log: Log | None, **changes: Any) -> State | None:
        """The state after an append; None if it was refused or exceeds the scene's bounds."""
        if log is None or log.seq > self.scene.log_max:
            return None
        before, after = state.log.chat, log.chat
        lease, flushed = state.lease, state.flushed
        if self.rules.lease_in_append and after.attempt != before.attempt:
            lease = (after.attempt, bool(after.attempt))
        if after.draft != before.draft:
            flushed = frozenset(one for one in flushed if one[0] == after.draft)
        bad = state.bad or log.bad
        changed = {"log": log, "lease": lease, "flushed": flushed} | changes
        grown = state._replace(**changed)
        return grown._replace(bad=grown.bad or bad)

    def spend(self, state: State, name: str) -> tuple[int, ...] | None:
        place = PLACE[name]
        left = state.budget[place]
        return (*state.budget[:place], left - 1, *state.budget[place + 1 :]) if left else None

    # --- people

    def _people(self, state: State) -> Iterator[Step]:
        for n, (ident, mode) in enumerate(self.scene.sends):
            yield from self._send(state, n, ident, mode)
        yield from self._stop(state)
        budget = self.spend(state, "edit")
        if budget is not None:
            seq = state.log.visible[0][0]
            edit = c.EditMessage(message_id=seq, content=words("m0'"), target=Role.USER)
            grown = self.append(state, self.logs.step(state.log, ("edit", seq), lambda: edit), budget=budget)
            if grown is not None:
                yield "edit", grown
        budget = self.spend(state, "title")
        if budget is not None:
            log = self.logs.step(state.log, ("title",), lambda: c.Rename(title="t"))
            grown = self.append(state, log, budget=budget)
            if grown is not None:
                yield "title", grown
        if state.log.chat.status is Status.ERROR:
            grown = self.append(state, self.logs.step(state.log, ("retry",), c.Retry))
            if grown is not None:
                yield "person retries", grown

    def _send(self, state: State, n: int, ident: str, mode: str) -> Iterator[Step]:
        answered = state.sends[n]
        known = self.rules.receipts and ident in state.log.idents
        content = words(ident)
        log = self.logs.step(
            state.log,
            ("send", ident),
            lambda: c.SendMessage(content=content, when_busy=WhenBusy(mode), client_message_id=ident),
        )
        if answered == 2:
            if mode == "reject" and log is None and not (known and self.rules.receipt_first):
                yield f"{ident} again", state._replace(bad="ACK-ONCE: a repeat of an acknowledged send is refused")
            return
        if known and answered == 1:
            yield f"resend {ident}: the first receipt", self._acknowledge(state, n, 2)
            return
        grown = self.append(state, log)
        if grown is None:
            return
        yield f"send {ident} {mode}", self._acknowledge(grown, n, 2)
        budget = self.spend(state, "unknown")
        if budget is not None and not answered:
            yield f"send {ident}, answer lost", self._acknowledge(grown, n, 1)._replace(budget=budget)

    def _acknowledge(self, state: State, n: int, answer: int) -> State:
        ident = self.scene.sends[n][0]
        is_lost = answer == 2 and not state.log.places(ident) and ident not in state.log.removed
        bad = state.bad or ("ACK-ONCE: an acknowledged send is nowhere" if is_lost else "")
        return state._replace(sends=(*state.sends[:n], answer, *state.sends[n + 1 :]), bad=bad)

    def _stop(self, state: State) -> Iterator[Step]:
        chat = state.log.chat
        budget = self.spend(state, "interrupt")
        if budget is not None and chat.turn_id and not state.pending_stop:
            yield "person decides to stop", state._replace(budget=budget, pending_stop=chat.turn_id)
        turn_id = state.pending_stop
        if not turn_id:
            return
        log = self.logs.step(state.log, ("stop", turn_id), lambda: c.Interrupt(turn_id=turn_id))
        bad = ""
        if log is not state.log and chat.turn_id != turn_id:
            bad = f"INTERRUPT: meant turn {turn_id}, hit turn {chat.turn_id}"
        grown = self.append(state, log, pending_stop=0, bad=state.bad or bad)
        if grown is None:
            return
        yield "interrupt", grown
        budget = self.spend(state, "unknown")
        if budget is not None and log is not state.log:
            yield "interrupt, answer lost", grown._replace(pending_stop=turn_id, budget=budget)

    # --- workers

    def _claims(self, state: State, i: int) -> Iterator[Step]:
        log = state.log
        if not log.chat.needs_worker or log.attempts >= self.scene.attempts:
            return
        if not self.rules.lease_in_append and state.lease[1]:
            return
        bad = "ANSWERED TWICE: the model is called on a turn whose answer is committed" if log.answered else ""
        grown_log = self.logs.step(log, ("start",), lambda: c.StartAttempt(instance_id="i"))
        grown = self.append(state, grown_log, generation=state.generation + 1, bad=state.bad or bad)
        if grown is None:
            return
        chat = grown.log.chat
        phase = "tools" if chat.calls else "says"
        worker = Worker(chat.attempt, chat.draft, state.generation + 1, 0, phase, False, log.truncations)
        yield f"w{i} claims", self._with(grown, i, worker)._replace(lease=(chat.attempt, True))

    def _with(self, state: State, i: int, worker: Worker | None) -> State:
        return state._replace(workers=(*state.workers[:i], worker, *state.workers[i + 1 :]))

    def _worker(self, state: State, i: int, worker: Worker) -> Iterator[Step]:
        chat = state.log.chat
        budget = self.spend(state, "crash")
        if budget is not None:
            yield f"w{i} crash", self._with(state, i, None)._replace(budget=budget)
        if worker.is_frozen:
            yield f"w{i} thaws", self._with(state, i, worker._replace(is_frozen=False))
            return
        budget = self.spend(state, "freeze")
        if budget is not None:
            yield f"w{i} freezes", self._with(state, i, worker._replace(is_frozen=True))._replace(budget=budget)
        has_ended = chat.attempt != worker.attempt
        if has_ended and worker.phase != "unknown":
            yield f"w{i} notices that its attempt has ended", self._with(state, i, None)
        if state.lease == (worker.attempt, False) and not (has_ended and self.rules.lease_in_append):
            yield f"w{i} renews", state._replace(lease=(worker.attempt, True))
        if worker.phase == "unknown":
            yield from self._query_append(state, i, worker)
        elif worker.phase == "tools":
            yield from self._tools(state, i, worker)
        elif worker.phase == "finish":
            yield from self._try(state, i, worker, ("finish", worker.attempt, chat.draft, 0, 0))
        else:
            yield from self._says(state, i, worker)

    def _says(self, state: State, i: int, worker: Worker) -> Iterator[Step]:
        if worker.said < self.scene.tokens:
            more = worker._replace(said=worker.said + 1)
            token = (worker.draft, worker.said + 1, worker.generation)
            yield f"w{i} says", self._with(state, i, more)._replace(published=state.published | {token})
        yield from self._flush(state, i, worker)
        fence = (worker.attempt, worker.draft, worker.generation, worker.said)
        if worker.said == self.scene.tokens:
            yield from self._try(state, i, worker, ("commit", *fence))
            yield from self._try(state, i, worker, ("call", *fence), "tool")
        if state.log.chat.status is Status.INTERRUPTING:
            yield from self._try(state, i, worker, ("stop", *fence))
        yield from self._try(state, i, worker, ("fail", *fence), "retry")
        yield from self._try(state, i, worker, ("fail for good", *fence), "final")
        yield from self._try(state, i, worker, ("release", *fence), "release")

    def _flush(self, state: State, i: int, worker: Worker) -> Iterator[Step]:
        row = (worker.draft, worker.generation, worker.said)
        is_open = state.log.chat.draft == worker.draft
        if not self.scene.flush or not worker.said or row in state.flushed:
            return
        if is_open or not self.rules.flush_guard:
            bad = "" if is_open else "NO-LEAK: a draft is flushed after its end, and nothing removes it"
            others = frozenset(one for one in state.flushed if one[0] != worker.draft)
            yield f"w{i} flushes", state._replace(flushed=others | {row}, bad=state.bad or bad)

    def _tools(self, state: State, i: int, worker: Worker) -> Iterator[Step]:
        for call in state.log.chat.calls:
            key = ("result", worker.attempt, worker.draft, worker.generation, call.tool_call_id)
            yield from self._try(state, i, worker, key)
        if state.log.chat.status is Status.INTERRUPTING:
            yield from self._try(
                state, i, worker, ("stop", worker.attempt, state.log.chat.draft, worker.generation, 0)
            )

    def _try(self, state: State, i: int, worker: Worker, key: tuple[Any, ...], cost: str = "") -> Iterator[Step]:
        """Decide a worker's command and append it, in one step or in two."""
        budget = self.spend(state, cost) if cost else state.budget
        if budget is None:
            return
        if self.scene.two_phase and worker.pending is None:
            log = self.logs.step(state.log, key, lambda: self._command(key))
            if log is not None and log is not state.log:
                decided = worker._replace(pending=(key, state.log, log))
                yield f"w{i} decides {key[0]}", self._with(state, i, decided)
            return
        if self.scene.two_phase:
            if worker.pending[0] != key:
                return
            if state.log is not worker.pending[1]:
                if not self.rules.after_seq:
                    yield f"w{i} {key[0]}", state._replace(bad="LOG: facts decided on an older state are appended")
                yield f"w{i} conflict: loads again", self._with(state, i, worker._replace(pending=None))
                return
        log = self.logs.step(state.log, key, lambda: self._command(key))
        if log is None or log is state.log:
            return
        bad = self._ghost(state.log, log, worker, key)
        grown = self.append(state, log, budget=budget, bad=state.bad or bad)
        if grown is None:
            return
        after, generation = self._after(log, worker, key, state.generation)
        grown = grown._replace(generation=generation)
        yield f"w{i} {key[0]}", self._with(grown, i, after)
        unknown = self.spend(state, "unknown")
        if unknown is None or key[0] not in ("commit", "call", "fail", "stop"):
            return
        if not self.rules.unknown_is_queried:
            yield f"w{i} {key[0]}, answer lost: decides again", grown._replace(budget=unknown, workers=state.workers)
            return
        entry = log.entries[state.log.seq]
        waits = worker._replace(phase="unknown", pending=(key, state.log, entry, worker, after))
        yield f"w{i} {key[0]}, answer lost", self._with(grown, i, waits)._replace(budget=unknown)
        yield f"w{i} {key[0]}, lost", self._with(state, i, waits)._replace(budget=unknown)

    def _query_append(self, state: State, i: int, worker: Worker) -> Iterator[Step]:
        """The row after `after_seq`: ours, another's, or none."""
        key, decided_on, entry, before, after = worker.pending
        log = state.log
        if log.seq > decided_on.seq and log.entries[decided_on.seq] is entry:
            yield f"w{i} queries: it was written", self._with(state, i, after)
        elif log is decided_on:
            again = self.logs.step(log, key, lambda: self._command(key))
            grown = self.append(state, again, generation=max(state.generation, after.generation if after else 0))
            if grown is not None:
                yield f"w{i} queries: appends again", self._with(grown, i, after)
        else:
            yield f"w{i} queries: a conflict", self._with(state, i, before)

    def _ghost(self, before: Log, after: Log, worker: Worker, key: tuple[Any, ...]) -> str:
        name, chat = key[0], before.chat
        if worker.attempt != chat.attempt:
            return f"FENCE: {name} of attempt {worker.attempt} took effect after it had ended"
        if worker.truncations != before.truncations:
            return f"EDIT: {name} is based on history that was cut"
        if name == "call" and chat.status is Status.INTERRUPTING:
            return "INTERRUPT: tool calls are committed, and would run, after an interrupt"
        return ""

    def _after(self, log: Log, worker: Worker, key: tuple[Any, ...], generation: int) -> tuple[Worker | None, int]:
        """The worker after its command took effect, and the last generation used."""
        chat = log.chat
        if chat.attempt != worker.attempt:
            return None, generation
        if key[0] == "call":
            return worker._replace(phase="tools", draft=chat.draft, pending=None), generation
        if key[0] == "commit" and log.answered:
            return worker._replace(phase="finish", draft=chat.draft, pending=None), generation
        if chat.calls:
            return worker._replace(draft=chat.draft, pending=None), generation
        fresh = Worker(worker.attempt, chat.draft, generation + 1, 0, "says", False, worker.truncations)
        return fresh, generation + 1

    def _command(self, key: tuple[Any, ...]) -> c.Command:
        name, attempt, draft, generation, said = key
        fence = {"attempt": attempt, "draft": draft}
        if name == "result":
            return c.CommitToolResult(attempt=attempt, tool_call_id=said, content=words(f"result of {said}"))
        text = text_of(generation, said) if generation else ""
        wrote: dict[str, Any] = {**fence, "content": words(text) if text else b"", "upto": len(text)}
        match name:
            case "commit":
                return c.CommitMessage(**wrote, is_last=self.rules.atomic_finish)
            case "finish":
                return c.CommitMessage(**fence, content=b"", upto=0, is_last=True)
            case "call":
                call = f.CallOpened(tool_call_id=f"c{generation}", tool_name="run")
                return c.CommitMessage(**wrote, calls=(call,))
            case "stop":
                return c.FinishInterrupt(**wrote)
            case "fail":
                return c.FailAttempt(**fence, error=ErrorInfo(message="x"), delay_ms=0)
            case "fail for good":
                return c.FailAttempt(**wrote, error=ErrorInfo(message="x"))
            case _:
                assert name == "release"
                return c.ReleaseAttempt(**wrote)

    # --- leases

    def _leases(self, state: State) -> Iterator[Step]:
        attempt, is_fresh = state.lease
        chat = state.log.chat
        if is_fresh and self.scene.lease_ends:
            name = "lease ends" if attempt == chat.attempt else "a leftover lease ends"
            yield name, state._replace(lease=(attempt, False))
        if not chat.attempt:
            return
        if not is_fresh and (attempt == chat.attempt or self.rules.lease_in_append):
            yield from self._expire(state, "lease", T0)
        holder_lives = any(w and w.attempt == chat.attempt and not w.is_frozen for w in state.workers)
        if chat.status is Status.INTERRUPTING and not holder_lives:
            yield from self._expire(state, "interrupt", T0 + INTERRUPT_GRACE_US)

    def _expire(self, state: State, reason: str, at: int) -> Iterator[Step]:
        chat = state.log.chat
        draft, generation, said = max(
            (row for row in state.flushed if row[0] == chat.draft), key=lambda row: row[2], default=(0, 0, 0)
        )
        text = text_of(generation, said) if said else ""
        command = ("expire", chat.attempt, reason, text)

        def make() -> c.Command:
            return c.ExpireAttempt(
                attempt=chat.attempt,
                reason=reason,
                draft=draft,
                content=words(text) if text else b"",
                upto=len(text),
                keep=self.rules.keep,
            )

        log = self.logs.step(state.log, command, make, at=at, lost=True)
        if log is not state.log:
            grown = self.append(state, log)
            if grown is not None:
                yield f"{reason} expires", grown

    # --- the watcher

    def _watch(self, state: State, watcher: Watcher) -> Iterator[Step]:
        log = state.log
        if not watcher.is_on:
            position = watcher.cursor_position
            known = self._known(state, log.draft_at(watcher.cursor_seq))
            if position > known and not self.rules.future_position_waits:
                position = known
            back = watcher._replace(seq=watcher.cursor_seq, position=position, is_on=True)
            yield "watcher resumes", state._replace(watcher=back)
            return
        budget = self.spend(state, "drops")
        if budget is not None:
            yield "watcher drops", state._replace(watcher=watcher._replace(is_on=False), budget=budget)
        if watcher.seq < log.seq:
            yield self._fact(state, watcher, log.entries[watcher.seq])
        for draft, token, generation in state.published:
            yield from self._channel(state, watcher, draft, token, generation)
        yield from self._fill(state, watcher)

    def _known(self, state: State, draft: int) -> int:
        """The position up to which this replica has the draft."""
        said = [row[2] for row in state.flushed if row[0] == draft]
        if self.scene.holder_is_local:
            said += [w.said for w in state.workers if w and w.draft == draft and not w.is_frozen]
        return TOKEN * max(said, default=0)

    def _fact(self, state: State, watcher: Watcher, entry: f.Entry) -> Step:
        log = state.log
        before, after = log.draft_at(watcher.seq), entry.draft
        bad = state.bad or _closes_badly(log, entry, before, watcher.text)
        moved = before != after
        position = 0 if moved else watcher.position
        text = "" if moved and self.rules.clear_preview else watcher.text
        if self.rules.clear_preview:
            applied = self._applied(watcher.seq, before, watcher.text, entry)
            bad = bad or applied[1]
            assert applied[1] or applied[0] == (entry.seq, after, text)
        cursor = position if self.rules.cursor_keeps_position else 0
        there = Watcher(entry.seq, position, entry.seq, cursor, text, True)
        return f"watcher gets {f.kind_of(entry.fact)}", state._replace(watcher=there, bad=bad)

    def _channel(self, state: State, watcher: Watcher, draft: int, token: int, generation: int) -> Iterator[Step]:
        held = state.log.draft_at(watcher.seq)
        if draft < held and self.rules.drop_stale:
            return
        if draft > held and self.rules.facts_first:
            return
        if len(watcher.text) > TOKEN * (self.scene.tokens + 1):
            return
        whole = text_of(generation, token)
        for start in {0, TOKEN * (token - 1)}:
            end = TOKEN * token
            if draft == held:
                if end <= watcher.position and self.rules.no_repeat:
                    continue
                if start > watcher.position and self.rules.no_gap:
                    continue
                if start < watcher.position < end and self.rules.cut_overlaps:
                    start = watcher.position
            delta = (draft, start, end, whole[start:end])
            yield f"watcher takes {draft}.{start}-{end}", self._give(state, watcher, delta)

    def _fill(self, state: State, watcher: Watcher) -> Iterator[Step]:
        """`Drafts.read`: the holder's memory, else the flush."""
        draft = state.log.draft_at(watcher.seq)
        rows = {row for row in state.flushed if row[0] == draft}
        if self.scene.holder_is_local:
            rows |= {
                (draft, w.generation, w.said)
                for w in state.workers
                if w and not w.is_frozen and w.draft == draft and w.phase == "says"
            }
        for _, generation, said in rows:
            if TOKEN * said > watcher.position:
                start = watcher.position if self.rules.flush_from_any_position else 0
                (delta,) = source(draft, generation, said).read(start)
                assert isinstance(delta.part, Text)
                given = (draft, delta.from_, delta.to, delta.part.text)
                yield f"watcher reads {draft}.{delta.from_}-{delta.to}", self._give(state, watcher, given)

    def _give(self, state: State, watcher: Watcher, delta: tuple[int, int, int, str]) -> State:
        draft, start, end, piece = delta
        held = state.log.draft_at(watcher.seq)
        bad = state.bad
        if not bad:
            if draft != held:
                bad = f"SEQ: a delta of draft {draft} while {held} is open"
            elif start != len(watcher.text):
                bad = f"SEQ: a delta from {start} to a reader that holds {len(watcher.text)}"
            else:
                applied, bad = self._applied(watcher.seq, held, watcher.text, delta)
                assert bad or applied == (watcher.seq, held, watcher.text + piece)
        text = watcher.text + piece
        if not bad and text != text_of(generation_of(text), self.scene.tokens)[: len(text)]:
            bad = "VIEW: the preview mixes two outputs of the model"
        there = watcher._replace(position=end, cursor_position=end, text=text)
        return state._replace(watcher=there, bad=bad)

    def _applied(self, seq: int, draft: int, text: str, event: Any) -> tuple[tuple[int, int, str], str]:
        """The state of the real View after the event (an entry or a delta, decoded from bytes), and its error."""
        key = (seq, draft, text, id(event) if isinstance(event, f.Entry) else event)
        if key not in self._seen_events:
            self._seen_events[key] = _apply(seq, draft, text, event)
        return self._seen_events[key]  # type: ignore[no-any-return]


def _closes_badly(log: Log, entry: f.Entry, draft: int, preview: str) -> str:
    """VIEW = COMMIT: a watcher with the draft up to `upto` has exactly the committed text, one with less a prefix,
    and one has more only when the holder was lost."""
    fact = entry.fact
    if not isinstance(fact, f.MessageAppended) or fact.closes is None or fact.closes.draft != draft:
        return ""
    assert entry.content is not None
    text, upto = text_in(entry.content), fact.closes.upto
    if len(text) != upto:
        return "VIEW: `upto` is not the length of the text"
    if preview[:upto] != text[: len(preview)]:
        return "VIEW: the committed text differs from the preview"
    if len(preview) > upto and entry.seq not in log.lost:
        return "VIEW: a holder that lives keeps less than the watcher has seen"
    return ""


def _apply(seq: int, draft: int, text: str, event: Any) -> tuple[tuple[int, int, str], str]:
    view = View()
    held = [Delta(draft=draft, from_=0, to=len(text), part_index=0, part=Text(text))] if text else []
    view.apply(
        Resync(
            reason="start",
            chat={"seq": seq, "status": "running", "title": ""},
            messages=[],
            has_more=False,
            queued_messages=[],
            open_draft=OpenDraft(draft=draft, to=len(text), parts=held),
        )
    )
    if isinstance(event, f.Entry):
        frame = fact_frame("c", event, position=0)
    else:
        name, start, end, piece = event
        frame = delta_frame(seq, Delta(draft=name, from_=start, to=end, part_index=0, part=Text(piece)))
    try:
        view.apply(decode_event(frame.data))
    except PeerError as gap:
        return (0, 0, ""), f"SEQ: {gap}"
    return (view.seq, view.draft.name, view.draft.text()), ""


@cache
def source(draft: int, generation: int, said: int) -> Draft:
    """The part of a draft in the holder's memory or in the flush."""
    made = Draft(draft)
    for token in range(said):
        made.write(Text(text_of(generation, said)[TOKEN * token : TOKEN * token + TOKEN]))
    return made


# --- the searches -----------------------------------------------------------------------------------

PEOPLE = ("send", "person", "title", "edit", "watcher drops")
FAULTS = ("crash", "freezes", "lost", "leftover")


class Found(NamedTuple):
    states: int
    bad: str = ""
    trace: tuple[str, ...] = ()
    is_complete: bool = True


def search(scene: Scene, rules: Rules | None = None, *, must_rest: bool = False, limit: int = 400_000) -> Found:
    """Breadth-first: the shortest trace to a broken invariant, if there is one.

    `must_rest`: check NO-STUCK too: from every state, without people or new faults, the system comes to rest.
    """
    gc.disable()  # states make no cycles, and a collection traverses all of them
    try:
        return _search(scene, rules or Rules(), must_rest, limit)
    finally:
        gc.enable()


def _search(scene: Scene, rules: Rules, must_rest: bool, limit: int) -> Found:
    world = World(scene, rules)
    first = world.start()
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    leads_to: dict[State, list[Step]] = {}
    ahead = deque([first])
    while ahead:
        state = ahead.popleft()
        if state.bad:
            return Found(len(came_from), state.bad, _trace(came_from, state))
        steps = list(world.successors(state))
        if must_rest:
            leads_to[state] = steps
        for name, after in steps:
            if after not in came_from:
                came_from[after] = (state, name)
                ahead.append(after)
        if len(came_from) > limit:
            return Found(len(came_from), is_complete=False)
    if must_rest:
        stuck = _stuck(world, leads_to)
        if stuck is not None:
            return Found(len(came_from), "NO-STUCK: no step of the system leads to rest", _trace(came_from, stuck))
    return Found(len(came_from))


def walk(scene: Scene, seed: int, steps: int, rules: Rules | None = None) -> Found:
    """One seeded random walk, for scenes too large to be searched."""
    world = World(scene, rules or Rules())
    state, random, trace = world.start(), Random(seed), []
    for _ in range(steps):
        choices = list(world.successors(state))
        if not choices:
            break
        weights = [_weight(name) for name, _ in choices]
        name, state = random.choices(choices, weights)[0]
        trace.append(name)
        if state.bad:
            return Found(len(trace), state.bad, tuple(trace))
    return Found(len(trace))


def _weight(name: str) -> float:
    if any(word in name for word in (*FAULTS, "lease ends", "drops", "notices")):
        return 0.15
    return 3 if name.endswith("says") or name.startswith("watcher gets") else 1


def _trace(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names = []
    step = came_from[state]
    while step is not None:
        names.append(step[1])
        step = came_from[step[0]]
    return tuple(reversed(names))


def _stuck(world: World, leads_to: dict[State, list[Step]]) -> State | None:
    scene = world.scene
    back: dict[State, list[State]] = {}
    rests = deque(state for state in leads_to if _is_at_rest(scene, state))
    fine = set(rests)
    for state, steps in leads_to.items():
        for name, after in steps:
            if not name.startswith(PEOPLE) and not any(word in name for word in FAULTS):
                back.setdefault(after, []).append(state)
    while rests:
        for before in back.get(rests.popleft(), ()):
            if before not in fine:
                fine.add(before)
                rests.append(before)
    return next((state for state in leads_to if state not in fine), None)


def _is_at_rest(scene: Scene, state: State) -> bool:
    """Idle, or at the bounds of the scene, where the search stops."""
    log = state.log
    return log.chat.is_idle or log.seq > scene.log_max - 4 or log.attempts >= scene.attempts
