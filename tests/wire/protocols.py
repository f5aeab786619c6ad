"""Chats by seed, and every way in which their events can reach a client: the property that each protocol must have.

A protocol's frames depend on positions, not on batches: whatever the deltas are merged and cut into, whether a client
watches or comes later, and wherever it resumes, it gets the same text, calls, ids and numbers. Use `recordings` and
`deliveries` in the test of a protocol (see test_turn_output.py and test_openai_response.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core.chat import advance
from antiphon.core.draft import Draft
from antiphon.core.events import Event
from antiphon.core.facts import ActionNeeded, CallOpened, Entry, MessageAppended
from antiphon.core.model import CallState, Chat, ErrorInfo, Needs, Status, WhenBusy
from antiphon.core.parts import (
    CallStarted,
    Data,
    Part,
    Reasoning,
    Role,
    Source,
    Text,
    ToolCall,
    ToolCallArgs,
    ToolCallOpened,
    ToolProgress,
    ToolResult,
    Usage,
)
from antiphon.wire.codec import decode_content, encode, encode_content
from antiphon.wire.stream import caught_up_frame, decode_event, delta_frame, fact_frame

CHAT_ID = "0badc0de-0000-4000-8000-000000000001"
T0 = 1_700_000_000_000_000
PIECES = ("a", "bc ", "déjà ", "😀", "\u2028", "\n\nevent: x", "**bold** ", "0123456789")
NEEDS = (Needs.SERVER, Needs.SERVER, Needs.RESULT, Needs.APPROVAL, Needs.ANSWER)


class Recording(NamedTuple):
    """The log of one chat with one turn, and the text of every draft, also of those that were abandoned."""

    entries: tuple[Entry, ...]
    drafts: dict[int, Draft]
    turn_id: int

    @property
    def is_retried(self) -> bool:
        """Whether a draft was abandoned: its text is not in the log."""
        kinds = {type(entry.fact).__name__ for entry in self.entries}
        return bool(kinds & {"AttemptLost", "AttemptReleased", "RetryScheduled"})


class _Writer:
    """Plays the worker and the people of one turn at random."""

    def __init__(self, seed: int, *, retries: bool) -> None:
        self.random = Random(seed)
        self.states = Random(f"states {seed}")
        self.retries = retries
        self.chat: Chat | None = None
        self.entries: list[Entry] = []
        self.drafts: dict[int, Draft] = {}
        self.call_count = 0

    def do(self, command: c.Command) -> None:
        self.chat, entries = advance(self.chat, command, at=T0 + 10_000 * len(self.entries))
        self.entries += entries

    @property
    def state(self) -> Chat:
        assert self.chat is not None
        return self.chat

    def write_turn(self) -> Recording:
        self.do(c.CreateChat(owner_id="o", content=encode_content([Text("hi")])))
        turn_id = self.state.turn_id
        for step in range(self.random.randint(1, 4)):
            if self.retries and self.random.random() < 0.6:
                self._abandon()
            self._write_answer(is_last=False)
            self._meanwhile()
            self._run_calls()
            if step and self.random.random() < 0.2:
                break
        self._end()
        return Recording(tuple(self.entries), self.drafts, turn_id)

    def _held(self) -> dict[str, int]:
        if not self.state.attempt:
            self.do(c.StartAttempt(instance_id="i"))
        return {"attempt": self.state.attempt, "draft": self.state.draft}

    def _draft(self, *, with_calls: bool) -> Draft:
        """Fill the open draft as a model would."""
        self._held()
        draft = self.drafts.setdefault(self.state.draft, Draft(self.state.draft))
        if self.random.random() < 0.9:
            draft.write(CallStarted(model="m", provider="p", try_=1))
        for _ in range(self.random.randint(0 if with_calls else 1, 5)):
            kind = self.random.random()
            if kind < 0.5:
                for _ in range(self.random.randint(1, 6)):
                    draft.write(Text(self.random.choice(PIECES)))
            elif kind < 0.75:
                for _ in range(self.random.randint(1, 4)):
                    draft.write(Reasoning(self.random.choice(PIECES)))
            elif kind < 0.85:
                draft.write(Source(url="https://example.org", title="t"))
            elif kind < 0.9:
                draft.write(Data(data={"a": [1]}, name="n"))
            elif with_calls:
                self._write_call(draft)
        if with_calls and self.random.random() < 0.6:
            self._write_call(draft)
        return draft

    def _write_call(self, draft: Draft) -> None:
        self.call_count += 1
        draft.write(ToolCallOpened(f"call-{self.call_count}", f"tool{self.call_count}"))
        for piece in ('{"a": ', '"😀"', "}")[: self.random.choice((0, 3))]:
            draft.write(ToolCallArgs(piece))

    def _write_answer(self, *, is_last: bool) -> None:
        draft = self._draft(with_calls=not is_last)
        content = draft.content()
        calls = [] if is_last else [part for part in content if isinstance(part, ToolCall)]
        opened = tuple(
            CallOpened(tool_call_id=part.tool_call_id, tool_name=part.tool_name, needs=self.random.choice(NEEDS))
            for part in calls
        )
        usage = Usage(input_tokens=3, output_tokens=draft.position)
        self.do(
            c.CommitMessage(
                **self._held(),
                state=self._next_state(),
                content=encode_content(content),
                upto=draft.position,
                calls=opened,
                usage=usage,
                is_last=is_last,
            )
        )

    def _next_state(self) -> bytes | None:
        """What the agent stores with a message, if its state has changed."""
        if self.states.random() < 0.5:
            return None
        place = {"n": len(self.entries), "list": list(range(self.states.randint(0, 4)))}
        return encode({self.states.choice("ab/~"): place, "same": True})

    def _meanwhile(self) -> None:
        """What others do: facts that leave the draft open, and messages that join the turn."""
        if self.random.random() < 0.3:
            self.do(c.Rename(title=f"t{len(self.entries)}"))
        if self.random.random() < 0.2:
            self.do(c.SendMessage(content=encode_content([Text("and")]), when_busy=WhenBusy.STEER))

    def _run_calls(self) -> None:
        while self.state.calls:
            if self.state.status is Status.REQUIRES_ACTION:
                self._answer_one()
                continue
            mine = [call for call in self.state.calls if call.state in (CallState.BEGUN, CallState.APPROVED)]
            if mine:
                self._run(mine)
                continue
            asked = tuple(
                ActionNeeded(tool_call_id=o.tool_call_id, tool_name=o.tool_name, args={"a": 1}, needs=o.needs)
                for o in self.state.calls
            )
            self.do(c.RequireAction(**self._held(), calls=asked, deadline=T0 * 2))

    def _run(self, calls: list[object]) -> None:
        held = self._held()
        draft = self.drafts.setdefault(self.state.draft, Draft(self.state.draft))
        call = self.random.choice(calls)
        if self.random.random() < 0.3:
            draft.write(ToolProgress(call.tool_call_id, "half"))  # type: ignore[attr-defined]
        result = ToolResult(call.tool_call_id, call.tool_name, {"r": 1}, self.random.random() < 0.2)  # type: ignore[attr-defined]
        content = encode_content([result])
        self.do(c.CommitToolResult(attempt=held["attempt"], tool_call_id=result.tool_call_id, content=content))

    def _answer_one(self) -> None:
        call = next(call for call in self.state.calls if call.state is CallState.AWAITING)
        if call.needs is Needs.APPROVAL:
            denied = c.Deny(tool_call_id=call.tool_call_id, reason="no")
            self.do(c.Approve(tool_call_id=call.tool_call_id) if self.random.random() < 0.7 else denied)
            return
        content = encode_content([ToolResult(call.tool_call_id, call.tool_name, "r")])
        self.do(c.SubmitToolResults(tool_call_id=call.tool_call_id, content=content, needs=call.needs))

    def _abandon(self) -> None:
        """The worker is lost, hands over, or the model fails in the middle of an answer."""
        draft = self._draft(with_calls=True)
        held = self._held()
        kind = self.random.randrange(3)
        if kind == 0:
            self.do(c.ExpireAttempt(attempt=held["attempt"], reason="dead"))
        elif kind == 1:
            self.do(c.ReleaseAttempt(**held))
        else:
            error = ErrorInfo(message="overloaded", kind="overloaded", retryable=True)
            self.do(c.FailAttempt(**held, error=error, delay_ms=1, usage=Usage(output_tokens=draft.position)))

    def _end(self) -> None:
        turn_id = self.state.turn_id
        ending = self.random.random()
        if ending < 0.6:
            while self.state.turn_id == turn_id:  # a message that has joined the turn is answered, too
                self._write_answer(is_last=True)
            return
        draft = self._draft(with_calls=True)
        content, dropped = draft.partial()
        partial = {"content": encode_content(content) if content else b"", "upto": draft.position, "dropped": dropped}
        if ending < 0.8:
            self.do(c.Interrupt(turn_id=self.state.turn_id))
            self.do(c.FinishInterrupt(**self._held(), **partial))
        else:
            error = ErrorInfo(message="no key", kind="auth")
            self.do(c.FailAttempt(**self._held(), **partial, error=error))


@lru_cache
def recordings(count: int = 25, *, retries: bool = False) -> tuple[Recording, ...]:
    """`count` chats, always the same. With `retries` some of their drafts are abandoned."""
    return tuple(_Writer(seed, retries=retries).write_turn() for seed in range(count))


def whole(recording: Recording, *, after: int = 0) -> list[Event]:
    """The events of a client that watches and gets each code point by itself."""
    return deliver(recording, lambda draft: range(1, draft.position + 1), after=after)


def stored(recording: Recording, *, after: int = 0) -> list[Event]:
    """The events of a client that comes when all is done: facts, and no delta."""
    return deliver(recording, lambda draft: (), after=after)


def cut(recording: Recording, random: Random, *, after: int = 0) -> list[Event]:
    """The events of a client that gets the deltas in random pieces. It may be behind when a draft is committed, and
    then gets the rest in the message; it has all of a draft that is abandoned."""

    def ends(draft: Draft) -> list[int]:
        places = sorted(random.sample(range(1, draft.position + 1), random.randint(0, draft.position)))
        return places if random.random() < 0.4 else [*places, draft.position]

    return deliver(recording, ends, after=after)


def deliver(recording: Recording, ends_of: Callable[[Draft], object], *, after: int = 0) -> list[Event]:
    """The events after the fact `after`, with the deltas of each draft cut at the positions that `ends_of` gives."""
    events: list[Event] = []
    entries = recording.entries
    for number, entry in enumerate(entries):
        if entry.seq > after:
            frame = fact_frame(CHAT_ID, entry, position=0)
            events.append(replace(frame.event, cursor=f"{entry.seq}.0"))
        following = entries[number + 1] if number + 1 < len(entries) else None
        draft = recording.drafts.get(entry.draft)
        if entry.seq < after or draft is None or (following is not None and following.draft == entry.draft):
            continue  # the deltas of a draft come before the fact that closes it
        events += _deltas(draft, entry.seq, list(ends_of(draft)))  # type: ignore[call-overload]
    events.append(decode_event(caught_up_frame(entries[-1].seq, 0).data))
    return events


def _deltas(draft: Draft, seq: int, ends: list[int]) -> Iterator[Event]:
    position = 0
    for end in ends:
        for delta in draft.read(position, end):
            yield decode_event(delta_frame(seq, delta).data, cursor=f"{seq}.{delta.to}")
        position = max(position, end)


def content_of(recording: Recording) -> list[Part]:
    """The visible parts of all committed answers, for an independent comparison."""
    return [
        part
        for entry in recording.entries
        if isinstance(entry.fact, MessageAppended) and entry.fact.role is Role.ASSISTANT
        for part in decode_content(entry.content or b"[]")
    ]
