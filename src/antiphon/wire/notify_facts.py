"""From facts to the messages of the pub/sub contract.

An append becomes at most one ChatStreamNotifyMessage on the chat's channel, with the fields of all its facts merged,
and one ChatEvent for each kind of change on the owner's channel. They are hints: the receiver reads the store.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.core import facts as f
from antiphon.core.model import Chat, Outcome
from antiphon.wire import codec
from antiphon.wire.gotime import Time
from antiphon.wire.notify import ChatEventKind, ChatStreamError, ChatStreamNotifyMessage, ChatStreamRetry
from antiphon.wire.stream import chat_json

HOLDER_FACTS = frozenset({f.AttemptStarted, f.AttemptReleased, f.AttemptLost, f.ActionRequired})
QUEUE_FACTS = frozenset(
    {f.MessageQueued, f.QueuedMessageEdited, f.QueuedMessageDeleted, f.QueueMoved, f.QueuedMessagePromoted}
)

EVENT_KINDS: dict[type[f.Fact], ChatEventKind] = {
    f.ChatCreated: ChatEventKind.CREATED,
    f.ChatDeleted: ChatEventKind.DELETED,
    f.TitleChanged: ChatEventKind.TITLE_CHANGE,
    f.DiffStatusChanged: ChatEventKind.DIFF_STATUS_CHANGE,
}
"""The facts that have a ChatEvent kind of their own."""

LISTED = frozenset(
    {
        f.MessageAppended,
        f.MessageQueued,
        f.AttemptStarted,
        f.AttemptReleased,
        f.AttemptLost,
        f.InterruptRequested,
        f.ActionRequired,
        f.TurnRestarted,
        f.TurnEnded,
        f.LabelsChanged,
        f.PinChanged,
        f.ModelChanged,
        f.McpServersChanged,
        f.Archived,
        f.Unarchived,
    }
)
"""Other facts that change how the chat appears in an owner's list. They are published as `status_change`."""


def stream_message(before: Chat | None, entries: Sequence[f.Entry], after: Chat) -> ChatStreamNotifyMessage:
    """The message on the chat's channel for an append that changed the chat from `before` to `after`."""
    message_id = 0
    has_status = before is None or before.status is not after.status
    has_queue_update = has_refresh = False
    retry: ChatStreamRetry | None = None
    failure: ChatStreamError | None = None
    for entry in entries:
        fact = entry.recorded.fact
        kind = type(fact)
        if isinstance(fact, f.MessageAppended):
            message_id = message_id or entry.recorded.seq
            has_queue_update = has_queue_update or bool(fact.queued_id)
        elif kind in QUEUE_FACTS:
            has_queue_update = True
        elif kind in HOLDER_FACTS:
            has_status = True
        elif isinstance(fact, f.HistoryTruncated):
            has_refresh = True
        elif isinstance(fact, f.RetryScheduled):
            retry = _retry_of(fact)
        elif isinstance(fact, f.TurnEnded) and fact.outcome is Outcome.FAILED:
            has_status = True
            failure = _error_of(fact)
    return ChatStreamNotifyMessage(
        after_message_id=message_id - 1 if message_id else 0,
        status=after.status if has_status else "",
        worker_id=after.holder if has_status and after.attempt else "",
        retry=retry,
        error_payload=failure,
        error=failure.message if failure else "",
        queue_update=has_queue_update,
        full_refresh=has_refresh,
        seq=after.seq,
        draft=after.draft,
    )


def event_kinds(entries: Sequence[f.Entry]) -> tuple[ChatEventKind, ...]:
    """The kinds of ChatEvents for an append, each once. `created` or `deleted` replaces all others."""
    kinds: dict[ChatEventKind, None] = {}
    for entry in entries:
        kind = type(entry.recorded.fact)
        if kind in EVENT_KINDS:
            kinds[EVENT_KINDS[kind]] = None
        elif kind in LISTED:
            kinds[ChatEventKind.STATUS_CHANGE] = None
    for whole in (ChatEventKind.DELETED, ChatEventKind.CREATED):
        if whole in kinds:
            return (whole,)
    return tuple(kinds)


def encode_chat_event(kind: ChatEventKind, chat_id: str, chat: Chat) -> bytes:
    """A ChatEvent with the whole chat."""
    shown = {"kind": kind, "chat": chat_json(chat_id, chat), "seq": chat.seq, "draft": chat.draft}
    try:
        return _ENCODER.encode(shown)
    except UnicodeEncodeError:
        return codec.encode(shown)


_ENCODER = msgspec.json.Encoder(enc_hook=codec.enc_hook)


def _retry_of(fact: f.RetryScheduled) -> ChatStreamRetry:
    return ChatStreamRetry(
        attempt=fact.tries,
        delay_ms=fact.delay_ms,
        error=fact.error,
        kind=fact.kind,
        provider=fact.provider,
        status_code=fact.status_code,
        retrying_at=Time.from_us(fact.retrying_at),
    )


def _error_of(fact: f.TurnEnded) -> ChatStreamError:
    error = fact.error
    if error is None:
        return ChatStreamError(message="the turn failed")
    return ChatStreamError(
        message=error.message or error.kind or "the turn failed",
        kind=error.kind,
        provider=error.provider,
        retryable=error.retryable,
        status_code=error.status_code,
    )
