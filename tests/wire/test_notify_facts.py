"""Every kind of fact becomes the message that the contract describes, merged per append."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from antiphon.core import facts as f
from antiphon.core.model import Chat, ErrorInfo, Outcome, Status, WhenBusy
from antiphon.core.parts import Role
from antiphon.wire.codec import decode, encode
from antiphon.wire.notify import ChatEvent, ChatStreamNotifyMessage
from antiphon.wire.notify_facts import EVENT_KINDS, LISTED, encode_chat_event, event_kinds, stream_message

CHAT = "0b0b0b0b-1111-4222-8333-444444444444"
OWNER = "1c1c1c1c-1111-4222-8333-444444444444"
RUNNING = Chat(owner_id=OWNER, seq=9, status=Status.RUNNING, draft=9, attempt=3, holder="i1", turn_id=2)
SAME = {"seq": 9, "draft": 9}

MESSAGE = f.MessageAppended(role=Role.USER, turn_id=2, content_size=2)


def entries(*facts: f.Fact, first: int = 9) -> list[f.Entry]:
    return [
        f.Entry(recorded=f.Recorded(first + i, 1, fact), status=Status.RUNNING, draft=first)
        for i, fact in enumerate(facts)
    ]


def published(*facts: f.Fact, before: Chat | None = RUNNING, **after: Any) -> dict[str, Any]:
    chat = msgspec.structs.replace(RUNNING, **after)
    shown: dict[str, Any] = json.loads(encode(stream_message(before, entries(*facts), chat)))
    assert (
        encode(decode(json.dumps(shown).encode(), ChatStreamNotifyMessage))
        == json.dumps(shown, separators=(",", ":")).encode()
    )
    return shown


HOLDS = SAME | {"status": "running", "worker_id": "i1"}


@pytest.mark.parametrize(
    ("fact", "shown"),
    [
        (MESSAGE, SAME | {"after_message_id": 8}),
        (f.MessageAppended(role=Role.USER, turn_id=2, content_size=2, queued_id=4),
         SAME | {"after_message_id": 8, "queue_update": True}),
        (f.MessageQueued(content_size=2, when_busy=WhenBusy.QUEUE), SAME | {"queue_update": True}),
        (f.QueuedMessageEdited(queued_id=2, content_size=2), SAME | {"queue_update": True}),
        (f.QueuedMessageDeleted(queued_id=2), SAME | {"queue_update": True}),
        (f.QueueMoved(queued_id=2), SAME | {"queue_update": True}),
        (f.QueuedMessagePromoted(queued_id=2), SAME | {"queue_update": True}),
        (f.HistoryTruncated(from_message_id=2), SAME | {"full_refresh": True}),
        (f.AttemptStarted(instance_id="i1"), HOLDS),
        (f.TitleChanged(title="t", by="person"), SAME),
        (f.LabelsChanged(labels={}), SAME),
    ],
)  # fmt: skip
def test_the_message_of_each_fact_on_the_chats_channel(fact: f.Fact, shown: dict[str, Any]) -> None:
    assert published(fact) == shown


@pytest.mark.parametrize(
    "fact",
    [f.AttemptReleased(attempt=3), f.AttemptLost(attempt=3, reason="lease"), f.ActionRequired(calls=(), deadline=0)],
)
def test_without_an_attempt_no_worker_is_named(fact: f.Fact) -> None:
    assert published(fact, attempt=0, holder="") == SAME | {"status": "running"}


def test_a_changed_status_is_published_whatever_changed_it() -> None:
    assert published(f.InterruptRequested(turn_id=2), status=Status.INTERRUPTING)["status"] == "interrupting"
    ended = f.TurnEnded(turn_id=2, outcome=Outcome.ANSWERED)
    assert published(ended, status=Status.WAITING, attempt=0, holder="") == SAME | {"status": "waiting"}


def test_a_retry_is_published_whole() -> None:
    fact = f.RetryScheduled(tries=2, delay_ms=500, error="slow down", retrying_at=1_500_000, kind="rate_limit")
    assert published(fact) == SAME | {
        "retry": {
            "attempt": 2,
            "delay_ms": 500,
            "error": "slow down",
            "kind": "rate_limit",
            "retrying_at": "1970-01-01T00:00:01.5Z",
        }
    }


def test_a_failed_turn_is_published_in_both_forms() -> None:
    error = ErrorInfo(message="no such key", kind="auth", provider="openai", status_code=401)
    fact = f.TurnEnded(turn_id=2, outcome=Outcome.FAILED, error=error)
    assert published(fact, status=Status.ERROR, attempt=0, holder="") == SAME | {
        "status": "error",
        "error_payload": {
            "message": "no such key",
            "kind": "auth",
            "provider": "openai",
            "retryable": False,
            "status_code": 401,
        },
        "error": "no such key",
    }
    nameless = f.TurnEnded(turn_id=2, outcome=Outcome.FAILED)
    assert published(nameless, status=Status.ERROR)["error"] == "the turn failed"


def test_an_append_is_one_message_with_all_its_changes() -> None:
    shown = published(
        f.TurnEnded(turn_id=2, outcome=Outcome.REPLACED),
        f.HistoryTruncated(from_message_id=2),
        MESSAGE,
        f.MessageAppended(role=Role.USER, turn_id=2, content_size=2, queued_id=4),
        f.AttemptStarted(instance_id="i1"),
        seq=13,
        draft=13,
    )
    assert shown == HOLDS | {
        "after_message_id": 10,
        "queue_update": True,
        "full_refresh": True,
        "seq": 13,
        "draft": 13,
    }


def test_events_on_the_owners_channel_are_one_for_each_kind() -> None:
    assert event_kinds(entries(MESSAGE, f.AttemptStarted(instance_id="i"))) == ("status_change",)
    renamed = entries(f.TitleChanged(title="t", by="person"), f.LabelsChanged(labels={}), f.PinChanged(pin_order=1))
    assert event_kinds(renamed) == ("title_change", "status_change")
    assert event_kinds(entries(f.DiffStatusChanged(diff_status=None))) == ("diff_status_change",)
    assert event_kinds(entries(f.ChatCreated(owner_id=OWNER), MESSAGE)) == ("created",)
    assert event_kinds(entries(f.TurnEnded(turn_id=2, outcome=Outcome.INTERRUPTED), f.ChatDeleted())) == ("deleted",)
    assert event_kinds(entries(f.QueueMoved(queued_id=2))) == ()


def test_every_kind_of_fact_is_listed_or_explicitly_unlisted() -> None:
    unlisted = {
        "queued_message_edited", "queued_message_deleted", "queue_moved", "queued_message_promoted",
        "history_truncated", "retry_scheduled", "action_resolved", "system_changed", "tools_changed",
        "state_changed",
    }  # fmt: skip
    listed = {*EVENT_KINDS, *LISTED}
    assert {name for name, kind in f.KINDS.items() if kind not in listed} == unlisted


def test_an_event_carries_the_whole_chat() -> None:
    chat = msgspec.structs.replace(RUNNING, title="ü \ud800", labels={"a": "b"}, created_at=1, updated_at=2_000_000)
    event = decode(encode_chat_event(event_kinds(entries(MESSAGE))[0], CHAT, chat), ChatEvent)
    assert (event.kind, event.seq, event.draft) == ("status_change", 9, 9)
    assert (str(event.chat.id), str(event.chat.owner_id)) == (CHAT, OWNER)
    assert (event.chat.title, event.chat.status, event.chat.labels) == ("ü \ufffd", "running", {"a": "b"})
