"""Every change of a chat's status, in one table: (status, label of a fact) -> status.

The label of a fact is its kind. If one kind leads to several statuses, the label also names the case (`label`).
Facts that are not in `MOVES` do not change the status. A pair that is not in the table is impossible: `decide`
never produces it, and `evolve` asserts that. The diagram in docs/architecture.md is generated from this table.
"""

from __future__ import annotations

from antiphon.core.facts import (
    ActionRequired,
    ActionResolved,
    AttemptLost,
    AttemptReleased,
    AttemptStarted,
    ChatDeleted,
    Fact,
    HistoryTruncated,
    InterruptRequested,
    MessageAppended,
    RetryScheduled,
    TurnEnded,
    TurnRestarted,
)
from antiphon.core.model import CallState, Chat, Outcome, Status
from antiphon.core.parts import Role

W, R, I, A, E = Status.WAITING, Status.RUNNING, Status.INTERRUPTING, Status.REQUIRES_ACTION, Status.ERROR  # noqa: E741

TABLE: dict[tuple[Status, str], Status] = {
    # a person sends a message, or a queued message is delivered
    (W, "user message"): R,
    (E, "user message"): R,
    (R, "user message"): R,
    # the worker writes
    (R, "assistant message"): R,
    (I, "assistant message"): I,
    (R, "tool message"): R,
    (I, "tool message"): I,
    (A, "tool message"): A,
    # the holder of the turn
    (R, "attempt started"): R,
    (R, "attempt released"): R,
    (R, "attempt lost"): R,
    (R, "retry scheduled"): R,
    # stop
    (R, "interrupt requested"): I,
    # client-side tools and approvals
    (R, "action required"): A,
    (A, "action resolved, others open"): A,
    (A, "action resolved, the last"): R,
    # history
    (W, "history truncated"): W,
    (E, "history truncated"): E,
    (R, "history truncated"): R,
    (W, "turn restarted"): R,
    (E, "turn restarted"): R,
    # the end of a turn
    (R, "turn ended, nothing waits"): W,
    (I, "turn ended, nothing waits"): W,
    (A, "turn ended, nothing waits"): W,
    (R, "turn ended, a message follows"): R,
    (I, "turn ended, a message follows"): R,
    (A, "turn ended, a message follows"): R,
    (R, "turn failed"): E,
    # the end of a chat
    (W, "chat deleted"): W,
    (R, "chat deleted"): W,
    (I, "chat deleted"): W,
    (A, "chat deleted"): W,
    (E, "chat deleted"): W,
}

_PLAIN: dict[type[Fact], str] = {
    AttemptStarted: "attempt started",
    AttemptReleased: "attempt released",
    AttemptLost: "attempt lost",
    RetryScheduled: "retry scheduled",
    InterruptRequested: "interrupt requested",
    ActionRequired: "action required",
    HistoryTruncated: "history truncated",
    TurnRestarted: "turn restarted",
    ChatDeleted: "chat deleted",
}
_MESSAGE = {Role.USER: "user message", Role.ASSISTANT: "assistant message", Role.TOOL: "tool message"}

MOVES: frozenset[type[Fact]] = frozenset({*_PLAIN, MessageAppended, ActionResolved, TurnEnded})


def next_status(chat: Chat, fact: Fact) -> Status:
    """The status of `chat` after `fact`."""
    name = label(chat, fact)
    assert (chat.status, name) in TABLE, f"impossible: {name} while {chat.status}"
    return TABLE[chat.status, name]


def label(chat: Chat, fact: Fact) -> str:
    """The label of `fact` in the table, given the chat before it."""
    if isinstance(fact, MessageAppended):
        return _MESSAGE[fact.role]
    if isinstance(fact, TurnEnded):
        if fact.outcome is Outcome.FAILED:
            return "turn failed"
        follows = fact.outcome is Outcome.REPLACED or chat.waits
        return "turn ended, a message follows" if follows else "turn ended, nothing waits"
    if isinstance(fact, ActionResolved):
        others = any(
            call.state is CallState.AWAITING and call.tool_call_id != fact.tool_call_id for call in chat.calls
        )
        return "action resolved, others open" if others else "action resolved, the last"
    return _PLAIN[type(fact)]
