"""What people may ask of a chat, sentence by sentence (docs/chat-rules.md, *Commands of people*)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.chat import advance, decide
from antiphon.core.model import CallState, Outcome, Status
from antiphon.core.parts import Role
from antiphon.errors import (
    AlreadyDelivered,
    Busy,
    Invalid,
    NotAllowedNow,
    NotFound,
    TooLarge,
    TooMany,
)

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
from .history import T0, History, words

USER = "message_appended(user)"
ASSISTANT = "message_appended(assistant)"
TOOL = "message_appended(tool)"


def edit(history: History, message_id: int, **more: bool) -> tuple[str, ...]:
    target = history.ledger.role(message_id)
    return history.do(c.EditMessage(message_id=message_id, content=words("edited"), target=target, **more))


def first_message(history: History) -> int:
    return next(seq for seq, role in history.ledger.visible if role is Role.USER)


def only(history: History) -> int:
    """The one message that waits."""
    (queued_id,) = history.ledger.waiting
    return queued_id


# --- create -----------------------------------------------------------------------------------------


def test_a_chat_is_created_waiting_with_its_first_draft() -> None:
    history = History()
    assert history.do(c.CreateChat(owner_id="o", title="t", model="m", system="s", labels={"a": "b"})) == (
        "chat_created",
    )
    chat = history.chat
    assert (chat.status, chat.seq, chat.draft) == (Status.WAITING, 1, 1)
    assert (chat.owner_id, chat.title, chat.model, chat.system, chat.labels) == ("o", "t", "m", "s", {"a": "b"})
    assert chat.is_titled_by_person


def test_a_chat_created_with_content_starts_its_first_turn_in_the_same_append() -> None:
    history = History()
    assert history.do(c.CreateChat(owner_id="o", content=words("hi"))) == ("chat_created", USER)
    assert (history.chat.status, history.chat.turn_id, history.chat.draft) == (Status.RUNNING, 2, 2)


def test_a_chat_is_created_once() -> None:
    with pytest.raises(AssertionError):
        advance(empty().chat, c.CreateChat(owner_id="o"), at=T0)


def test_commands_on_a_missing_chat_raise_not_found() -> None:
    with pytest.raises(NotFound):
        advance(None, c.Rename(title="x"), at=T0)


def test_decide_returns_only_the_numbered_facts() -> None:
    (recorded,) = decide(empty().chat, c.SendMessage(content=words("hi")), at=T0 + 1)
    assert (recorded.seq, recorded.at, type(recorded.fact)) == (2, T0 + 1, f.MessageAppended)


# --- send -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["queue", "steer", "interrupt", "reject"])
def test_a_message_to_an_idle_chat_starts_a_turn_for_every_when_busy(mode: str) -> None:
    history = waiting_chat()
    assert history.send("again", mode) == (USER,)
    assert history.chat.turn_id == history.chat.seq == history.chat.draft


@pytest.mark.parametrize("mode", ["queue", "steer", "interrupt", "reject"])
def test_a_message_after_a_failed_turn_starts_a_turn_and_clears_the_error(mode: str) -> None:
    history = failed()
    assert history.chat.last_error is not None
    assert history.send("again", mode) == (USER,)
    assert history.chat.last_error is None


@pytest.mark.parametrize("mode", ["queue", "steer", "interrupt", "reject"])
def test_after_an_error_a_message_is_queued_last_and_the_head_of_the_queue_is_delivered(mode: str) -> None:
    history = failed("queue:a", "queue:b")
    assert history.send("c", mode) == ("message_queued", USER)
    assert texts(history)[-1] == "user: a"
    assert [item.when_busy for item in history.chat.queue] == ["queue", "queue"]
    assert history.chat.queue[-1].id == history.chat.seq - 1


def test_after_an_error_undelivered_steering_is_delivered_before_the_queue() -> None:
    history = failed("queue:a", "steer:b", "steer:c")
    assert history.send("d") == ("message_queued", USER, USER)
    assert texts(history)[-2:] == ["user: b", "user: c"]


def test_a_message_to_a_busy_chat_waits_in_the_queue() -> None:
    history = held()
    draft = history.chat.draft
    assert history.send("a") == ("message_queued",)
    assert (history.chat.status, history.chat.draft) == (Status.RUNNING, draft)


def test_a_steering_message_waits_for_the_next_model_call() -> None:
    history = held()
    assert history.send("a", "steer") == ("message_queued",)
    assert [item.id for item in history.chat.steering] == [history.chat.seq]


def test_an_interrupting_message_is_queued_first_and_interrupts_a_held_turn() -> None:
    history = held("queue:a")
    assert history.send("b", "interrupt") == ("message_queued", "interrupt_requested")
    assert history.chat.status is Status.INTERRUPTING
    assert [item.is_promoted for item in history.chat.queue] == [True, False]


def test_an_interrupting_message_ends_a_turn_without_a_holder_and_is_delivered() -> None:
    history = running()
    assert history.send("b", "interrupt") == ("message_queued", "turn_ended", USER)
    assert texts(history) == ["user: hi", "user: b"]


def test_an_interrupting_message_is_queued_after_earlier_interrupting_messages() -> None:
    history = held("interrupt:a", "interrupt:b", "queue:c")
    assert [item.is_promoted for item in history.chat.queue] == [True, True, False]
    assert stop(history) == (
        "turn_ended",
        USER,
    )
    assert texts(history)[-1] == "user: a"


def test_an_interrupting_message_during_an_interrupt_is_only_queued() -> None:
    assert interrupting().send("a", "interrupt") == ("message_queued",)


def test_an_interrupting_message_while_action_is_required_cancels_it() -> None:
    history = acting()
    assert history.send("a", "interrupt") == ("message_queued", TOOL, "turn_ended", USER)
    assert texts(history)[-2:] == ["tool: cancelled", "user: a"]


@pytest.mark.parametrize("busy", [running, held, interrupting, acting])
def test_a_message_with_when_busy_reject_is_refused_as_busy(busy: Callable[..., History]) -> None:
    history = busy()
    with pytest.raises(Busy) as refused:
        history.send("a", "reject")
    assert refused.value.status == history.chat.status


def test_a_message_unarchives_its_chat() -> None:
    history = waiting_chat()
    history.do(c.Archive())
    assert history.send("again") == ("unarchived", USER)
    assert not history.chat.is_archived


def test_a_refused_message_leaves_the_chat_archived() -> None:
    history = failed("queue:a")
    history.do(c.Archive())
    with pytest.raises(TooMany):
        history.send("b", queue_max=1)
    assert history.chat.is_archived


def test_a_message_to_a_full_queue_is_refused() -> None:
    history = held("queue:a", "steer:b")
    with pytest.raises(TooMany) as refused:
        history.send("c", queue_max=2)
    assert refused.value.limit == 2


def test_a_message_beyond_the_queues_bytes_is_refused() -> None:
    history = held("queue:a")
    size = len(words("a"))
    with pytest.raises(TooLarge):
        history.send("b", queue_bytes_max=2 * size - 1)
    assert history.send("b", queue_bytes_max=2 * size) == ("message_queued",)


def test_a_queued_message_keeps_its_model_its_author_and_its_client_id() -> None:
    history = held()
    history.send("a", model="m2", by="ann", client_message_id="k1")
    history.commit()
    fact = last_fact(history, f.MessageAppended)
    assert isinstance(fact, f.MessageAppended)
    assert (fact.model, fact.created_by, fact.client_message_id) == ("m2", "ann", "k1")
    assert history.chat.turn_model == "m2"
    assert fact.content == b""
    assert fact.content_seq == fact.queued_id


# --- edit -------------------------------------------------------------------------------------------


def test_an_edit_of_an_idle_chat_truncates_appends_and_starts_a_turn() -> None:
    history = waiting_chat()
    assert edit(history, first_message(history)) == ("history_truncated", USER)
    assert texts(history) == ["user: edited"]
    assert history.chat.turn_id == history.chat.seq


@pytest.mark.parametrize("busy", [running, held, interrupting, acting])
def test_an_edit_of_a_busy_chat_replaces_its_turn_in_one_append(busy: Callable[..., History]) -> None:
    history = busy()
    assert edit(history, first_message(history)) == ("turn_ended", "history_truncated", USER)
    ended = last_fact(history, f.TurnEnded)
    assert isinstance(ended, f.TurnEnded)
    assert ended.outcome is Outcome.REPLACED
    assert texts(history) == ["user: edited"]
    assert (history.chat.attempt, history.chat.calls, history.chat.status) == (0, (), Status.RUNNING)


def test_an_edit_closes_open_calls_by_hiding_them() -> None:
    history = held(calls=("plain", "approval"))
    edit(history, first_message(history))
    assert history.chat.calls == ()


def test_an_edit_keeps_the_queue_unless_it_is_to_be_cleared() -> None:
    history = held("queue:a", "steer:b")
    assert edit(history, first_message(history)) == ("turn_ended", "history_truncated", USER)
    assert history.chat.queue_length == 2
    again = held("queue:a", "steer:b")
    assert edit(again, first_message(again), clear_queue=True) == (
        "queued_message_deleted",
        "queued_message_deleted",
        "turn_ended",
        "history_truncated",
        USER,
    )
    assert again.chat.queue_length == 0


def test_an_edit_after_an_error_clears_the_error_and_keeps_the_queue() -> None:
    history = failed("queue:a")
    assert edit(history, first_message(history)) == ("history_truncated", USER)
    assert history.chat.last_error is None
    assert history.chat.queue_length == 1


def test_an_edit_unarchives() -> None:
    history = waiting_chat()
    history.do(c.Archive())
    assert edit(history, first_message(history)) == ("unarchived", "history_truncated", USER)


def test_only_a_visible_user_message_can_be_edited() -> None:
    history = waiting_chat()
    answer = history.ledger.visible[-1][0]
    with pytest.raises(Invalid):
        edit(history, answer)
    with pytest.raises(NotFound):
        edit(history, 99)
    hidden = first_message(history)
    edit(history, hidden)
    with pytest.raises(NotFound):
        edit(history, hidden)


# --- retry ------------------------------------------------------------------------------------------


def test_a_retry_truncates_from_the_first_answer_on_and_runs_the_turn_again_under_its_id() -> None:
    history = failed(answered=True)
    turn_id = history.chat.last_turn_id
    assert history.do(c.Retry()) == ("history_truncated", "turn_restarted")
    assert texts(history) == ["user: hi"]
    assert (history.chat.turn_id, history.chat.status, history.chat.last_error) == (turn_id, Status.RUNNING, None)


def test_a_retry_removes_steering_that_came_later() -> None:
    history = held("steer:b")
    history.commit("so far", is_last=False)
    history.commit()
    assert texts(history) == ["user: hi", "assistant: so far", "user: b", "assistant: answer"]
    history.do(c.Retry())
    assert texts(history) == ["user: hi"]


def test_a_retry_of_a_turn_without_an_answer_truncates_nothing() -> None:
    assert failed().do(c.Retry()) == ("turn_restarted",)


def test_a_retry_does_not_touch_the_answer_of_an_earlier_turn() -> None:
    history = waiting_chat()
    history.send("again")
    history.interrupt()
    assert history.do(c.Retry()) == ("turn_restarted",)
    assert texts(history) == ["user: hi", "assistant: answer", "user: again"]


def test_an_answered_turn_can_be_retried_repeatedly() -> None:
    history = waiting_chat()
    for _ in range(3):
        assert history.do(c.Retry(turn_id=2)) == ("history_truncated", "turn_restarted")
        history.start()
        history.commit()
    assert texts(history) == ["user: hi", "assistant: answer"]


@pytest.mark.parametrize("busy", [running, held, interrupting, acting])
def test_a_retry_of_a_busy_chat_is_refused_as_busy(busy: Callable[..., History]) -> None:
    with pytest.raises(Busy):
        busy().do(c.Retry())


def test_a_retry_needs_a_turn() -> None:
    with pytest.raises(NotAllowedNow):
        empty().do(c.Retry())


def test_only_the_last_turn_is_run_again() -> None:
    with pytest.raises(Invalid):
        waiting_chat().do(c.Retry(turn_id=1))


def test_a_retry_unarchives() -> None:
    history = failed()
    history.do(c.Archive())
    assert history.do(c.Retry()) == ("unarchived", "turn_restarted")


def test_a_retry_keeps_the_queue() -> None:
    history = failed("queue:a")
    history.do(c.Retry())
    assert history.chat.queue_length == 1


# --- the queue --------------------------------------------------------------------------------------


def test_a_queued_message_is_edited_in_its_place() -> None:
    history = held("queue:a", "queue:b")
    first = history.chat.queue[0].id
    assert history.do(c.EditQueued(queued_id=first, content=words("a2"))) == ("queued_message_edited",)
    assert history.chat.queue[0].id == first
    history.commit()
    assert texts(history)[-1] == "user: a2"


def test_an_edit_of_a_queued_message_counts_against_the_queue_s_bytes() -> None:
    history = held("queue:a")
    with pytest.raises(TooLarge):
        history.do(c.EditQueued(queued_id=only(history), content=words("aa"), queue_bytes_max=len(words("a"))))


def test_a_queued_message_is_deleted() -> None:
    history = held("queue:a")
    assert history.do(c.DeleteQueued(queued_id=only(history))) == ("queued_message_deleted",)
    assert history.commit() == (ASSISTANT, "turn_ended")


def test_a_second_delete_changes_nothing() -> None:
    history = held("queue:a")
    queued_id = only(history)
    history.do(c.DeleteQueued(queued_id=queued_id))
    assert history.do(c.DeleteQueued(queued_id=queued_id, existed=True)) == ()


@pytest.mark.parametrize("command", [c.EditQueued, c.DeleteQueued, c.MoveQueued, c.PromoteQueued])
def test_a_delivered_message_is_already_delivered(command: type[c.QueueCommand]) -> None:
    history = held("queue:a")
    queued_id = only(history)
    history.commit()
    with pytest.raises(AlreadyDelivered) as refused:
        history.do(command(queued_id=queued_id, was_delivered=True))
    assert refused.value.queued_id == queued_id


@pytest.mark.parametrize("command", [c.EditQueued, c.DeleteQueued, c.MoveQueued, c.PromoteQueued])
def test_a_message_that_was_never_queued_is_not_found(command: type[c.QueueCommand]) -> None:
    with pytest.raises(NotFound):
        held().do(command(queued_id=77))


def test_a_queued_message_is_moved_before_another_or_to_the_end() -> None:
    history = held("queue:a", "queue:b", "queue:x")
    a, b, x = (item.id for item in history.chat.queue)
    assert history.do(c.MoveQueued(queued_id=x, before=a)) == ("queue_moved",)
    assert [item.id for item in history.chat.queue] == [x, a, b]
    assert history.do(c.MoveQueued(queued_id=x)) == ("queue_moved",)
    assert [item.id for item in history.chat.queue] == [a, b, x]


def test_a_move_to_the_same_position_changes_nothing() -> None:
    history = held("queue:a", "queue:b")
    a, b = (item.id for item in history.chat.queue)
    assert history.do(c.MoveQueued(queued_id=b)) == ()
    assert history.do(c.MoveQueued(queued_id=a, before=b)) == ()
    assert history.do(c.MoveQueued(queued_id=a, before=a)) == ()


def test_promoted_and_other_messages_stay_in_their_parts() -> None:
    history = held("interrupt:p", "interrupt:q", "queue:a", "steer:s")
    p, q, a = (item.id for item in history.chat.queue)
    (s,) = (item.id for item in history.chat.steering)
    for moved, before in ((a, p), (p, a), (s, a), (a, s), (a, 99)):
        with pytest.raises(Invalid):
            history.do(c.MoveQueued(queued_id=moved, before=before))
    assert history.do(c.MoveQueued(queued_id=p)) == ("queue_moved",)
    assert [item.id for item in history.chat.queue] == [q, p, a]


def test_a_steering_message_is_moved_only_within_the_steering_messages() -> None:
    history = held("steer:a", "steer:b")
    a, b = (item.id for item in history.chat.steering)
    history.do(c.MoveQueued(queued_id=b, before=a))
    history.commit()
    assert texts(history)[-2:] == ["user: b", "user: a"]


def test_promote_adds_the_message_to_the_promoted_ones_and_interrupts() -> None:
    history = held("queue:a", "queue:b")
    b = history.chat.queue[1].id
    assert history.do(c.PromoteQueued(queued_id=b)) == ("queued_message_promoted", "interrupt_requested")
    assert history.chat.queue[0].id == b


def test_a_promoted_message_is_queued_after_the_promoted_ones() -> None:
    history = held("interrupt:p", "queue:a", "queue:b")
    p, a, b = (item.id for item in history.chat.queue)
    assert history.do(c.PromoteQueued(queued_id=b)) == ("queued_message_promoted",)
    assert [item.id for item in history.chat.queue] == [p, b, a]


def test_promote_of_a_steering_message_makes_it_a_turn_of_its_own() -> None:
    history = held("steer:a")
    assert history.do(c.PromoteQueued(queued_id=only(history))) == (
        "queued_message_promoted",
        "interrupt_requested",
    )
    assert history.chat.steering == ()


def test_promote_while_no_attempt_holds_the_turn_ends_it_and_delivers() -> None:
    history = running("queue:a", "queue:b")
    b = history.chat.queue[1].id
    assert history.do(c.PromoteQueued(queued_id=b)) == ("queued_message_promoted", "turn_ended", USER)
    assert texts(history)[-1] == "user: b"


def test_promote_while_action_is_required_cancels_it() -> None:
    history = acting("queue:a")
    assert history.do(c.PromoteQueued(queued_id=only(history))) == (
        "queued_message_promoted",
        TOOL,
        "turn_ended",
        USER,
    )


def test_a_second_promote_does_not_stop_the_turn_of_the_message_before() -> None:
    history = held("interrupt:p", "interrupt:q")
    stop(history)
    history.start()
    assert history.do(c.PromoteQueued(queued_id=only(history))) == ()
    assert history.chat.status is Status.RUNNING


def test_promote_after_an_error_delivers_the_message_at_once() -> None:
    history = failed("queue:a", "queue:b")
    b = history.chat.queue[1].id
    assert history.do(c.PromoteQueued(queued_id=b)) == ("queued_message_promoted", USER)
    assert texts(history)[-1] == "user: b"
    assert history.chat.last_error is None


def test_promote_after_an_error_delivers_an_already_promoted_message() -> None:
    history = held("interrupt:p", "interrupt:q")
    stop(history)
    history.start()
    fail(history)
    assert history.do(c.PromoteQueued(queued_id=only(history))) == (USER,)
    assert texts(history)[-1] == "user: q"


def test_promote_after_an_error_delivers_that_message_and_keeps_the_steering() -> None:
    history = failed("queue:a", "steer:s")
    assert history.do(c.PromoteQueued(queued_id=history.chat.queue[0].id)) == ("queued_message_promoted", USER)
    assert len(history.chat.steering) == 1


def test_promote_after_an_error_unarchives() -> None:
    history = failed("queue:a")
    history.do(c.Archive())
    assert history.do(c.PromoteQueued(queued_id=only(history))) == ("unarchived", "queued_message_promoted", USER)
    assert not history.chat.is_archived


# --- stop -------------------------------------------------------------------------------------------


def test_an_interrupt_of_a_held_turn_is_requested() -> None:
    history = held()
    draft = history.chat.draft
    assert history.interrupt(by="ann") == ("interrupt_requested",)
    assert (history.chat.status, history.chat.draft) == (Status.INTERRUPTING, draft)


def test_a_second_interrupt_changes_nothing() -> None:
    assert interrupting().interrupt() == ()


def test_an_interrupt_of_a_turn_without_a_holder_ends_it_with_turn_ended_alone() -> None:
    history = running()
    assert history.interrupt() == ("turn_ended",)
    assert history.chat.status is Status.WAITING


def test_an_interrupt_while_action_is_required_cancels_the_open_calls() -> None:
    history = acting(calls=("approval", "client"))
    assert history.interrupt() == (TOOL, TOOL, "turn_ended")
    assert texts(history)[-2:] == ["tool: cancelled", "tool: cancelled"]


def test_an_interrupt_of_a_released_turn_cancels_its_calls() -> None:
    history = held(calls=("plain", "plain2"))
    history.do(c.ReleaseAttempt(**fence(history), calls_not_begun=("plain2",)))
    assert history.interrupt() == (TOOL, TOOL, "turn_ended")


@pytest.mark.parametrize("idle", [empty, waiting_chat, failed])
def test_an_interrupt_of_an_idle_chat_does_nothing(idle: Callable[..., History]) -> None:
    history = idle()
    assert history.do(c.Interrupt(turn_id=2)) == ()
    assert history.do(c.Interrupt(turn_id=0)) == ()


def test_an_interrupt_of_a_waiting_turn_only_leaves_one_that_was_answered() -> None:
    history = acting(calls=("client",))
    turn_id = history.chat.turn_id
    history.do(c.SubmitToolResults(tool_call_id="client", content=words("mine")))
    assert history.do(c.Interrupt(turn_id=turn_id, only_waiting=True)) == ()
    assert history.chat.status is Status.RUNNING
    other = acting(calls=("client",))
    assert "turn_ended" in other.do(c.Interrupt(turn_id=other.chat.turn_id, only_waiting=True))


def test_an_interrupt_does_not_affect_the_next_turn() -> None:
    history = held("queue:a")
    turn_id = history.chat.turn_id
    history.commit()
    history.start()
    assert history.do(c.Interrupt(turn_id=turn_id, clear_queue=True)) == ()
    assert history.chat.status is Status.RUNNING


def test_after_an_interrupted_turn_the_next_queued_message_is_delivered() -> None:
    history = running("queue:a", "queue:b")
    assert history.interrupt() == ("turn_ended", USER)
    assert (history.chat.status, texts(history)[-1]) == (Status.RUNNING, "user: a")


def test_undelivered_steering_becomes_one_turn_before_the_queue() -> None:
    history = running("queue:a", "steer:b", "steer:c")
    assert history.interrupt() == ("turn_ended", USER, USER)
    assert texts(history)[-2:] == ["user: b", "user: c"]
    assert history.chat.turn_id == history.chat.seq - 1
    assert history.chat.queue_length == 1


def test_an_interrupt_that_clears_the_queue_deletes_each_message() -> None:
    history = held("queue:a", "steer:b", "queue:x")
    assert history.interrupt(clear_queue=True) == (
        "queued_message_deleted",
        "queued_message_deleted",
        "queued_message_deleted",
        "interrupt_requested",
    )
    assert stop(history) == ("turn_ended",)


# --- client-side tools and approvals ----------------------------------------------------------------


def test_the_last_result_of_a_client_continues_the_turn() -> None:
    history = acting(calls=("client",))
    assert history.do(c.SubmitToolResults(tool_call_id="client", content=words("mine"))) == ("action_resolved", TOOL)
    assert (history.chat.status, history.chat.calls, history.chat.deadline) == (Status.RUNNING, (), 0)


def test_while_other_calls_are_open_the_chat_still_requires_action() -> None:
    history = acting(calls=("approval", "client"))
    assert history.do(c.SubmitToolResults(tool_call_id="client", content=words("mine"))) == ("action_resolved", TOOL)
    assert history.chat.status is Status.REQUIRES_ACTION
    assert history.do(c.Approve(tool_call_id="approval")) == ("action_resolved",)
    assert history.chat.status is Status.RUNNING


def test_an_approved_call_waits_for_the_next_attempt_to_run_it() -> None:
    history = acting()
    history.do(c.Approve(tool_call_id="approval", by="ann"))
    assert [call.state for call in history.chat.calls] == [CallState.APPROVED]
    assert history.start() == ("attempt_started",)
    assert [call.state for call in history.chat.calls] == [CallState.BEGUN]
    assert history.result("approval") == (TOOL,)


def test_a_denied_call_gets_its_result_at_once() -> None:
    history = acting()
    assert history.do(c.Deny(tool_call_id="approval", reason="no")) == ("action_resolved", TOOL)
    assert texts(history)[-1] == "tool: denied"
    assert history.chat.status is Status.RUNNING


def test_steering_is_delivered_when_all_calls_are_answered() -> None:
    for answer in (c.Deny(tool_call_id="approval"), c.ExpireAction()):
        history = acting("steer:b")
        assert history.do(answer, wait=3600_000_000) == ("action_resolved", TOOL, USER)
    history = acting("steer:b", calls=("client",))
    submit = c.SubmitToolResults(tool_call_id="client", content=words("mine"))
    assert history.do(submit) == ("action_resolved", TOOL, USER)


def test_steering_waits_for_an_approved_call_to_have_its_result() -> None:
    history = acting("steer:b")
    assert history.do(c.Approve(tool_call_id="approval")) == ("action_resolved",)
    assert history.start() == ("attempt_started",)
    assert history.result("approval") == (TOOL, USER)


def test_the_first_answer_wins() -> None:
    history = acting(calls=("approval", "client"))
    history.do(c.Approve(tool_call_id="approval"))
    for late in (c.Approve(tool_call_id="approval"), c.Deny(tool_call_id="approval")):
        with pytest.raises(NotAllowedNow):
            history.do(late)
    history = acting(calls=("approval", "client"))
    history.do(c.SubmitToolResults(tool_call_id="client", content=words("mine")))
    with pytest.raises(NotFound):
        history.do(c.SubmitToolResults(tool_call_id="client", content=words("mine")))


def test_each_call_accepts_only_the_kind_of_answer_that_it_needs() -> None:
    history = acting(calls=("approval", "client"))
    for wrong in (
        c.SubmitToolResults(tool_call_id="approval", content=words("x")),
        c.Approve(tool_call_id="client"),
        c.Deny(tool_call_id="client"),
        c.Approve(tool_call_id="missing"),
    ):
        with pytest.raises(NotFound):
            history.do(wrong)


@pytest.mark.parametrize("status", [empty, failed, running, held, interrupting])
def test_answers_are_refused_unless_action_is_required(status: Callable[..., History]) -> None:
    history = status()
    for answer in (
        c.SubmitToolResults(tool_call_id="approval", content=words("x")),
        c.Approve(tool_call_id="approval"),
        c.Deny(tool_call_id="approval"),
    ):
        with pytest.raises(NotAllowedNow):
            history.do(answer)


def test_an_answer_before_action_is_required_is_refused() -> None:
    history = held(calls=("plain", "approval"))
    with pytest.raises(NotAllowedNow):
        history.do(c.Approve(tool_call_id="approval"))


# --- about the chat ---------------------------------------------------------------------------------

METADATA = [
    (c.Rename(title="t"), "title_changed"),
    (c.SetLabels(labels={"a": "b"}), "labels_changed"),
    (c.SetPin(pin_order=3), "pin_changed"),
    (c.SetModel(model="m"), "model_changed"),
    (c.SetSystem(system="s"), "system_changed"),
    (c.SetMcpServers(mcp_server_ids=()), "mcp_servers_changed"),
    (c.SetDiffStatus(diff_status={"files": 1}), "diff_status_changed"),
]


@pytest.mark.parametrize(("command", "kind"), METADATA, ids=[kind for _, kind in METADATA])
def test_a_metadata_command_makes_its_fact_in_any_status_and_leaves_the_draft_alone(
    command: c.Command, kind: str
) -> None:
    for status in (empty, failed, running, held, interrupting, acting):
        history = status()
        before = history.chat
        assert history.do(command) == (kind,)
        assert (history.chat.status, history.chat.draft) == (before.status, before.draft)
        assert history.do(command) == ()


def test_a_title_derived_from_the_first_message_is_not_a_persons_choice() -> None:
    history = History()
    history.do(c.CreateChat(owner_id="o", content=words("hi"), title="hi", is_title_made=True))
    assert not history.chat.is_titled_by_person
    assert history.do(c.GenerateTitle(title="A greeting")) == ("title_changed",)


def test_a_generated_title_becomes_the_persons_when_they_confirm_it() -> None:
    history = empty()
    history.do(c.GenerateTitle(title="t"))
    assert history.do(c.Rename(title="t")) == ("title_changed",)
    assert history.do(c.Rename(title="t")) == ()


@pytest.mark.parametrize("idle", [empty, waiting_chat, failed])
def test_an_idle_chat_is_archived_and_unarchived(idle: Callable[..., History]) -> None:
    history = idle()
    assert history.do(c.Archive()) == ("archived",)
    assert history.do(c.Archive()) == ()
    assert history.do(c.Unarchive()) == ("unarchived",)
    assert history.do(c.Unarchive()) == ()


@pytest.mark.parametrize("busy", [running, held, interrupting, acting])
def test_a_busy_chat_is_not_archived(busy: Callable[..., History]) -> None:
    with pytest.raises(NotAllowedNow):
        busy().do(c.Archive())


@pytest.mark.parametrize("status", [empty, failed, running, held, interrupting, acting])
def test_a_chat_is_deleted_at_any_time_and_then_not_found(status: Callable[..., History]) -> None:
    history = status()
    owner, seq = history.chat.owner_id, history.chat.seq
    assert history.do(c.Delete()) == ("chat_deleted",)
    assert (history.chat.is_deleted, history.chat.owner_id, history.chat.seq) == (True, owner, seq + 1)
    for command in (c.Delete(), c.SendMessage(content=words("x")), c.StartAttempt(instance_id="i")):
        with pytest.raises(NotFound):
            history.do(command)


def test_a_deleted_chat_keeps_no_content() -> None:
    history = History()
    history.do(c.CreateChat(owner_id="o", title="secret", system="secret", labels={"secret": "secret"}, tools=["x"]))
    history.do(c.SetDiffStatus(diff_status="secret"))
    history.do(c.Delete())
    chat = history.chat
    assert (chat.title, chat.system, chat.labels, chat.tools, chat.diff_status) == ("", "", {}, None, None)


def test_the_calls_of_a_lost_turn_are_cancelled_by_an_interrupt() -> None:
    history = lost(("plain",))
    assert history.interrupt() == (TOOL, "turn_ended")
