"""Long seeded histories: any command at any time, chosen so that turns make progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from antiphon.core import commands as c
from antiphon.core.model import CallState, Needs, Status
from antiphon.errors import Refused

from .alphabet import (
    Named,
    iter_answers,
    iter_attempts,
    iter_commits,
    iter_edits,
    iter_ends,
    iter_metadata,
    iter_queue,
    iter_sends,
    iter_stops,
)
from .history import History, words

GROUPS: dict[Callable[[History], Iterator[Named]], float] = {
    lambda history: iter_sends(6): 4,
    iter_queue: 4,
    iter_commits: 4,
    iter_attempts: 2,
    iter_ends: 2,
    iter_answers: 2,
    iter_edits: 0.5,
    iter_stops: 1,
    iter_metadata: 0.5,
}
WRONG = (" by a stranger", " by no attempt", " of an old draft", " by stranger", "missing", "another", "too much")


def random_history(seed: int, steps: int, on_step: Callable[[History], None] | None = None) -> History:
    """The history of `seed`; ends early when the chat is deleted."""
    random = Random(seed)
    history = History()
    history.do(c.CreateChat(owner_id="o", content=words("hi") if random.random() < 0.5 else b""))
    for _ in range(steps):
        name, command, wait = _pick(history, random)
        if name == "delete" and random.random() < 0.9:
            continue
        try:
            history.do(command, wait=wait)
        except Refused:
            continue
        if on_step is not None:
            on_step(history)
        if history.chat.is_deleted:
            break
    return history


def _pick(history: History, random: Random) -> Named:
    if random.random() < 0.35:
        sensible = _sensible(history)
        if sensible is not None:
            return sensible
    group = random.choices(list(GROUPS), list(GROUPS.values()))[0]
    named = list(group(history))
    right = [one for one in named if not one[0].endswith(WRONG)]
    return random.choice(right if right and random.random() < 0.85 else named)


def _sensible(history: History) -> Named | None:
    """What a worker, or a person whose answer is needed, would do next."""
    chat = history.chat
    if chat.status is Status.REQUIRES_ACTION:
        call = next(call for call in chat.calls if call.state is CallState.AWAITING)
        if call.needs is Needs.APPROVAL:
            return "approve", c.Approve(tool_call_id=call.tool_call_id), 0
        return "submit", c.SubmitToolResults(tool_call_id=call.tool_call_id, content=words("r"), needs=call.needs), 0
    fence = {"attempt": chat.attempt, "draft": chat.draft}
    if chat.needs_worker:
        return "start", c.StartAttempt(instance_id="i1"), max(chat.retrying_at - history.at, 0)
    if chat.status is Status.INTERRUPTING:
        return "finish", c.FinishInterrupt(**fence, content=words("part"), upto=4), 0
    if chat.status is Status.RUNNING and not chat.calls:
        return "commit", c.CommitMessage(**fence, content=words("said"), upto=4, is_last=True, state=b"{}"), 0
    return None
