"""Random commands: most are valid for the state of a chat, some are not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from antiphon.core import commands as c
from antiphon.core.facts import ActionNeeded, CallOpened
from antiphon.core.model import CallState, Chat, ErrorInfo, Needs, Status, WhenBusy
from antiphon.core.parts import Role
from antiphon.testing.stored_chat import content

INSTANCES = ("i1", "i2")
SECOND_US = 1_000_000

Choice = Callable[[Chat, Random], c.Command]


NEEDS = (*Needs, Needs.RESULT, Needs.APPROVAL, Needs.ANSWER)
"""What calls need: more often a person or a client than an attempt."""


def random_command(chat: Chat, random: Random, *, at: int, may_delete: bool = False) -> c.Command:
    """A random command at the time `at`, in microseconds. `EditMessage` always has the target `user`: the caller must
    set the real role of the message."""
    if may_delete and random.random() < 0.01:
        return c.Delete()
    if random.random() < 0.5:
        return _work(chat, random, at)
    if chat.status is Status.REQUIRES_ACTION and random.random() < 0.5:
        return _answer_call(chat, random)
    return random.choice(_PEOPLE)(chat, random)


def _said(random: Random) -> bytes:
    return content(random.choice("aäa😀\x00\u2028") * random.randint(1, 40))


def _queued(chat: Chat, random: Random) -> int:
    """The id of a queued message, in most cases."""
    waiting = [item.id for item in (*chat.steering, *chat.queue)]
    return random.choice(waiting) if waiting and random.random() < 0.9 else random.randint(0, chat.seq + 1)


def _before(chat: Chat, random: Random) -> int | None:
    return _queued(chat, random) if chat.waits and random.random() < 0.7 else None


def _call(chat: Chat, random: Random) -> str:
    return random.choice([call.tool_call_id for call in chat.calls]) if chat.calls else "none"


def _answer_call(chat: Chat, random: Random) -> c.Command:
    """An answer to an open call, in most cases of the kind that it needs."""
    call = random.choice(chat.calls)
    if call.needs is Needs.APPROVAL:
        return random.choice([c.Approve(tool_call_id=call.tool_call_id), c.Deny(tool_call_id=call.tool_call_id)])
    needs = random.choice([Needs.RESULT, Needs.ANSWER, call.needs])
    return c.SubmitToolResults(tool_call_id=call.tool_call_id, content=_said(random), needs=needs)


def _send(chat: Chat, random: Random) -> c.Command:
    return c.SendMessage(content=_said(random), when_busy=random.choice(list(WhenBusy)))


def _labels(chat: Chat, random: Random) -> c.Command:
    return c.SetLabels(labels={key: random.choice("xy") for key in "abc" if random.random() < 0.5})


_PEOPLE: list[Choice] = [
    *[_send] * 6,
    lambda chat, random: c.EditMessage(
        message_id=random.randint(1, chat.seq),
        content=_said(random),
        target=Role.USER,
        clear_queue=random.random() < 0.3,
    ),
    lambda chat, random: c.Retry(),
    lambda chat, random: c.EditQueued(queued_id=_queued(chat, random), content=_said(random)),
    lambda chat, random: c.DeleteQueued(queued_id=_queued(chat, random)),
    lambda chat, random: c.MoveQueued(queued_id=_queued(chat, random), before=_before(chat, random)),
    lambda chat, random: c.PromoteQueued(queued_id=_queued(chat, random)),
    lambda chat, random: c.Interrupt(turn_id=chat.turn_id),
    lambda chat, random: c.SubmitToolResults(tool_call_id=_call(chat, random), content=_said(random)),
    lambda chat, random: c.Approve(tool_call_id=_call(chat, random)),
    lambda chat, random: c.Deny(tool_call_id=_call(chat, random)),
    lambda chat, random: c.Rename(title=random.choice(["Plan", "100% plan", "plan_b", "Größe", ""])),
    _labels,
    lambda chat, random: c.SetPin(pin_order=random.randint(0, 3)),
    lambda chat, random: c.SetModel(model=random.choice(["", "m1", "m2"])),
    lambda chat, random: c.SetDiffStatus(diff_status=random.choice([None, {"additions": [1, None, 2.5]}])),
    lambda chat, random: c.Archive(),
    lambda chat, random: c.Unarchive(),
]


def _work(chat: Chat, random: Random, at: int) -> c.Command:
    """The next command of a worker, or one for a lost worker."""
    if not chat.attempt:
        idle = chat.status is not Status.REQUIRES_ACTION
        return c.StartAttempt(instance_id=random.choice(INSTANCES)) if idle else c.ExpireAction()
    if random.random() < 0.2:
        reason = random.choice(["lease", "lease", "dead", "interrupt"])
        return c.ExpireAttempt(
            attempt=chat.attempt, reason=reason, draft=chat.draft, content=_said(random), upto=3, keep=True
        )
    if random.random() < 0.1:
        return c.ReleaseAttempt(attempt=chat.attempt, draft=chat.draft)
    if chat.status is Status.INTERRUPTING:
        return c.FinishInterrupt(attempt=chat.attempt, draft=chat.draft, content=_said(random), upto=3)
    if chat.calls:
        return _continue(chat, random, at)
    return _answer(chat, random)


def _continue(chat: Chat, random: Random, at: int) -> c.Command:
    begun = [call.tool_call_id for call in chat.calls if call.state is CallState.BEGUN]
    if begun:
        return c.CommitToolResult(attempt=chat.attempt, tool_call_id=random.choice(begun), content=_said(random))
    needed = tuple(
        ActionNeeded(tool_call_id=call.tool_call_id, tool_name="t", args={"a": 1}, needs=call.needs)
        for call in chat.calls
    )
    deadline = at + random.randint(1, 20) * SECOND_US
    return c.RequireAction(attempt=chat.attempt, draft=chat.draft, calls=needed, deadline=deadline)


def _answer(chat: Chat, random: Random) -> c.Command:
    attempt, draft = chat.attempt, chat.draft
    if random.random() < 0.15:
        delay_ms = random.choice([None, 100, 20_000])
        said = _said(random) if random.random() < 0.5 else b""
        return c.FailAttempt(
            attempt=attempt,
            draft=draft,
            error=ErrorInfo(message="no"),
            delay_ms=delay_ms,
            content=said,
            upto=len(said),
        )
    calls: tuple[CallOpened, ...] = ()
    if random.random() < 0.4:
        names = [f"call{chat.seq}-{i}" for i in range(random.randint(1, 3))]
        calls = tuple(CallOpened(tool_call_id=n, tool_name="t", needs=random.choice(NEEDS)) for n in names)
    return c.CommitMessage(
        attempt=attempt,
        draft=draft,
        content=_said(random),
        upto=3,
        calls=calls,
        is_last=not calls and random.random() < 0.7,
        state=b"{}" if not chat.seq % 5 else None,
    )
