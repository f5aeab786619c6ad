"""Tools, approvals, the deadline and a takeover: every order of events of one turn with two calls.

One call, `tool`, is run by the server and is not idempotent; the other, `pay`, needs a person's approval.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.model import CallState, Needs, Status
from antiphon.core.parts import Role

from .history import HOUR, T0, words
from .logs import Log, Logs, user
from .world import Found, text_of

TOOL, PAY = "tool", "pay"
CALLS = (
    f.CallOpened(tool_call_id=TOOL, tool_name="run"),
    f.CallOpened(tool_call_id=PAY, tool_name="pay", needs=Needs.APPROVAL),
)
NEEDED = (f.ActionNeeded(tool_call_id=PAY, tool_name="pay", args={}, needs=Needs.APPROVAL),)


class Hand(NamedTuple):
    """A worker: the calls it is to run, and those it has run and not yet reported."""

    attempt: int
    todo: tuple[str, ...]
    ran: tuple[str, ...]
    is_frozen: bool = False


class State(NamedTuple):
    log: Log
    hands: tuple[Hand | None, ...]
    runs: tuple[str, ...]
    approved: bool
    is_fresh: bool
    faults: int
    bad: str = ""


class ToolsWorld:
    def __init__(self, *, attempts: int, faults: int, zombies_stop: bool) -> None:
        self.logs = Logs()
        self.attempts = attempts
        self.faults = faults
        self.zombies_stop = zombies_stop

    def start(self) -> State:
        log = self.logs.begin(user("m0"), c.StartAttempt(instance_id="i"))
        text = text_of(1, 1)
        commit = c.CommitMessage(
            attempt=log.chat.attempt, draft=log.chat.draft, content=words(text), upto=len(text), calls=CALLS
        )
        grown = self.logs.step(log, ("calls",), lambda: commit)
        assert grown is not None
        return State(grown, (Hand(grown.chat.attempt, (TOOL,), ()), None), (), False, True, self.faults)

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        yield from self._people(state)
        for i, hand in enumerate(state.hands):
            if hand is None:
                yield from self._claims(state, i)
            else:
                yield from self._hand(state, i, hand)
        if state.is_fresh:
            yield "lease ends", state._replace(is_fresh=False)
        attempt = state.log.chat.attempt
        if attempt and not state.is_fresh:
            expire = c.ExpireAttempt(attempt=attempt, reason="lease")
            yield from self._do(state, "expire", expire)

    def _do(self, state: State, name: str, command: c.Command, *, at: int = T0, **changes: Any) -> Iterator[Any]:
        log = self.logs.step(state.log, (name, changes.get("key")), lambda: command, at=at)
        changes.pop("key", None)
        if log is not None and log is not state.log:
            grown = state._replace(**({"log": log} | changes))
            yield name, grown._replace(bad=state.bad or log.bad or _broken(grown))

    def _people(self, state: State) -> Iterator[tuple[str, State]]:
        for name, grown in self._do(state, "approve", c.Approve(tool_call_id=PAY)):
            yield name, grown._replace(approved=True)
        yield from self._do(state, "deny", c.Deny(tool_call_id=PAY))
        if state.log.chat.status is Status.REQUIRES_ACTION:
            yield from self._do(state, "deadline", c.ExpireAction(), at=T0 + HOUR)

    def _claims(self, state: State, i: int) -> Iterator[tuple[str, State]]:
        if state.log.attempts >= self.attempts:
            return
        start = c.StartAttempt(instance_id="i")
        for name, grown in self._do(state, "claims", start, is_fresh=True):
            chat = grown.log.chat
            todo = tuple(call.tool_call_id for call in chat.calls if call.state is CallState.BEGUN)
            yield f"w{i} {name}", self._with(grown, i, Hand(chat.attempt, todo, ()))

    def _with(self, state: State, i: int, hand: Hand | None) -> State:
        return state._replace(hands=(*state.hands[:i], hand, *state.hands[i + 1 :]))

    def _hand(self, state: State, i: int, hand: Hand) -> Iterator[tuple[str, State]]:
        chat = state.log.chat
        fewer = state._replace(faults=state.faults - 1)
        if state.faults:
            yield f"w{i} crash", self._with(fewer, i, None)
        if hand.is_frozen:
            yield f"w{i} thaws", self._with(state, i, hand._replace(is_frozen=False))
            return
        if state.faults:
            yield f"w{i} freezes", self._with(fewer, i, hand._replace(is_frozen=True))
        if chat.attempt != hand.attempt and self.zombies_stop:
            yield f"w{i} stops", self._with(state, i, None)
        for call in hand.todo:
            rest = tuple(other for other in hand.todo if other != call)
            ran = state._replace(runs=(*state.runs, call))
            ran = self._with(ran, i, hand._replace(todo=rest, ran=(*hand.ran, call)))
            yield f"w{i} runs {call}", ran._replace(bad=state.bad or _broken(ran))
        for call in hand.ran:
            reported = hand._replace(ran=tuple(other for other in hand.ran if other != call))
            result = c.CommitToolResult(attempt=hand.attempt, tool_call_id=call, content=words(f"result of {call}"))
            for name, grown in self._do(state, "result", result, key=(hand.attempt, call)):
                yield f"w{i} {name} of {call}", self._with(grown, i, reported)
        yield from self._releases(state, i, hand)

    def _releases(self, state: State, i: int, hand: Hand) -> Iterator[tuple[str, State]]:
        chat = state.log.chat
        fence = {"attempt": hand.attempt, "draft": chat.draft}
        require = c.RequireAction(**fence, calls=NEEDED, deadline=T0 + HOUR)
        for name, grown in self._do(state, "require action", require, key=hand.attempt):
            unfinished = bool(hand.todo or hand.ran)
            bad = "TOOLS: the attempt ends while its tool runs" if unfinished else ""
            yield f"w{i} {name}", self._with(grown, i, None)._replace(bad=grown.bad or bad)
        if not hand.ran:
            not_begun = tuple(call.tool_call_id for call in chat.calls if call.tool_call_id not in state.runs)
            release = c.ReleaseAttempt(**fence, calls_not_begun=not_begun)
            for name, grown in self._do(state, "release", release, key=(hand.attempt, not_begun)):
                yield f"w{i} {name}", self._with(grown, i, None)


def _broken(state: State) -> str:
    results = [text for _, role, text in state.log.visible if role is Role.TOOL]
    if len(results) != len(set(results)):
        return "TOOLS: two results for one call"
    if len(state.runs) != len(set(state.runs)):
        return "TOOLS: a tool that is not idempotent ran twice"
    if PAY in state.runs and not state.approved:
        return "TOOLS: a call that needs approval ran without one"
    unknown = [
        entry
        for entry in state.log.entries
        if isinstance(entry.fact, f.MessageAppended)
        and entry.fact.resolves == PAY
        and b'"unknown"' in (entry.content or b"")
    ]
    if unknown and not any(PAY in hand.todo + hand.ran for hand in state.hands if hand) and _never_claimed(state):
        return "TOOLS: an approved call that no attempt was given is recorded as unknown"
    return ""


def _never_claimed(state: State) -> bool:
    """Whether the attempt that recorded `unknown` is the first after the approval."""
    kinds = [f.kind_of(entry.fact) for entry in state.log.entries]
    if "action_resolved" not in kinds:
        return True
    return kinds[kinds.index("action_resolved") :].count("attempt_started") < 2


def search_tools(*, attempts: int = 3, faults: int = 1, zombies_stop: bool = True) -> Found:
    world = ToolsWorld(attempts=attempts, faults=faults, zombies_stop=zombies_stop)
    first = world.start()
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    ahead = deque([first])
    while ahead:
        state = ahead.popleft()
        if state.bad:
            trace, step = [], came_from[state]
            while step is not None:
                trace.append(step[1])
                step = came_from[step[0]]
            return Found(len(came_from), state.bad, tuple(reversed(trace)))
        for name, after in world.successors(state):
            if after not in came_from:
                came_from[after] = (state, name)
                ahead.append(after)
    return Found(len(came_from))


# --- renewal against expiry -------------------------------------------------------------------------


def search_lease(*, checked_in_append: bool) -> Found:
    """A renewal writes no fact, so `after_seq` does not see it: the append itself must check the lease."""
    logs = Logs()
    log = logs.begin(user("m0"), c.StartAttempt(instance_id="i"))
    expire = c.ExpireAttempt(attempt=log.chat.attempt, reason="lease")
    first = (log, True, False, 0, "")
    came_from: dict[Any, Any] = {first: None}
    ahead = deque([first])
    while ahead:
        state = ahead.popleft()
        now, is_fresh, has_seen, renewals, bad = state
        if bad:
            return Found(len(came_from), bad)
        steps: list[Any] = []
        if is_fresh:
            steps.append((now, False, has_seen, renewals, ""))
        elif renewals < 2 and now.chat.attempt:
            steps.append((now, True, has_seen, renewals + 1, ""))
        if not is_fresh:
            steps.append((now, is_fresh, True, renewals, ""))
        if has_seen and not (checked_in_append and is_fresh):
            after = logs.step(now, ("expire",), lambda: expire)
            lost = "LEASE: an attempt is lost while its lease is renewed" if is_fresh and after is not now else ""
            steps.append((after, is_fresh, False, renewals, lost))
        for after in steps:
            if after not in came_from:
                came_from[after] = state
                ahead.append(after)
    return Found(len(came_from))
