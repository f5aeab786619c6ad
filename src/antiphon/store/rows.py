"""Converts values to and from the columns that every SQL store has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from antiphon.core.facts import ChatDeleted, Entry, Recorded
from antiphon.core.model import Chat, Status
from antiphon.core.parts import Usage
from antiphon.core.workers import INTERRUPT_GRACE_US
from antiphon.errors import TooMany, Unavailable
from antiphon.ports import (
    COUNT_MAX,
    Append,
    Appended,
    DayUsage,
    Due,
    FileQuota,
    Notification,
    SendCount,
    Session,
    Share,
    StoredFile,
    Token,
    Version,
)
from antiphon.wire.log import content_seq, decode_chat, decode_fact, encode_chat, encode_fact

NEW_MAX = 1_000
"""Maximum number of new notifications in one query."""
LEASE_US = 10_000_000
"""How long a lease lasts that is not renewed, in microseconds."""

STALE_USE_US = 24 * 3600 * 1_000_000
"""How long a use of a file may have no chat before it ends, in microseconds: its chat was never created."""
OLD_USE_US = 30 * STALE_USE_US
"""How old uses are that are not checked any more, in microseconds, so that a check reads few of them."""

UNREADABLE = "this chat contains data that this version of Antiphon cannot read"


def names_append(entry: Entry, append: Append) -> bool:
    """Whether the entry carries the append's id: the first one does, and a deletion, which removes the others."""
    return entry is append.entries[0] or isinstance(entry.fact, ChatDeleted)


def entry_columns(chat_id: str, entry: Entry, append_id: str | None) -> tuple[Any, ...]:
    recorded = entry.recorded
    return (
        chat_id,
        recorded.seq,
        recorded.at,
        encode_fact(recorded.fact),
        entry.status.value,
        entry.draft,
        entry.more,
        content_seq(recorded.seq, recorded.fact),
        append_id,
    )


def entry_of(row: Sequence[Any]) -> Entry:
    """From (seq, at, body, status, draft, more, hidden_by, content)."""
    seq, at, body, status, draft, more, hidden_by, content = row
    try:
        fact = decode_fact(body)
    except msgspec.DecodeError as error:
        raise Unavailable(UNREADABLE) from error
    return Entry(
        recorded=Recorded(seq, at, fact),
        status=Status(status),
        draft=draft,
        more=bool(more),
        content=content,
        hidden_by=hidden_by,
    )


def versions_of(rows: Sequence[Any]) -> tuple[Version, ...]:
    """From rows of (seq, at, first message, message before), the newest first."""
    return tuple(
        Version(seq=seq, at=at, from_message_id=first, after_message_id=before)
        for seq, at, first, before in reversed(rows)
    )


def fitting(entries: Iterable[Entry], bytes_max: int) -> Iterator[Entry]:
    """The first of `entries`, up to and including the one with which their content reaches `bytes_max` bytes."""
    size = 0
    for entry in entries:
        yield entry
        size += len(entry.content or b"")
        if size >= bytes_max:
            return


def chat_of(state: bytes) -> Chat:
    try:
        return decode_chat(state)
    except msgspec.DecodeError as error:
        raise Unavailable(UNREADABLE) from error


def chat_columns(chat: Chat, fold_version: int) -> tuple[Any, ...]:
    """The columns of a chat, in the order of the statements; `changed` and chat_id follow."""
    return (
        chat.owner_id,
        chat.seq,
        fold_version,
        encode_chat(chat),
        chat.title,
        msgspec.json.encode(chat.labels).decode(),
        chat.is_archived,
        chat.is_deleted,
        chat.updated_at,
        chat.draft,
        claim_at(chat),
        due_at(chat),
    )


def parent_of(chat: Chat) -> str | None:
    """The id of the chat that started this one, the column `parent_chat_id`."""
    return chat.parent.chat_id if chat.parent else None


def claim_at(chat: Chat) -> int | None:
    """The time from which a worker may claim the chat, in microseconds (None: it needs no worker)."""
    if not chat.needs_worker or chat.is_deleted:
        return None
    return max(chat.retrying_at, chat.updated_at)


def due_at(chat: Chat) -> int | None:
    """The time at which the chat must be handled without a command, in microseconds: the end of an interrupt's grace
    period, or an action's deadline."""
    if chat.status is Status.INTERRUPTING:
        return chat.interrupt_at + INTERRUPT_GRACE_US
    return chat.deadline if chat.status is Status.REQUIRES_ACTION else None


