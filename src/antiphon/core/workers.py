"""The rules of workers' commands.

The attempt is a fencing token: a command of an attempt that no longer holds the chat, or that names a draft that is
no longer open, is refused as `stale_attempt`. So nothing is written twice, and nothing by an expired attempt.
"""

from __future__ import annotations

from typing import Any

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.decision import Decision
from antiphon.core.model import CallState, Outcome, Status
from antiphon.core.parts import Role
from antiphon.errors import NotAllowedNow, NotFound, StaleAttempt

SHORT_RETRY_MS = 5_000
"""Maximum delay before a retry for which a worker keeps its attempt, in milliseconds. For a longer delay the worker
releases it."""

INTERRUPT_GRACE_US = 1_000_000
"""How long the holder may take to end the turn after `interrupt_requested`, in microseconds. After that any instance
may end it."""


def start_attempt(decision: Decision, command: c.StartAttempt) -> None:
    chat = decision.chat
    if not chat.needs_worker:
        raise NotAllowedNow(chat.status, "no turn is waiting for a worker")
    if decision.at < chat.retrying_at:
        raise NotAllowedNow(chat.status, "the next try is not due yet")
    lost = [call for call in chat.calls if call.state is CallState.BEGUN and not call.is_idempotent]
    decision.add(f.AttemptStarted(instance_id=command.instance_id))
    for call in lost:
        decision.resolve_with_error(call, "unknown")
    if not decision.chat.calls:
        decision.deliver_steering()


def commit_message(decision: Decision, command: c.CommitMessage) -> None:
    """Commit the message of one model call. Queued steering messages join the turn, which then continues."""
    _check_fence(decision, command)
    chat = decision.chat
    if chat.status is not Status.RUNNING:
        raise NotAllowedNow(chat.status, "the turn is being interrupted")
    if chat.calls:
        raise NotAllowedNow(chat.status, "a tool call has no result yet")
    assert not (command.is_last and command.calls), "a message with tool calls is never the last"
    if command.content:
        _append_answer(decision, command)
    if command.state is not None:  # after the message: a truncation that removes the message removes it as well
        decision.add(f.StateChanged(content=command.state, content_size=len(command.state), before=chat.state_seq))
    if command.calls:
        return
    if decision.chat.steering:
        decision.deliver_steering()
    elif command.is_last:
        decision.end_turn(Outcome.ANSWERED, **({} if command.content else _uncounted(command)))


def _append_answer(
    decision: Decision, command: c.CommitMessage | c.PartialCommand, *, interrupted: bool = False
) -> None:
    decision.add(
        f.MessageAppended(
            role=Role.ASSISTANT,
            turn_id=decision.chat.turn_id,
            content=command.content,
            content_size=len(command.content),
            interrupted=interrupted,
            outcome=command.outcome if isinstance(command, c.CommitMessage) else "",
            dropped=command.dropped if isinstance(command, c.PartialCommand) else (),
            closes=f.Closes(draft=command.draft, upto=command.upto),
            calls=command.calls if isinstance(command, c.CommitMessage) else (),
            usage=command.usage,
            used=command.used,
            model=command.model,
        )
    )


def commit_tool_result(decision: Decision, command: c.CommitToolResult) -> None:
    chat = decision.chat
    if not command.attempt or chat.attempt != command.attempt:
        raise StaleAttempt(command.attempt)
    call = chat.call(command.tool_call_id)
    if call is None:
        raise NotFound("tool_call")
    if call.state is not CallState.BEGUN:
        raise NotAllowedNow(chat.status, "this call has not begun")
    decision.resolve(call, command.content)
    if decision.chat.status is Status.RUNNING and not decision.chat.calls:
        decision.deliver_steering()


def cancel_calls(decision: Decision, command: c.CancelCalls) -> None:
    """Give the named calls that are still open an error result: the turn goes on without them, also without those
    for which it would have waited for a person."""
    chat = decision.chat
    if not command.attempt or chat.attempt != command.attempt:
        raise StaleAttempt(command.attempt)
    if chat.status is not Status.RUNNING:
        raise NotAllowedNow(chat.status, "the turn is being interrupted")
    open_calls = [call for call in chat.calls if call.tool_call_id in command.tool_call_ids]
    for call in open_calls:
        decision.resolve_with_error(call, "cancelled")
    if open_calls and not decision.chat.calls:
        decision.deliver_steering()


def fail_attempt(decision: Decision, command: c.FailAttempt) -> None:
    _check_fence(decision, command)
    chat = decision.chat
    if chat.status is not Status.RUNNING:
        raise NotAllowedNow(chat.status, "the turn is being interrupted")
    if command.delay_ms is None:
        uncounted = _keep_partial(decision, command)
        decision.close_calls("cancelled")
        decision.end_turn(Outcome.FAILED, error=command.error, **uncounted)
        return
    error = command.error
    decision.add(
        f.RetryScheduled(
            tries=chat.tries + 1,
            delay_ms=command.delay_ms,
            error=error.message,
            kind=error.kind,
            provider=error.provider,
            status_code=error.status_code,
            retrying_at=decision.at + command.delay_ms * 1000,
            usage=command.usage,
            used=command.used,
        )
    )
    if command.delay_ms > SHORT_RETRY_MS:
        decision.add(f.AttemptReleased(attempt=command.attempt, calls_not_begun=command.calls_not_begun))


