"""Appends as the one JSON document that is the parameter of the append statement.

Its fields have the names that the statement gives them, and bytes are in the database's hexadecimal form. Forty
parameters for each append would take more time than everything else in an append.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec

from antiphon.core.facts import ChatDeleted, Entry, HistoryTruncated, MessageAppended, kind_of
from antiphon.core.model import FOLD_VERSION
from antiphon.ports import NOTIFICATIONS_KEPT, Append, Drop, Ended, Grant, Receipt
from antiphon.store.postgres.text import clean_text
from antiphon.store.rows import LEASE_US, claim_at, due_at, names_append, parent_of, usage_columns
from antiphon.wire.log import content_seq, encode_chat, encode_fact

_USAGE = (
    *("u_day", "u_model", "u_calls", "u_turns", "u_input_tokens", "u_output_tokens", "u_reasoning_tokens"),
    *("u_cache_creation_tokens", "u_cache_read_tokens", "u_priced_tokens", "u_cost_micros"),
)
"""The columns of usage_days after the owner's."""
NUL = b"\\u0000"
"""The character that PostgreSQL cannot store in a text, as JSON."""


def document_of(rows: Sequence[bytes]) -> str:
    """The document of several appends (each by `append_json`), numbered in their order."""
    numbered = (b'{"number":%d,%b' % (number, row[1:]) for number, row in enumerate(rows))
    return (b"[" + b",".join(numbered) + b"]").decode()


def append_json(append: Append) -> bytes:
    """One append as a JSON object. Raises `TypeError` for a value that JSON does not have."""
    row = {
        "parent_chat_id": parent_of(append.chat),
        "chat_id": append.chat_id,
        "after_seq": append.after_seq,
        "append_id": append.append_id,
        "chat": _chat(append),
        "c_seq": list(append.contents),
        "c_body": _hex(append.contents.values()),
        **_facts(append),
        **_history(append.entries),
        **_receipts(append.receipts),
        **_lease(append),
        **_notification(append),
        **(_counts(append) if is_counting(append) else {}),
    }
    try:
        data = msgspec.json.encode(row)
    except UnicodeEncodeError:
        data = NUL
    return msgspec.json.encode(_clean(row)) if NUL in data else data


def is_counting(append: Append) -> bool:
    """Whether the append needs the statement `append_counting`."""
    return bool(append.usage) or append.sends is not None


def _counts(append: Append) -> dict[str, Any]:
    """What the append adds to the owner's usage and sends; the minute 0: the sends are not limited."""
    sends = append.sends
    columns = zip(*map(usage_columns, append.usage), strict=True) if append.usage else [()] * (len(_USAGE) + 1)
    return {
        "s_minute": sends.minute if sends else 0,
        "s_messages": sends.messages if sends else 0,
        "s_turns": sends.turns if sends else 0,
        "s_messages_max": sends.messages_max if sends else None,
        "s_turns_max": sends.turns_max if sends else None,
    } | dict(zip(_USAGE, map(list, islice(columns, 1, None)), strict=True))


def _hex(bodies: Iterable[bytes]) -> list[str]:
    """Bytes in the database's hexadecimal form."""
    return ["\\x" + body.hex() for body in bodies]


def _clean(value: Any) -> Any:
    """The value with every character replaced that PostgreSQL cannot store in a text."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): _clean(item) for key, item in value.items()}
    return value


def _chat(append: Append) -> dict[str, Any]:
    """The fields of the type appended_chat (migrations)."""
    chat = append.chat
    return {
        "owner_id": chat.owner_id,
        "seq": chat.seq,
        "fold_version": FOLD_VERSION,
        "state": "\\x" + encode_chat(chat).hex(),
        "status": chat.status.value,
        "title": chat.title,
        "labels": chat.labels,
        "is_archived": chat.is_archived,
        "is_deleted": chat.is_deleted,
        "updated_at": chat.updated_at,
        "draft": chat.draft,
        "claim_at": claim_at(chat),
        "due_at": due_at(chat),
    }


def _facts(append: Append) -> dict[str, list[Any]]:
    entries = append.entries
    return {
        "f_seq": [entry.seq for entry in entries],
        "f_at": [entry.recorded.at for entry in entries],
        "f_kind": [kind_of(entry.fact) for entry in entries],
        "f_body": _hex(encode_fact(entry.fact) for entry in entries),
        "f_status": [entry.status.value for entry in entries],
        "f_draft": [entry.draft for entry in entries],
        "f_more": [entry.more for entry in entries],
        "f_content_seq": [content_seq(entry.seq, entry.fact) for entry in entries],
        "f_append_id": [append.append_id if names_append(entry, append) else None for entry in entries],
    }


def _history(entries: tuple[Entry, ...]) -> dict[str, Any]:
    """The messages; from which message on which fact hides the history; and the seq of a deletion (0: none)."""
    messages = [(entry.seq, entry.fact) for entry in entries if isinstance(entry.fact, MessageAppended)]
    hidden = [(entry.seq, entry.fact) for entry in entries if isinstance(entry.fact, HistoryTruncated)]
    return {
        "m_seq": [seq for seq, _ in messages],
        "m_role": [fact.role.value for _, fact in messages],
        "m_queued_id": [fact.queued_id for _, fact in messages],
        "h_by": [seq for seq, _ in hidden],
        "h_from": [fact.from_message_id for _, fact in hidden],
        "deleted_by": max((entry.seq for entry in entries if isinstance(entry.fact, ChatDeleted)), default=0),
    }


def _receipts(receipts: Sequence[Receipt]) -> dict[str, list[Any]]:
    return {
        "r_client_id": [receipt.client_id for receipt in receipts],
        "r_body_hash": _hex(receipt.body_hash for receipt in receipts),
        "r_answer": _hex(receipt.answer for receipt in receipts),
    }


def _lease(append: Append) -> dict[str, Any]:
    kind, attempt, instance_id = "", 0, ""
    match append.lease:
        case Grant():
            kind, attempt, instance_id = "grant", append.lease.attempt, append.lease.instance_id
        case Ended():
            kind, attempt = "ended", append.lease.attempt
        case Drop():
            kind = "drop"
    return {"l_kind": kind, "l_attempt": attempt, "l_instance_id": instance_id, "l_us": LEASE_US}


def _notification(append: Append) -> dict[str, Any]:
    notification = append.notification
    return {
        "n_id": notification.notification_id if notification else "",
        "n_body": "\\x" + (notification.body.hex() if notification else ""),
        "n_created_at": notification.created_at if notification else 0,
        "n_kept": NOTIFICATIONS_KEPT,
    }