def due_of(chat_id: str, chat: Chat) -> Due:
    why = "interrupt" if chat.status is Status.INTERRUPTING else "action"
    return Due(chat_id=chat_id, attempt=chat.attempt, why=why)


def token_of(row: Sequence[Any]) -> Token:
    """From (token_id, owner_id, owner's name, is_admin, created_at, revoked_at)."""
    token_id, owner_id, owner_name, is_admin, created_at, revoked_at = row
    return Token(
        token_id=token_id,
        owner_id=owner_id,
        owner_name=owner_name,
        is_admin=bool(is_admin),
        created_at=created_at,
        revoked_at=revoked_at,
    )


def share_of(row: Sequence[Any]) -> Share:
    """From (share_id, chat_id, owner_id, created_at)."""
    share_id, chat_id, owner_id, created_at = row
    return Share(share_id=share_id, chat_id=chat_id, owner_id=owner_id, created_at=created_at)


def session_of(row: Sequence[Any]) -> Session:
    """From (session_id, created_at, used_at, revoked_at) and its token's columns."""
    session_id, created_at, used_at, revoked_at, *token = row
    return Session(
        session_id=session_id,
        token=token_of(token),
        created_at=created_at,
        used_at=used_at,
        revoked_at=revoked_at,
    )


def notification_of(row: Sequence[Any]) -> Notification:
    """From (notification_id, owner_id, chat_id, body, created_at, read_at)."""
    notification_id, owner_id, chat_id, body, created_at, read_at = row
    return Notification(
        notification_id=notification_id,
        owner_id=owner_id,
        chat_id=chat_id,
        body=body,
        created_at=created_at,
        read_at=read_at,
    )


def file_of(row: Sequence[Any]) -> StoredFile:
    """From (file_id, owner_id, sha256, media_type, size, name, created_at)."""
    file_id, owner_id, sha256, media_type, size, name, created_at = row
    return StoredFile(
        file_id=file_id,
        owner_id=owner_id,
        sha256=sha256,
        media_type=media_type,
        size=size,
        name=name,
        created_at=created_at,
    )


_TOKENS = (
    *("input_tokens", "output_tokens", "reasoning_tokens", "cache_creation_tokens", "cache_read_tokens"),
    "priced_tokens",
)


def usage_columns(row: DayUsage) -> tuple[Any, ...]:
    """The columns of usage_days, in the order of the statements."""
    usage, cost = row.usage, row.usage.cost_micros
    counts = (row.calls, row.turns, *(getattr(usage, name) or 0 for name in _TOKENS))
    capped = (min(count, COUNT_MAX) for count in counts)
    return (row.owner_id, row.day, row.model, *capped, None if cost is None else min(cost, COUNT_MAX))


def summed_usage(total: Usage) -> Usage:
    """The sum of a day: its tokens, how many of them have a price, and their cost."""
    return Usage(
        input_tokens=total.input_tokens or 0,
        output_tokens=total.output_tokens or 0,
        priced_tokens=total.priced_tokens or 0,
        cost_micros=total.cost_micros,
    )


def sum_of_day(row: Sequence[Any]) -> Usage:
    """From the sums of (input_tokens, output_tokens, priced_tokens, cost_micros)."""
    read, written, priced, cost = row
    return Usage(input_tokens=read, output_tokens=written, priced_tokens=priced, cost_micros=cost)


def over_limit(sends: SendCount, messages: int, turns: int) -> Appended | None:
    """The refusal of what an owner sends after `messages` and `turns` in the same minute; None: it is within its
    limits."""
    if sends.messages and sends.messages_max is not None and messages + sends.messages > sends.messages_max:
        return Appended.MESSAGES_LIMITED
    if sends.turns and sends.turns_max is not None and turns + sends.turns > sends.turns_max:
        return Appended.TURNS_LIMITED
    return None


def usage_of(row: Sequence[Any]) -> DayUsage:
    """From the columns of usage_days."""
    owner_id, day, model, calls, turns, *tokens, cost = row
    usage = Usage(**dict(zip(_TOKENS, tokens, strict=True)), cost_micros=cost)
    return DayUsage(owner_id=owner_id, day=day, model=model, calls=calls, turns=turns, usage=usage)


def check_quota(count: int, size: int, file: StoredFile, quota: FileQuota) -> None:
    """Raises `TooMany` if an owner with `count` files of `size` bytes may not store one more."""
    if count + 1 > quota.files_max:
        raise TooMany("files of one owner", quota.files_max)
    if size + file.size > quota.bytes_max:
        raise TooMany("bytes in files of one owner", quota.bytes_max)