def require_action(decision: Decision, command: c.RequireAction) -> None:
    _check_fence(decision, command)
    chat = decision.chat
    if chat.status is not Status.RUNNING:
        raise NotAllowedNow(chat.status, "the turn is being interrupted")
    if not chat.calls or any(call.state is not CallState.AWAITING for call in chat.calls):
        raise NotAllowedNow(chat.status, "every server-side call needs its result first")
    decision.add(f.ActionRequired(calls=command.calls, deadline=command.deadline))


def finish_interrupt(decision: Decision, command: c.FinishInterrupt) -> None:
    _check_fence(decision, command)
    if decision.chat.status is not Status.INTERRUPTING:
        raise NotAllowedNow(decision.chat.status, "the turn is not being interrupted")
    _finish(decision, command)


def release_attempt(decision: Decision, command: c.ReleaseAttempt) -> None:
    """Release the turn so that another attempt can continue it. An interrupted turn ends, as in FinishInterrupt."""
    _check_fence(decision, command)
    if decision.chat.status is Status.INTERRUPTING:
        _finish(decision, command)
    else:
        beginning = b"" if decision.chat.calls else command.beginning
        released = f.AttemptReleased(
            attempt=command.attempt,
            calls_not_begun=command.calls_not_begun,
            usage=command.usage,
            used=command.used,
            content=beginning,
            content_size=len(beginning),
        )
        decision.add(released)


def _finish(decision: Decision, command: c.PartialCommand, *, calls_are: str = "cancelled") -> None:
    """Store the partial message and end the interrupted turn."""
    uncounted = _keep_partial(decision, command)
    decision.close_calls(calls_are)
    decision.end_turn(Outcome.INTERRUPTED, **uncounted)


def _keep_partial(decision: Decision, command: c.PartialCommand) -> dict[str, Any]:
    """Store the content written so far as a message, unless tool calls are open: then the draft has no answer. An
    attempt that has written nothing keeps the beginning that it was given.

    Returns the usage that is still to be counted, for `end_turn`; a message counts its own.
    """
    if decision.chat.calls:
        return _uncounted(command)
    if not command.content:
        if decision.chat.beginning_seq and command.unfinished:
            decision.append_unfinished(command.unfinished)
        return _uncounted(command)
    _append_answer(decision, command, interrupted=True)
    return {}


def _uncounted(command: c.CommitMessage | c.PartialCommand) -> dict[str, Any]:
    return {"usage": command.usage, "used": command.used}


def expire_attempt(decision: Decision, command: c.ExpireAttempt) -> None:
    chat = decision.chat
    if not command.attempt or chat.attempt != command.attempt:
        return
    if command.reason == "interrupt" and (
        chat.status is not Status.INTERRUPTING or decision.at < chat.interrupt_at + INTERRUPT_GRACE_US
    ):
        raise NotAllowedNow(chat.status, "the holder still has time to end the turn")
    flushed = command.content if command.draft == chat.draft else b""
    partial = c.FinishInterrupt(
        attempt=command.attempt,
        draft=chat.draft,
        content=flushed,
        upto=command.upto,
        dropped=command.dropped,
        unfinished=command.unfinished,
    )
    if chat.status is Status.INTERRUPTING:
        _finish(decision, partial, calls_are="unknown")
        return
    if command.keep and flushed and not chat.calls:
        _append_answer(decision, partial, interrupted=True)
    beginning = command.beginning if command.draft == chat.draft and not chat.calls else b""
    lost = f.AttemptLost(
        attempt=command.attempt, reason=command.reason, content=beginning, content_size=len(beginning)
    )
    decision.add(lost)


def expire_action(decision: Decision, command: c.ExpireAction) -> None:
    chat = decision.chat
    if chat.status is not Status.REQUIRES_ACTION:
        return
    if decision.at < chat.deadline:
        raise NotAllowedNow(chat.status, "its deadline has not passed")
    for call in chat.calls:
        if call.state is CallState.AWAITING:
            decision.add(f.ActionResolved(tool_call_id=call.tool_call_id, outcome="expired"))
            decision.resolve_with_error(call, "expired")
    if not decision.chat.calls:
        decision.deliver_steering()


def generate_title(decision: Decision, command: c.GenerateTitle) -> None:
    if decision.chat.is_titled_by_person:
        raise NotAllowedNow(decision.chat.status, "a person has named this chat")
    if command.title != decision.chat.title or command.used:
        decision.add(f.TitleChanged(title=command.title, by="model", used=command.used))


def _check_fence(decision: Decision, command: c.AttemptCommand) -> None:
    chat = decision.chat
    if not command.attempt or chat.attempt != command.attempt or chat.draft != command.draft:
        raise StaleAttempt(command.attempt)
