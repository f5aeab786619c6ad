"""The pub/sub contract: names, messages, and what a handler guarantees to its callback."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import AntiphonError, PeerError
from antiphon.wire import notify
from antiphon.wire.codec import decode, encode
from antiphon.wire.notify import (
    Chat,
    ChatConfigEvent,
    ChatConfigEventKind,
    ChatEvent,
    ChatEventKind,
    ChatStreamError,
    ChatStreamNotifyMessage,
    ChatStreamRetry,
    InboxNotificationEvent,
    InboxNotificationEventKind,
    handle_chat_config_event,
    handle_chat_event,
    handle_inbox_notification_event,
)

ID = UUID("6F9619FF-8B86-D011-B42D-00C04FC964FF")
HANDLERS = [
    (handle_chat_config_event, ChatConfigEvent, "chat config event"),
    (handle_chat_event, ChatEvent, "chat event"),
    (handle_inbox_notification_event, InboxNotificationEvent, "inbox notification event"),
]
each_handler = pytest.mark.parametrize(
    ("wrap", "kind", "name"), HANDLERS, ids=lambda value: getattr(value, "__name__", str(value))
)


class Subscriber:
    """Records the calls of its callback."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, AntiphonError | None]] = []

    async def __call__(self, payload: Any, error: AntiphonError | None) -> None:
        self.calls.append((payload, error))


def test_channels_have_the_references_names() -> None:
    assert notify.CHAT_CONFIG_EVENT_CHANNEL == "chat:config_change"
    assert notify.chat_event_channel(ID) == f"chat:owner:{str(ID).lower()}"
    assert notify.chat_stream_notify_channel(ID) == f"chat:stream:{str(ID).lower()}"
    assert notify.inbox_notification_for_owner_event_channel(ID) == f"inbox_notification:owner:{str(ID).lower()}"


def test_the_added_channels_have_their_own_prefix() -> None:
    assert notify.WANTED_CHANNEL == "antiphon:wanted"
    assert notify.REVOKED_CHANNEL == "antiphon:revoked"
    assert notify.draft_channel(ID) == f"antiphon:draft:{str(ID).lower()}"


def test_kinds_have_the_references_names() -> None:
    assert [*ChatConfigEventKind] == ["providers", "model_config", "user_prompt"]
    assert [*ChatEventKind] == ["status_change", "title_change", "created", "deleted", "diff_status_change"]
    assert [*InboxNotificationEventKind] == ["new"]
    assert ChatEventKind.STATUS_CHANGE == "status_change"


def test_seq_and_draft_are_left_out_when_unset_and_written_when_zero() -> None:
    for kind in (ChatEvent, ChatStreamNotifyMessage):
        assert not {"seq", "draft"} & json.loads(encode(kind())).keys()
        assert {"seq": 0, "draft": 0}.items() <= json.loads(encode(kind(seq=0, draft=0))).items()
        assert decode(b'{"seq":7,"draft":5}', kind) == kind(seq=7, draft=5)


def test_a_receiver_prefers_the_error_payload() -> None:
    payload = ChatStreamError(message="no credit", kind="auth")
    assert ChatStreamNotifyMessage(error_payload=payload, error="no credit, in short").failure == payload


def test_a_receiver_falls_back_to_the_legacy_error() -> None:
    assert ChatStreamNotifyMessage(error="boom").failure == ChatStreamError(message="boom")
    assert ChatStreamNotifyMessage(status="running").failure is None


def test_a_retry_is_written_without_what_is_unknown() -> None:
    assert json.loads(encode(ChatStreamRetry(attempt=1, delay_ms=250, error="overloaded"))) == {
        "attempt": 1,
        "delay_ms": 250,
        "error": "overloaded",
        "retrying_at": "0001-01-01T00:00:00Z",
    }


@each_handler
def test_a_message_reaches_the_callback_as_its_type(wrap: Any, kind: Any, name: str) -> None:
    subscriber = Subscriber()
    asyncio.run(wrap(subscriber)(encode(kind()), None))
    assert subscriber.calls == [(kind(), None)]


@each_handler
def test_a_bus_error_reaches_the_callback_with_a_zero_payload(wrap: Any, kind: Any, name: str) -> None:
    subscriber = Subscriber()
    lost = ConnectionError("dropped messages")
    asyncio.run(wrap(subscriber)(b"", lost))
    [(payload, error)] = subscriber.calls
    assert payload == kind()
    assert str(error) == f"{name} pubsub: dropped messages"
    assert isinstance(error, AntiphonError)
    assert error.__cause__ is lost


@each_handler
@pytest.mark.parametrize("message", [b"", b"{", b"[]", b'{"kind":5}', b"\xff", b"[" * 100_000])
def test_unreadable_bytes_reach_the_callback_as_an_error(wrap: Any, kind: Any, name: str, message: bytes) -> None:
    subscriber = Subscriber()
    asyncio.run(wrap(subscriber)(message, None))
    [(payload, error)] = subscriber.calls
    assert payload == kind()
    assert isinstance(error, PeerError)
    assert str(error).startswith(f"unmarshal {name}: ")


@each_handler
@pytest.mark.parametrize("message", [b"{}", b"{"])
def test_an_exception_in_the_callback_is_reported_and_the_subscription_continues(
    wrap: Any, kind: Any, name: str, message: bytes
) -> None:
    async def fail(payload: Any, error: AntiphonError | None) -> None:
        raise ZeroDivisionError

    reported: list[Exception] = []
    asyncio.run(wrap(fail)(message, None))
    asyncio.run(wrap(fail, reported.append)(message, None))
    assert [type(failure) for failure in reported] == [ZeroDivisionError]


def test_cancelling_a_callback_cancels_the_handler() -> None:
    async def cancelled(payload: Any, error: AntiphonError | None) -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await handle_chat_event(cancelled)(b"{}", None)

    asyncio.run(main())


def test_a_kind_from_a_newer_peer_reaches_the_callback() -> None:
    subscriber = Subscriber()
    asyncio.run(handle_chat_event(subscriber)(b'{"kind":"moved","chat":{"title":"t"}}', None))
    assert subscriber.calls == [(ChatEvent(kind=ChatEventKind("moved"), chat=Chat(title="t")), None)]
