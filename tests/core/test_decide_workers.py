"""What workers may ask of a chat, sentence by sentence (docs/chat-rules.md, *Commands of workers*)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.model import CallState, ErrorInfo, Outcome, Status
from antiphon.core.parts import NO_USAGE, Usage
from antiphon.core.workers import INTERRUPT_GRACE_US, SHORT_RETRY_MS
from antiphon.errors import NotAllowedNow, NotFound, StaleAttempt

from .alphabet import CALLS
from .chats import (
    acting,
    empty,
    fail,
    failed,
    fence,
    held,
    interrupting,
    last_fact,
    lost,
    running,
    stop,
    texts,
    waiting_chat,
)
from .history import HOUR, History, words

USER = "message_appended(user)"
ASSISTANT = "message_appended(assistant)"
TOOL = "message_appended(tool)"
USAGE = Usage(input_tokens=3, output_tokens=2)


def last_message(history: History) -> f.MessageAppended:
    fact = last_fact(history, f.MessageAppended)
    assert isinstance(fact, f.MessageAppended)
    return fact


def last_ended(history: History) -> f.TurnEnded:
    fact = last_fact(history, f.TurnEnded)
    assert isinstance(fact, f.TurnEnded)
    return fact


def release(history: History, *not_begun: str, **more: Any) -> tuple[str, ...]:
    return history.do(c.ReleaseAttempt(**fence(history), calls_not_begun=not_begun, **more))


def expire(history: History, reason: str = "lease", **more: Any) -> tuple[str, ...]:
    return history.do(c.ExpireAttempt(attempt=history.chat.attempt, reason=reason, **more))


# --- start ------------------------------------------------------------------------------------------


def test_starting_an_attempt_makes_it_the_holder_of_a_running_chat() -> None:
    history = running()
    assert history.start() == ("attempt_started",)
    chat = history.chat
    assert (chat.attempt, chat.draft, chat.holder) == (chat.seq, chat.seq, "i1")


@pytest.mark.parametrize("status", [empty, waiting_chat, failed, held, interrupting, acting])
def test_an_attempt_starts_only_in_a_running_chat_without_a_holder(status: Callable[..., History]) -> None:
    with pytest.raises(NotAllowedNow):
        status().start()


def test_a_start_records_unknown_for_calls_that_a_lost_attempt_had_begun() -> None:
    history = lost(("plain", "plain2"))
    assert history.start() == ("attempt_started", TOOL, TOOL)
    assert texts(history)[-2:] == ["tool: unknown", "tool: unknown"]


def test_an_idempotent_call_of_a_lost_attempt_runs_again() -> None:
    history = lost(("plain", "idempotent"))
    assert history.start() == ("attempt_started", TOOL)
    assert [call.tool_call_id for call in history.chat.calls] == ["idempotent"]
    assert history.result("idempotent") == (TOOL,)


def test_a_released_call_that_had_not_begun_runs_in_the_next_attempt() -> None:
    history = held(calls=("plain", "plain2"))
    release(history, "plain2")
    assert [call.state for call in history.chat.calls] == [CallState.BEGUN, CallState.OPEN]
    assert history.start() == ("attempt_started", TOOL)
    assert texts(history)[-1] == "tool: unknown"
    assert [(call.tool_call_id, call.state) for call in history.chat.calls] == [("plain2", CallState.BEGUN)]


def test_a_start_delivers_steering_before_the_first_model_call() -> None:
    history = running("steer:b", "queue:a")
    assert history.start() == ("attempt_started", USER)
    assert history.chat.queue_length == 1


def test_a_start_keeps_steering_queued_while_calls_are_open() -> None:
    history = lost(("idempotent",), "steer:b")
    assert history.start() == ("attempt_started",)
    history = lost(("plain",), "steer:b")
    assert history.start() == ("attempt_started", TOOL, USER)


# --- the fence --------------------------------------------------------------------------------------

FENCED: dict[str, Callable[..., c.Command]] = {
    "commit": lambda **named: c.CommitMessage(**named, content=words("x"), upto=1, is_last=True),
    "fail": lambda **named: c.FailAttempt(**named, error=ErrorInfo(message="x")),
    "require": lambda **named: c.RequireAction(**named, calls=(), deadline=1),
    "finish": lambda **named: c.FinishInterrupt(**named),
    "release": lambda **named: c.ReleaseAttempt(**named),
}


@pytest.mark.parametrize("command", FENCED.values(), ids=FENCED)
def test_a_command_of_another_attempt_is_stale(command: Callable[..., c.Command]) -> None:
    history = held()
    for attempt in (history.chat.attempt - 1, history.chat.attempt + 1, 0):
        with pytest.raises(StaleAttempt) as refused:
            history.do(command(attempt=attempt, draft=history.chat.draft))
        assert refused.value.attempt == attempt


@pytest.mark.parametrize("command", FENCED.values(), ids=FENCED)
def test_a_command_on_a_draft_that_is_closed_is_stale(command: Callable[..., c.Command]) -> None:
    history = held()
    draft = history.chat.draft
    history.commit("so far", is_last=False)
    with pytest.raises(StaleAttempt):
        history.do(command(attempt=history.chat.attempt, draft=draft))


@pytest.mark.parametrize("status", [empty, waiting_chat, failed, running, acting])
@pytest.mark.parametrize("command", FENCED.values(), ids=FENCED)
def test_every_attempt_is_stale_in_a_chat_without_a_holder_even_attempt_0(
    status: Callable[..., History], command: Callable[..., c.Command]
) -> None:
    history = status()
    last = max(
        (seq for seq, fact in enumerate(history.entries, 1) if isinstance(fact.fact, f.AttemptStarted)), default=0
    )
    for attempt in (0, last):
        with pytest.raises(StaleAttempt):
            history.do(command(attempt=attempt, draft=history.chat.draft))


def test_after_an_edit_the_old_attempt_is_stale_though_no_newer_one_exists() -> None:
    history = held()
    old = fence(history)
    history.do(c.EditMessage(message_id=2, content=words("edited"), target=history.ledger.role(2)))
    with pytest.raises(StaleAttempt):
        history.do(c.CommitMessage(**old, content=words("x"), upto=1, is_last=True))


def test_nothing_is_written_twice() -> None:
    history = held()
    commit = c.CommitMessage(**fence(history), content=words("x"), upto=1)
    history.do(commit)
    with pytest.raises(StaleAttempt):
        history.do(commit)


# --- commit -----------------------------------------------------------------------------------------


def test_the_last_commit_ends_the_turn_in_the_same_append() -> None:
    history = held()
    draft = history.chat.draft
    commit = c.CommitMessage(**fence(history), content=words("hello"), upto=5, usage=USAGE, model="m", is_last=True)
    assert history.do(commit) == (ASSISTANT, "turn_ended")
    message, ended = last_message(history), last_ended(history)
    assert message.closes == f.Closes(draft=draft, upto=5)
    assert (message.usage, message.model, message.interrupted) == (USAGE, "m", False)
    assert (ended.outcome, ended.usage, ended.turn_id) == (Outcome.ANSWERED, USAGE, message.turn_id)
    assert (history.chat.status, history.chat.attempt, history.chat.usage) == (Status.WAITING, 0, USAGE)


def test_the_last_commit_delivers_the_head_of_the_queue() -> None:
    history = held("queue:a", "queue:b")
    assert history.commit() == (ASSISTANT, "turn_ended", USER)
    assert (history.chat.status, history.chat.attempt, history.chat.queue_length) == (Status.RUNNING, 0, 1)


def test_no_reader_sees_waiting_while_a_queued_message_follows() -> None:
    history = held("queue:a")
    history.commit()
    assert [entry.status for entry in history.entries[-2:]] == [Status.RUNNING, Status.RUNNING]


def test_the_last_commit_delivers_steering_and_the_turn_continues() -> None:
    history = held("steer:b", "steer:x", "queue:a")
    attempt = history.chat.attempt
    assert history.commit() == (ASSISTANT, USER, USER)
    assert (history.chat.attempt, history.chat.turn_id) == (attempt, 2)
    assert history.commit() == (ASSISTANT, "turn_ended", USER)


def test_a_commit_that_is_not_the_last_opens_a_new_draft() -> None:
    history = held()
    attempt = history.chat.attempt
    assert history.commit("so far", is_last=False) == (ASSISTANT,)
    assert (history.chat.attempt, history.chat.draft) == (attempt, history.chat.seq)


def test_an_empty_last_commit_appends_no_message_but_counts_its_usage() -> None:
    history = held()
    assert history.do(c.CommitMessage(**fence(history), content=b"", upto=0, usage=USAGE, is_last=True)) == (
        "turn_ended",
    )
    assert history.chat.usage == USAGE


def test_calls_are_known_before_any_tool_runs() -> None:
    history = held()
    assert history.commit("let me see", CALLS["plain"], CALLS["approval"], CALLS["client"]) == (ASSISTANT,)
    assert [call.state for call in history.chat.calls] == [CallState.BEGUN, CallState.AWAITING, CallState.AWAITING]


def test_a_message_with_calls_is_never_the_last() -> None:
    with pytest.raises(AssertionError):
        held().commit("x", CALLS["plain"], is_last=True)


def test_steering_waits_while_calls_are_open() -> None:
    history = held("steer:b")
    assert history.commit("let me see", CALLS["plain"]) == (ASSISTANT,)
    assert history.send("x", "steer") == ("message_queued",)
    assert history.result("plain") == (TOOL, USER, USER)


def test_a_commit_while_calls_are_open_is_refused() -> None:
    history = held(calls=("plain",))
    with pytest.raises(NotAllowedNow):
        history.commit()


@pytest.mark.parametrize(
    "command", [FENCED["commit"], FENCED["fail"], FENCED["require"]], ids=["commit", "fail", "act"]
)
def test_while_interrupting_a_commit_a_failure_and_an_action_are_refused(command: Callable[..., c.Command]) -> None:
    history = interrupting()
    with pytest.raises(NotAllowedNow):
        history.do(command(**fence(history)))


def test_the_usage_of_a_turn_is_the_sum_of_its_steps() -> None:
    history = held()
    history.do(c.CommitMessage(**fence(history), content=words("a"), upto=1, usage=USAGE, calls=(CALLS["plain"],)))
    history.result("plain")
    history.do(c.CommitMessage(**fence(history), content=words("b"), upto=1, usage=USAGE, is_last=True))
    assert last_ended(history).usage == Usage(input_tokens=6, output_tokens=4)
    history.send("again")
    history.start()
    history.do(c.CommitMessage(**fence(history), content=words("c"), upto=1, usage=USAGE, is_last=True))
    assert last_ended(history).usage == USAGE
    assert history.chat.usage == Usage(input_tokens=9, output_tokens=6)


# --- tool results -----------------------------------------------------------------------------------


def test_results_come_one_by_one_and_each_opens_a_new_draft() -> None:
    history = held(calls=("plain", "plain2"))
    assert history.result("plain2") == (TOOL,)
    assert history.chat.draft == history.chat.seq
    assert history.result("plain") == (TOOL,)
    assert history.chat.calls == ()


def test_a_call_has_one_result() -> None:
    history = held(calls=("plain",))
    history.result("plain")
    with pytest.raises(NotFound):
        history.result("plain")


def test_a_result_of_another_attempt_is_stale() -> None:
    history = lost(("idempotent",))
    old = history.chat.seq
    history.start()
    for attempt in (old, 0):
        with pytest.raises(StaleAttempt):
            history.do(c.CommitToolResult(attempt=attempt, tool_call_id="idempotent", content=words("x")))


def test_a_result_of_a_call_that_has_not_begun_is_refused() -> None:
    history = held(calls=("plain", "approval"))
    with pytest.raises(NotAllowedNow):
        history.result("approval")


def test_calls_that_the_agent_gives_up_get_an_error_result_and_the_others_stay_open() -> None:
    history = held("steer:b", calls=("plain", "plain2", "approval"))
    history.result("plain")
    gives_up = c.CancelCalls(attempt=history.chat.attempt, tool_call_ids=("plain", "approval"))
    assert history.do(gives_up) == (TOOL,)
    assert history.do(gives_up) == ()
    assert history.do(c.CancelCalls(attempt=history.chat.attempt, tool_call_ids=("plain2",))) == (TOOL, USER)


def test_calls_are_given_up_by_the_attempt_that_holds_a_running_turn_only() -> None:
    history = held(calls=("plain",))
    for attempt in (history.chat.attempt - 1, 0):
        with pytest.raises(StaleAttempt):
            history.do(c.CancelCalls(attempt=attempt, tool_call_ids=("plain",)))
    history = interrupting(calls=("plain",))
    with pytest.raises(NotAllowedNow):
        history.do(c.CancelCalls(attempt=history.chat.attempt, tool_call_ids=("plain",)))


def test_while_interrupting_the_result_of_a_begun_call_is_accepted_and_steering_stays_queued() -> None:
    history = interrupting("steer:b", calls=("plain", "plain2"))
    assert history.result("plain") == (TOOL,)
    assert history.result("plain2") == (TOOL,)
    assert stop(history) == ("turn_ended", USER)


# --- failure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_ms", [0, 1, SHORT_RETRY_MS])
def test_up_to_five_seconds_the_worker_keeps_its_attempt_and_waits(delay_ms: int) -> None:
    history = held()
    attempt = history.chat.attempt
    assert fail(history, delay_ms) == ("retry_scheduled",)
    retry = last_fact(history, f.RetryScheduled)
    assert isinstance(retry, f.RetryScheduled)
    assert (retry.tries, retry.delay_ms, retry.retrying_at) == (1, delay_ms, history.at + delay_ms * 1000)
    assert (retry.error, retry.kind, retry.status_code) == ("it broke", "server", 500)
    assert (history.chat.attempt, history.chat.draft) == (attempt, history.chat.seq)


def test_for_a_longer_delay_the_attempt_is_released_and_the_chat_is_not_claimed_before_the_retry_time() -> None:
    history = held()
    assert fail(history, SHORT_RETRY_MS + 1) == ("retry_scheduled", "attempt_released")
    with pytest.raises(NotAllowedNow):
        history.start()
    history.at = history.chat.retrying_at - 1
    with pytest.raises(NotAllowedNow):
        history.start()
    history.at += 1
    assert history.start() == ("attempt_started",)
    assert history.chat.retrying_at == 0


def test_tries_are_counted_per_step_and_failures_per_turn() -> None:
    history = held()
    fail(history, 0)
    fail(history, 0)
    assert (history.chat.tries, history.chat.turn_failures) == (2, 2)
    history.commit("so far", is_last=False)
    assert (history.chat.tries, history.chat.turn_failures) == (0, 2)
    fail(history)
    assert history.chat.turn_failures == 3
    history.do(c.Retry())
    assert (history.chat.tries, history.chat.turn_failures) == (0, 3)
    history.interrupt()
    history.send("again")
    assert history.chat.turn_failures == 0


def test_a_final_failure_ends_the_turn_and_keeps_the_queue() -> None:
    history = held("queue:a", "steer:b")
    assert fail(history) == ("turn_ended",)
    chat = history.chat
    assert (chat.status, chat.queue_length, chat.attempt, chat.turn_id) == (Status.ERROR, 2, 0, 0)
    assert chat.last_error is not None
    assert chat.last_error.message == "it broke"
    assert last_ended(history).outcome is Outcome.FAILED


def test_a_final_failure_cancels_open_calls() -> None:
    assert fail(held(calls=("plain", "approval"))) == (TOOL, TOOL, "turn_ended")


@pytest.mark.parametrize("waiting", [(), ("queue:a",), ("steer:b",), ("queue:a", "steer:b")])
def test_a_final_failure_stores_the_partial_marked_as_interrupted(waiting: tuple[str, ...]) -> None:
    history = held(*waiting)
    draft = history.chat.draft
    written = {"content": words("half an"), "upto": 7, "usage": Usage(output_tokens=3), "model": "m"}
    error = ErrorInfo(message="it broke")
    dropped = (f.CallDropped(tool_call_id="c", tool_name="t"),)
    assert history.do(c.FailAttempt(**fence(history), error=error, dropped=dropped, **written)) == (
        ASSISTANT,
        "turn_ended",
    )
    message = last_fact(history, f.MessageAppended)
    assert isinstance(message, f.MessageAppended)
    assert (message.interrupted, message.dropped, message.model) == (True, dropped, "m")
    assert message.closes == f.Closes(draft=draft, upto=7)
    ended = last_ended(history)
    assert (ended.outcome, ended.error) == (Outcome.FAILED, error)
    assert ended.usage.output_tokens == 3, "it is counted once"
    assert history.chat.queue_length == len(waiting), "what waits stands still"


def test_a_failure_that_is_retried_stores_no_partial() -> None:
    for delay_ms in (0, SHORT_RETRY_MS + 1):
        history = held()
        error = ErrorInfo(message="it broke")
        kinds = history.do(
            c.FailAttempt(**fence(history), error=error, delay_ms=delay_ms, content=words("half"), upto=4)
        )
        assert kinds[0] == "retry_scheduled"
        assert not any(kind.startswith("message_appended") for kind in kinds)


def test_a_failure_with_open_calls_stores_no_partial() -> None:
    history = held(calls=("plain",))
    error = ErrorInfo(message="it broke")
    kinds = history.do(c.FailAttempt(**fence(history), error=error, content=words("progress"), upto=8))
    assert kinds == (TOOL, "turn_ended")


def test_a_persons_retry_removes_the_partial_of_the_failed_turn() -> None:
    history = held()
    history.do(c.FailAttempt(**fence(history), error=ErrorInfo(message="x"), content=words("half"), upto=4))
    assert history.do(c.Retry()) == ("history_truncated", "turn_restarted")


# --- require action ---------------------------------------------------------------------------------


def test_action_is_required_when_every_server_side_call_has_its_result() -> None:
    history = held(calls=("plain", "approval"))
    with pytest.raises(NotAllowedNow):
        history.require_action()
    history.result("plain")
    assert history.require_action() == ("action_required",)
    assert (history.chat.status, history.chat.attempt) == (Status.REQUIRES_ACTION, 0)
    assert history.chat.deadline == history.at + HOUR


def test_no_action_is_required_without_a_call() -> None:
    with pytest.raises(NotAllowedNow):
        held().require_action()


def test_at_the_deadline_each_open_call_expires_and_the_turn_continues() -> None:
    history = acting(calls=("approval", "client"))
    with pytest.raises(NotAllowedNow):
        history.do(c.ExpireAction())
    history.at = history.chat.deadline - 1
    with pytest.raises(NotAllowedNow):
        history.do(c.ExpireAction())
    assert history.do(c.ExpireAction(), wait=1) == ("action_resolved", TOOL, "action_resolved", TOOL)
    assert texts(history)[-2:] == ["tool: expired", "tool: expired"]
    assert (history.chat.status, history.chat.calls) == (Status.RUNNING, ())


def test_an_approved_call_does_not_expire() -> None:
    history = acting(calls=("approval", "client"))
    history.do(c.Approve(tool_call_id="approval"))
    assert history.do(c.ExpireAction(), wait=HOUR) == ("action_resolved", TOOL)
    assert [call.state for call in history.chat.calls] == [CallState.APPROVED]
    assert history.start() == ("attempt_started",)


def test_a_late_expiry_of_an_action_changes_nothing() -> None:
    history = acting()
    history.do(c.Approve(tool_call_id="approval"))
    assert history.do(c.ExpireAction(), wait=HOUR) == ()


# --- the end of an interrupted turn -----------------------------------------------------------------


def test_a_partial_is_kept_with_its_usage_and_what_it_drops() -> None:
    history = interrupting()
    draft = history.chat.draft
    dropped = (f.CallDropped(tool_call_id="t", tool_name="run"),)
    finish = c.FinishInterrupt(
        **fence(history), content=words("par"), upto=3, usage=USAGE, model="m", dropped=dropped
    )
    assert history.do(finish) == (ASSISTANT, "turn_ended")
    message, ended = last_message(history), last_ended(history)
    assert (message.interrupted, message.dropped, message.model) == (True, dropped, "m")
    assert message.closes == f.Closes(draft=draft, upto=3)
    assert (ended.outcome, ended.usage) == (Outcome.INTERRUPTED, USAGE)
    assert history.chat.status is Status.WAITING


def test_an_empty_partial_appends_no_message_but_its_usage_is_recorded() -> None:
    history = interrupting()
    assert history.do(c.FinishInterrupt(**fence(history), usage=USAGE)) == ("turn_ended",)
    assert last_ended(history).usage == USAGE


def test_an_interrupt_cancels_open_calls_and_stores_no_partial_beside_them() -> None:
    history = interrupting(calls=("plain", "approval"))
    finish = c.FinishInterrupt(**fence(history), content=words("progress"), upto=8)
    assert history.do(finish) == (TOOL, TOOL, "turn_ended")
    assert texts(history)[-2:] == ["tool: cancelled", "tool: cancelled"]


def test_after_an_interrupt_all_steering_or_the_head_of_the_queue_is_delivered() -> None:
    assert stop(interrupting("queue:a", "steer:b", "steer:x")) == ("turn_ended", USER, USER)
    assert stop(interrupting("queue:a", "queue:b")) == ("turn_ended", USER)


def test_a_turn_that_is_not_being_interrupted_cannot_be_finished() -> None:
    with pytest.raises(NotAllowedNow):
        stop(held())


# --- release and expiry -----------------------------------------------------------------------------


def test_a_released_turn_needs_a_worker_again() -> None:
    history = held()
    assert release(history) == ("attempt_released",)
    assert history.chat.needs_worker
    assert history.start() == ("attempt_started",)


def test_a_released_turn_keeps_no_partial() -> None:
    assert release(held(), content=words("par")) == ("attempt_released",)


def test_a_release_while_interrupting_ends_the_turn_like_a_finish() -> None:
    history = interrupting("queue:a")
    assert release(history, content=words("par")) == (ASSISTANT, "turn_ended", USER)
    assert release(interrupting(calls=("plain",))) == (TOOL, "turn_ended")


def test_a_call_that_waits_for_a_person_still_waits_after_a_release() -> None:
    """It has not begun either; but the server must not run it without the answer it needs."""
    history = held(calls=("approval", "client"))
    release(history, "approval", "client")
    assert [call.state for call in history.chat.calls] == [CallState.AWAITING, CallState.AWAITING]
    history.start()
    assert [call.state for call in history.chat.calls] == [CallState.AWAITING, CallState.AWAITING]
    assert history.require_action() == ("action_required",)


def test_an_approved_call_released_before_it_ran_needs_no_second_approval() -> None:
    history = acting()
    history.do(c.Approve(tool_call_id="approval"))
    history.start()
    release(history, "approval")
    assert history.start() == ("attempt_started",)
    assert history.result("approval") == (TOOL,)


@pytest.mark.parametrize("reason", ["lease", "dead"])
def test_a_lost_attempt_is_recorded_and_the_turn_needs_a_worker_again(reason: str) -> None:
    history = held("steer:b")
    assert expire(history, reason) == ("attempt_lost",)
    fact = last_fact(history, f.AttemptLost)
    assert isinstance(fact, f.AttemptLost)
    assert fact.reason == reason
    assert history.chat.needs_worker
    assert history.chat.queue_length == 1


def test_an_expiry_of_an_ended_attempt_changes_nothing() -> None:
    history = held()
    attempt = history.chat.attempt
    expire(history)
    assert history.do(c.ExpireAttempt(attempt=attempt, reason="lease")) == ()
    assert waiting_chat().do(c.ExpireAttempt(attempt=0, reason="lease")) == ()


def test_an_expiry_while_interrupting_ends_the_turn_with_the_flushed_partial() -> None:
    history = interrupting("queue:a")
    draft = history.chat.draft
    assert expire(history, draft=draft, content=words("flu"), upto=3) == (ASSISTANT, "turn_ended", USER)
    message = next(e.fact for e in history.entries if isinstance(e.fact, f.MessageAppended) and e.fact.interrupted)
    assert message.closes == f.Closes(draft=draft, upto=3)
    assert last_ended(history).outcome is Outcome.INTERRUPTED


def test_an_expiry_while_interrupting_records_unknown_for_open_calls() -> None:
    history = interrupting(calls=("plain",))
    assert expire(history) == (TOOL, "turn_ended")
    assert texts(history)[-1] == "tool: unknown"


def test_the_flushed_content_of_an_older_draft_is_not_stored() -> None:
    history = interrupting()
    assert expire(history, draft=history.chat.draft - 1, content=words("old"), upto=3) == ("turn_ended",)


def test_a_lost_attempt_stores_its_flushed_partial_if_configured() -> None:
    history = held()
    draft = history.chat.draft
    kept = {"draft": draft, "content": words("flu"), "upto": 3}
    assert expire(history, keep=True, **kept) == (ASSISTANT, "attempt_lost")
    assert last_message(history).interrupted
    assert expire(held(), draft=draft, content=words("flu"), upto=3) == ("attempt_lost",)
    assert expire(held(), keep=True) == ("attempt_lost",)
    assert expire(held(calls=("plain",)), keep=True, **kept) == ("attempt_lost",)


def test_any_instance_may_end_an_interrupted_turn_one_second_after_the_request() -> None:
    history = interrupting()
    history.at += INTERRUPT_GRACE_US - 1
    with pytest.raises(NotAllowedNow):
        expire(history, "interrupt")
    history.at += 1
    assert expire(history, "interrupt") == ("turn_ended",)


def test_the_grace_second_applies_only_to_an_interrupted_turn() -> None:
    history = held()
    history.at += HOUR
    with pytest.raises(NotAllowedNow):
        expire(history, "interrupt")


# --- titles -----------------------------------------------------------------------------------------


def test_a_title_is_generated_until_a_person_has_named_the_chat() -> None:
    history = waiting_chat()
    assert history.do(c.GenerateTitle(title="one")) == ("title_changed",)
    assert history.do(c.GenerateTitle(title="one")) == ()
    assert history.do(c.GenerateTitle(title="two")) == ("title_changed",)
    history.do(c.Rename(title="mine"))
    with pytest.raises(NotAllowedNow):
        history.do(c.GenerateTitle(title="three"))


def test_each_fact_that_ends_the_attempt_ends_it() -> None:
    """turn_ended, action_required, attempt_released, attempt_lost and a long retry."""
    enders: list[tuple[History, Callable[[History], Any]]] = [
        (held(), lambda h: h.commit()),
        (held(calls=("approval",)), lambda h: h.require_action()),
        (held(), release),
        (held(), expire),
        (held(), lambda h: fail(h, SHORT_RETRY_MS + 1)),
        (held("queue:a"), lambda h: h.commit()),
    ]
    for history, end in enders:
        end(history)
        assert (history.chat.attempt, history.chat.holder) == (0, "")


def test_usage_that_was_not_reported_is_none() -> None:
    history = held()
    history.commit()
    assert last_ended(history).usage == NO_USAGE


# --- the beginning of an unfinished answer


def test_the_beginning_that_an_attempt_leaves_is_given_to_the_next_one_until_a_message_follows() -> None:
    history = held()
    expire(history, draft=history.chat.draft, beginning=words("begun"))
    left = history.chat.beginning_seq
    assert left == history.chat.seq
    lost_fact = last_fact(history, f.AttemptLost)
    assert isinstance(lost_fact, f.AttemptLost)
    assert lost_fact.content_size == len(words("begun"))
    history.start()
    assert history.chat.beginning_seq == left
    expire(history)  # it has flushed nothing
    assert history.chat.beginning_seq == left
    history.start()
    release(history, beginning=words("begun and more"))
    assert history.chat.beginning_seq == history.chat.seq
    history.start()
    history.commit()
    assert history.chat.beginning_seq == 0


def test_the_deletion_of_the_chat_drops_the_beginning() -> None:
    history = held()
    expire(history, draft=history.chat.draft, beginning=words("begun"))
    history.do(c.Delete())
    assert history.chat.beginning_seq == 0


def promote(history: History) -> Any:
    history.send("next")
    history.do(c.PromoteQueued(queued_id=history.chat.queue[0].id))


def interrupt_held(history: History) -> Any:
    history.start()
    history.interrupt()
    history.do(c.FinishInterrupt(**fence(history)))


def expire_interrupted(history: History) -> Any:
    history.start()
    history.interrupt()
    expire(history, "dead")


ENDINGS: dict[str, Callable[[History], Any]] = {
    "interrupt": lambda history: history.interrupt(),
    "message that interrupts": lambda history: history.send("next", "interrupt"),
    "promotion": promote,
    "interrupt of the next attempt": interrupt_held,
    "loss of the next attempt while interrupting": expire_interrupted,
    "failure of the next attempt": lambda history: (history.start(), fail(history, None)),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_end_of_the_turn_keeps_the_beginning_as_its_partial(name: str) -> None:
    history = held()
    expire(history, draft=history.chat.draft, beginning=words("begun"))
    ENDINGS[name](history)
    assert history.chat.beginning_seq == 0
    assert "assistant: begun" in texts(history)
    said = [entry.fact for entry in history.entries if isinstance(entry.fact, f.MessageAppended)]
    partial = next(fact for fact in said if fact.interrupted)
    assert (partial.turn_id, partial.closes, partial.content_size) == (2, None, len(words("begun")))


def test_a_partial_of_the_attempt_itself_takes_the_place_of_the_beginning() -> None:
    history = held()
    expire(history, draft=history.chat.draft, beginning=words("begun"))
    history.start()
    history.interrupt()
    history.do(c.FinishInterrupt(**fence(history), content=words("begun and more"), upto=14))
    assert [text for text in texts(history) if text.startswith("assistant")] == ["assistant: begun and more"]


def test_a_beginning_of_another_draft_or_beside_open_calls_is_not_stored() -> None:
    history = held()
    expire(history, draft=history.chat.draft - 1, beginning=words("begun"))
    assert history.chat.beginning_seq == 0
    history = held(calls=("plain",))
    release(history, beginning=words("begun"))
    assert history.chat.beginning_seq == 0


def test_steering_that_joins_a_turn_without_a_worker_drops_the_beginning() -> None:
    history = held("steer:other")
    expire(history, draft=history.chat.draft, beginning=words("begun"))
    assert history.chat.beginning_seq
    history.start()
    assert history.chat.beginning_seq == 0
