"""How each fact changes the state. `evolve` never refuses: a fact has already happened.

The assertions check what `decide` guarantees. A fact that violates one reveals a bug or a damaged log;
`antiphon doctor` folds every log with the assertions enabled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from antiphon.core import facts as f
from antiphon.core.model import ALLOWED_TOOLS_MAX, Call, CallState, Chat, Outcome, Queued, Status, WhenBusy
from antiphon.core.model_usage import added, total_of
from antiphon.core.parts import NO_USAGE, Role
from antiphon.core.transitions import MOVES, next_status


def evolve(chat: Chat | None, recorded: f.Recorded) -> Chat:
    """The chat after `recorded`. `chat` is None before `chat_created`, which is fact 1."""
    fact = recorded.fact
    if chat is None:
        assert isinstance(fact, f.ChatCreated), "the first fact of a chat is chat_created"
        return _created(fact, recorded)
    assert recorded.seq == chat.seq + 1, f"fact {recorded.seq} after {chat.seq}: facts have no holes"
    kind = type(fact)
    changes = _CHANGES[kind](chat, fact, recorded)
    changes["seq"] = recorded.seq
    if kind in f.OPENS_DRAFT:
        changes["draft"] = recorded.seq
    if kind in MOVES:
        changes["status"] = next_status(chat, fact)
    after = replace(chat, **changes)
    assert after.status is not Status.WAITING or not after.waits, "a waiting chat has an empty queue"
    return after


def fold(facts: Iterable[f.Recorded], chat: Chat | None = None) -> Chat | None:
    """Apply `evolve` to each fact in turn, starting from `chat` (None: from the beginning)."""
    for recorded in facts:
        chat = evolve(chat, recorded)
    return chat


def _created(fact: f.ChatCreated, recorded: f.Recorded) -> Chat:
    assert recorded.seq == 1
    return Chat(
        owner_id=fact.owner_id,
        seq=1,
        draft=1,
        title=fact.title,
        is_titled_by_person=bool(fact.title) and not fact.is_title_made,
        model=fact.model,
        system=fact.system,
        labels=fact.labels,
        tools=fact.tools,
        mcp_server_ids=fact.mcp_server_ids,
        parent=fact.parent,
        forked_from=fact.forked_from,
        created_at=recorded.at,
        updated_at=recorded.at,
    )


# --- messages ---------------------------------------------------------------------------------------


def _message_appended(chat: Chat, fact: f.MessageAppended, recorded: f.Recorded) -> dict[str, Any]:
    changes: dict[str, Any] = {"last_message_id": recorded.seq, "updated_at": recorded.at, "beginning_seq": 0}
    if fact.role is Role.USER:
        assert not chat.calls, "a user message enters history when every call has its result"
        if fact.queued_id:
            changes |= _without(chat, fact.queued_id)
        if fact.turn_id == recorded.seq:
            changes |= _turn_begins(fact.turn_id, fact.model or chat.model, fact.trace)
        else:
            assert fact.turn_id == chat.turn_id, "a message joins the turn in progress"
    elif fact.role is Role.ASSISTANT:
        assert not chat.calls, "every tool call has its result before the next model call"
        changes["calls"] = tuple(_opened(call) for call in fact.calls)
        changes["tries"] = 0
        if not chat.answer_id:
            changes["answer_id"] = recorded.seq
        if fact.usage != NO_USAGE:
            changes["turn_usage"] = chat.turn_usage + fact.usage
        if fact.used:
            changes["turn_used"] = added(chat.turn_used, fact.used)
    else:
        assert chat.call(fact.resolves), "a tool's message resolves an open call"
        changes["calls"] = tuple(call for call in chat.calls if call.tool_call_id != fact.resolves)
    return changes


def _turn_begins(turn_id: int, model: str, trace: str) -> dict[str, Any]:
    return {
        "turn_id": turn_id,
        "turn_model": model,
        "turn_trace": trace,
        "turn_usage": NO_USAGE,
        "turn_used": (),
        "turn_failures": 0,
        "tries": 0,
        "answer_id": 0,
        "last_error": None,
    }


def _opened(call: f.CallOpened) -> Call:
    state = CallState.BEGUN if call.needs.is_run_here else CallState.AWAITING
    return Call(
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        needs=call.needs,
        state=state,
        is_idempotent=call.is_idempotent,
    )


def _history_truncated(chat: Chat, fact: f.HistoryTruncated, recorded: f.Recorded) -> dict[str, Any]:
    assert fact.state_seq <= chat.state_seq, "a truncation goes back to an earlier state"
    changes: dict[str, Any] = {"calls": (), "state_seq": fact.state_seq, "beginning_seq": 0}
    if chat.answer_id >= fact.from_message_id:
        changes["answer_id"] = 0
    return changes


# --- the queue --------------------------------------------------------------------------------------


def _message_queued(chat: Chat, fact: f.MessageQueued, recorded: f.Recorded) -> dict[str, Any]:
    item = Queued(
        id=recorded.seq,
        content_seq=recorded.seq,
        content_size=fact.content_size,
        when_busy=fact.when_busy,
        is_promoted=fact.when_busy is WhenBusy.INTERRUPT,
        model=fact.model,
        client_message_id=fact.client_message_id,
        created_by=fact.created_by,
        trace=fact.trace,
        via=fact.via,
        created_at=recorded.at,
    )
    if fact.when_busy is WhenBusy.STEER:
        return {"steering": (*chat.steering, item)}
    if item.is_promoted:
        return {"queue": _promoted_in(chat.queue, item)}
    return {"queue": (*chat.queue, item)}


def _promoted_in(queue: tuple[Queued, ...], item: Queued) -> tuple[Queued, ...]:
    """`queue` with `item` as the last of the promoted messages, which are at its head."""
    split = sum(other.is_promoted for other in queue)
    return (*queue[:split], item, *queue[split:])


def _without(chat: Chat, queued_id: int) -> dict[str, Any]:
    return {
        "steering": tuple(item for item in chat.steering if item.id != queued_id),
        "queue": tuple(item for item in chat.queue if item.id != queued_id),
    }


def _queued_message_edited(chat: Chat, fact: f.QueuedMessageEdited, recorded: f.Recorded) -> dict[str, Any]:
    def edited(items: tuple[Queued, ...]) -> tuple[Queued, ...]:
        return tuple(
            replace(item, content_seq=recorded.seq, content_size=fact.content_size)
            if item.id == fact.queued_id
            else item
            for item in items
        )

    return {"steering": edited(chat.steering), "queue": edited(chat.queue)}


def _queued_message_deleted(chat: Chat, fact: f.QueuedMessageDeleted, recorded: f.Recorded) -> dict[str, Any]:
    return _without(chat, fact.queued_id)


def _queue_moved(chat: Chat, fact: f.QueueMoved, recorded: f.Recorded) -> dict[str, Any]:
    def moved(items: tuple[Queued, ...]) -> tuple[Queued, ...]:
        item = next(item for item in items if item.id == fact.queued_id)
        rest = tuple(other for other in items if other is not item)
        if fact.before is None:
            place = sum(other.is_promoted for other in rest) if item.is_promoted else len(rest)
        else:
            place = next(i for i, other in enumerate(rest) if other.id == fact.before)
        return (*rest[:place], item, *rest[place:])

    if any(item.id == fact.queued_id for item in chat.steering):
        return {"steering": moved(chat.steering)}
    return {"queue": moved(chat.queue)}


def _queued_message_promoted(chat: Chat, fact: f.QueuedMessagePromoted, recorded: f.Recorded) -> dict[str, Any]:
    item = chat.queued(fact.queued_id)
    assert item, "only a queued message is promoted"
    rest = _without(chat, item.id)
    return {
        "steering": rest["steering"],
        "queue": _promoted_in(rest["queue"], replace(item, is_promoted=True, when_busy=WhenBusy.QUEUE)),
    }


# --- attempts ---------------------------------------------------------------------------------------


def _attempt_started(chat: Chat, fact: f.AttemptStarted, recorded: f.Recorded) -> dict[str, Any]:
    assert not chat.attempt, "one attempt holds a chat at a time"
    return {
        "attempt": recorded.seq,
        "holder": fact.instance_id,
        "retrying_at": 0,
        "calls": tuple(
            replace(call, state=CallState.BEGUN) if call.state in (CallState.OPEN, CallState.APPROVED) else call
            for call in chat.calls
        ),
    }


def _attempt_released(chat: Chat, fact: f.AttemptReleased, recorded: f.Recorded) -> dict[str, Any]:
    def released(call: Call) -> Call:
        """A call that is waiting for a client or an approval has not begun; it continues to wait."""
        is_open = call.state is CallState.BEGUN and call.tool_call_id in fact.calls_not_begun
        return replace(call, state=CallState.OPEN) if is_open else call

    calls = tuple(released(call) for call in chat.calls)
    return {
        **_NO_HOLDER,
        "calls": calls,
        "turn_usage": chat.turn_usage + fact.usage,
        "turn_used": added(chat.turn_used, fact.used),
        **_beginning(fact, recorded),
    }


def _attempt_lost(chat: Chat, fact: f.AttemptLost, recorded: f.Recorded) -> dict[str, Any]:
    return _NO_HOLDER | _beginning(fact, recorded)


def _beginning(fact: f.AttemptReleased | f.AttemptLost, recorded: f.Recorded) -> dict[str, Any]:
    """An attempt that has left no beginning leaves the one that it was given."""
    return {"beginning_seq": recorded.seq} if fact.content_size else {}


def _retry_scheduled(chat: Chat, fact: f.RetryScheduled, recorded: f.Recorded) -> dict[str, Any]:
    return {
        "tries": fact.tries,
        "turn_failures": chat.turn_failures + 1,
        "turn_usage": chat.turn_usage + fact.usage,
        "turn_used": added(chat.turn_used, fact.used),
        "retrying_at": fact.retrying_at,
    }


_NO_HOLDER: dict[str, Any] = {"attempt": 0, "holder": ""}


# --- the turn ---------------------------------------------------------------------------------------


def _interrupt_requested(chat: Chat, fact: f.InterruptRequested, recorded: f.Recorded) -> dict[str, Any]:
    return {"interrupt_at": recorded.at, "interrupt_seq": recorded.seq}


def _action_required(chat: Chat, fact: f.ActionRequired, recorded: f.Recorded) -> dict[str, Any]:
    return {**_NO_HOLDER, "deadline": fact.deadline}


def _action_resolved(chat: Chat, fact: f.ActionResolved, recorded: f.Recorded) -> dict[str, Any]:
    state = CallState.APPROVED if fact.outcome == "approved" else CallState.BEGUN
    calls = tuple(
        replace(call, state=state, args=fact.args) if call.tool_call_id == fact.tool_call_id else call
        for call in chat.calls
    )
    still_open = any(call.state is CallState.AWAITING for call in calls)
    changes: dict[str, Any] = {"calls": calls, "deadline": chat.deadline if still_open else 0}
    resolved = chat.call(fact.tool_call_id)
    if fact.always and resolved is not None and resolved.tool_name not in chat.allowed_tools:
        changes["allowed_tools"] = (*chat.allowed_tools, resolved.tool_name)[-ALLOWED_TOOLS_MAX:]
    return changes


def _turn_restarted(chat: Chat, fact: f.TurnRestarted, recorded: f.Recorded) -> dict[str, Any]:
    changes = {"turn_id": fact.turn_id, "turn_usage": NO_USAGE, "turn_used": (), "tries": 0, "last_error": None}
    return changes | ({"is_taken_over": True} if chat.parent is not None else {})


def _turn_ended(chat: Chat, fact: f.TurnEnded, recorded: f.Recorded) -> dict[str, Any]:
    is_failed = fact.outcome is Outcome.FAILED
    return {
        **_NO_HOLDER,
        "turn_id": 0,
        "retrying_at": 0,
        "deadline": 0,
        "interrupt_at": 0,
        "interrupt_seq": recorded.seq if fact.outcome is Outcome.INTERRUPTED else 0,
        "calls": (),
        "beginning_seq": 0,
        "tries": 0,
        "turn_failures": chat.turn_failures + is_failed,
        "last_turn_id": fact.turn_id,
        "last_outcome": fact.outcome,
        "last_error": fact.error if is_failed else None,
        "usage": chat.usage + fact.usage,
        "turn_used": (),
    }


def _state_changed(chat: Chat, fact: f.StateChanged, recorded: f.Recorded) -> dict[str, Any]:
    assert fact.before == chat.state_seq, "a state replaces the current one"
    return {"state_seq": recorded.seq}


# --- about the chat ---------------------------------------------------------------------------------


def _title_changed(chat: Chat, fact: f.TitleChanged, recorded: f.Recorded) -> dict[str, Any]:
    return {
        "title": fact.title,
        "is_titled_by_person": chat.is_titled_by_person or fact.by == "person",
        "usage": chat.usage + total_of(fact.used),
        "updated_at": recorded.at,
    }


def _chat_deleted(chat: Chat, fact: f.ChatDeleted, recorded: f.Recorded) -> dict[str, Any]:
    return {
        **_NO_HOLDER,
        "is_deleted": True,
        "turn_used": (),
        "turn_id": 0,
        "calls": (),
        "steering": (),
        "queue": (),
        "retrying_at": 0,
        "deadline": 0,
        "title": "",
        "system": "",
        "labels": {},
        "tools": None,
        "state_seq": 0,
        "beginning_seq": 0,
        "mcp_server_ids": None,
        "allowed_tools": (),
        "diff_status": None,
        "last_error": None,
    }


_CHANGES: dict[type[f.Fact], Callable[[Chat, Any, f.Recorded], dict[str, Any]]] = {
    f.MessageAppended: _message_appended,
    f.MessageQueued: _message_queued,
    f.QueuedMessageEdited: _queued_message_edited,
    f.QueuedMessageDeleted: _queued_message_deleted,
    f.QueueMoved: _queue_moved,
    f.QueuedMessagePromoted: _queued_message_promoted,
    f.HistoryTruncated: _history_truncated,
    f.AttemptStarted: _attempt_started,
    f.AttemptReleased: _attempt_released,
    f.AttemptLost: _attempt_lost,
    f.RetryScheduled: _retry_scheduled,
    f.InterruptRequested: _interrupt_requested,
    f.ActionRequired: _action_required,
    f.ActionResolved: _action_resolved,
    f.TurnRestarted: _turn_restarted,
    f.TurnEnded: _turn_ended,
    f.StateChanged: _state_changed,
    f.TitleChanged: _title_changed,
    f.LabelsChanged: lambda chat, fact, recorded: {"labels": fact.labels},
    f.PinChanged: lambda chat, fact, recorded: {"pin_order": fact.pin_order},
    f.ModelChanged: lambda chat, fact, recorded: {"model": fact.model},
    f.SystemChanged: lambda chat, fact, recorded: {"system": fact.system},
    f.ToolsChanged: lambda chat, fact, recorded: {"tools": fact.tools},
    f.McpServersChanged: lambda chat, fact, recorded: {"mcp_server_ids": fact.mcp_server_ids},
    f.DiffStatusChanged: lambda chat, fact, recorded: {"diff_status": fact.diff_status},
    f.Archived: lambda chat, fact, recorded: {"is_archived": True, "updated_at": recorded.at},
    f.Unarchived: lambda chat, fact, recorded: {"is_archived": False, "updated_at": recorded.at},
    f.ChatDeleted: _chat_deleted,
}
assert set(_CHANGES) | {f.ChatCreated} == set(f.KINDS.values()), "every kind of fact changes something"
