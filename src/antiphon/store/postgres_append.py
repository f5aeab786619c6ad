"""An append as the parameters of its one statement."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.core.facts import ChatDeleted, Entry, HistoryTruncated, MessageAppended, kind_of
from antiphon.core.model import FOLD_VERSION
from antiphon.ports import NOTIFICATIONS_KEPT, Append, Drop, Ended, Grant, Notification
from antiphon.store.postgres_pool import clean_text
from antiphon.store.rows import LEASE_US, claim_at, due_at
from antiphon.wire.log import content_seq, encode_chat, encode_fact


def append_values(append: Append) -> tuple[Any, ...]:
    """In the order of append_facts_2."""
    return (
        append.chat_id,
        append.after_seq,
        append.append_id,
        *_chat_values(append),
        *_fact_columns(append),
        list(append.contents),
        list(append.contents.values()),
        *_history_columns(append.entries),
        *_columns([(r.client_id, r.body_hash, r.answer) for r in append.receipts], 3),
        *_lease_values(append),
        *_notification_values(append.notification),
    )


def labels_json(labels: dict[str, str]) -> str:
    """Labels as jsonb takes them, which holds no NUL."""
    return msgspec.json.encode({clean_text(key): clean_text(value) for key, value in labels.items()}).decode()


def _chat_values(append: Append) -> tuple[Any, ...]:
    chat = append.chat
    return (
        chat.owner_id,
        chat.seq,
        FOLD_VERSION,
        encode_chat(chat),
        chat.status.value,
        chat.title,
        labels_json(chat.labels),
        chat.is_archived,
        chat.is_deleted,
        chat.updated_at,
        chat.draft,
        claim_at(chat),
        due_at(chat),
    )


def _fact_columns(append: Append) -> list[list[Any]]:
    first = append.entries[0]
    rows = []
    for entry in append.entries:
        fact = entry.fact
        names_append = entry is first or isinstance(fact, ChatDeleted)  # which leaves no other fact
        rows.append(
            (
                entry.seq,
                entry.recorded.at,
                kind_of(fact),
                encode_fact(fact),
                entry.status.value,
                entry.draft,
                entry.more,
                content_seq(entry.seq, fact),
                append.append_id if names_append else None,
            )
        )
    return _columns(rows, 9)


def _history_columns(entries: tuple[Entry, ...]) -> tuple[Any, ...]:
    """The messages, what is hidden by which fact from where on, and the seq of a deletion (0: none)."""
    messages, hidden, deleted_by = [], [], 0
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, MessageAppended):
            messages.append((entry.seq, fact.role.value, fact.queued_id))
        elif isinstance(fact, HistoryTruncated):
            hidden.append((entry.seq, fact.from_message_id))
        elif isinstance(fact, ChatDeleted):
            deleted_by = entry.seq
    return (*_columns(messages, 3), *_columns(hidden, 2), deleted_by)


def _lease_values(append: Append) -> tuple[str, int, str, int]:
    match append.lease:
        case Grant(attempt=attempt, instance_id=instance_id):
            return "grant", attempt, instance_id, LEASE_US
        case Ended(attempt=attempt):
            return "ended", attempt, "", 0
        case Drop():
            return "drop", 0, "", 0
        case None:
            return "", 0, "", 0


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _notification_values(notification: Notification | None) -> tuple[Any, ...]:
    if notification is None:
        return "", b"", 0, NOTIFICATIONS_KEPT
    return notification.notification_id, notification.body, notification.created_at, NOTIFICATIONS_KEPT
