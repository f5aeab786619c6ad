"""Writes one append to SQLite, inside the transaction of the writing thread."""

from __future__ import annotations

import apsw

from antiphon.core.facts import ChatCreated, ChatDeleted, Entry, HistoryTruncated, MessageAppended
from antiphon.core.model import FOLD_VERSION
from antiphon.errors import Unavailable
from antiphon.ports import NOTIFICATIONS_KEPT, Append, Appended, Drop, Ended, Grant, SendCount
from antiphon.store.checksum import checksum_of, checksum_of_receipt
from antiphon.store.rows import (
    LEASE_US,
    chat_columns,
    entry_columns,
    names_append,
    over_limit,
    parent_of,
    usage_columns,
)
from antiphon.store.sqlite.database import SQL, first
from antiphon.store.sqlite.file_rows import release_files


class SqliteAppender:
    """Used in the writing thread only. `change` is the number of the last change: it grows with every append."""

    def __init__(self, change: int) -> None:
        self._change = change

    def append(self, connection: apsw.Connection, append: Append, now: int) -> Appended:
        """Write the append unless it is refused. `now` is in microseconds."""
        chat_id = append.chat_id
        row = first(connection, "last_seq", chat_id)
        if (row[0] if row else 0) != append.after_seq:
            return Appended.DONE if _is_written(connection, append) else Appended.CONFLICT
        if row and row[1] > FOLD_VERSION:
            raise Unavailable("this chat was written by a newer version of Antiphon")
        for receipt in append.receipts:
            if first(connection, "has_receipt", chat_id, receipt.client_id):
                return Appended.ANSWERED
        if append.sends is not None and (refusal := _refused_send(connection, append.sends)) is not None:
            return refusal
        if isinstance(append.lease, Ended) and first(connection, "lease_is_live", chat_id, append.lease.attempt, now):
            return Appended.LEASE_LIVE
        self._write(connection, append, now)
        return Appended.DONE

    def _write(self, connection: apsw.Connection, append: Append, now: int) -> None:
        chat_id, chat = append.chat_id, append.chat
        execute = connection.execute
        for seq, body in append.contents.items():
            execute(SQL["insert_content"], (chat_id, seq, body, checksum_of(body)))
        for entry in append.entries:
            append_id = append.append_id if names_append(entry, append) else None
            execute(SQL["insert_fact"], entry_columns(chat_id, entry, append_id))
            self._index(connection, chat_id, entry)
        for receipt in append.receipts:
            row = (chat_id, receipt.client_id, receipt.body_hash, receipt.answer, checksum_of_receipt(receipt))
            execute(SQL["insert_receipt"], row)
        if isinstance(append.lease, Grant):
            execute(SQL["grant_lease"], (chat_id, append.lease.attempt, append.lease.instance_id, now + LEASE_US))
        elif isinstance(append.lease, Drop | Ended):
            execute(SQL["drop_lease"], (chat_id,))
        self._change += 1
        is_new = isinstance(append.entries[0].fact, ChatCreated)
        columns = (*chat_columns(chat, FOLD_VERSION), self._change, chat_id)
        if is_new:
            execute(SQL["insert_chat"], (*columns, parent_of(chat)))
        else:
            execute(SQL["update_chat"], columns)
        if not is_new and chat.draft > append.after_seq:  # else the open draft remains open
            execute(SQL["drop_flushed"], (chat_id, chat.draft))
        if append.notification is not None:
            n = append.notification
            execute(SQL["insert_notification"], (n.notification_id, n.owner_id, chat_id, n.body, n.created_at))
            execute(SQL["drop_old_notifications"], (n.owner_id, NOTIFICATIONS_KEPT))
        for used in append.usage:
            execute(SQL["add_usage"], usage_columns(used))
        if append.sends is not None:
            sends = append.sends
            execute(SQL["count_send"], (sends.owner_id, sends.minute, sends.messages, sends.turns))
        if chat.is_deleted:
            release_files(connection, now, "drop_file_uses", chat_id)
            connection.execute(SQL["delete_shares"], (chat_id,))

    def _index(self, connection: apsw.Connection, chat_id: str, entry: Entry) -> None:
        fact = entry.fact
        if isinstance(fact, MessageAppended):
            connection.execute(SQL["insert_message"], (chat_id, entry.seq, fact.role.value, fact.queued_id))
        elif isinstance(fact, HistoryTruncated):
            connection.execute(SQL["hide_messages"], (entry.seq, chat_id, fact.from_message_id))
        elif isinstance(fact, ChatDeleted):
            connection.execute(SQL["scrub_facts"], (chat_id, entry.seq))
            connection.execute(SQL["scrub_contents"], (chat_id,))
            connection.execute(SQL["scrub_messages"], (chat_id,))
            connection.execute(SQL["drop_flushed"], (chat_id, -1))
            connection.execute(SQL["drop_notifications"], (chat_id,))
            connection.execute(SQL["drop_read_cursor"], (chat_id,))


def _refused_send(connection: apsw.Connection, sends: SendCount) -> Appended | None:
    """Whether the owner may not send this in its minute."""
    messages, turns = first(connection, "read_send_count", sends.owner_id, sends.minute) or (0, 0)
    return over_limit(sends, messages, turns)


def _is_written(connection: apsw.Connection, append: Append) -> bool:
    """Whether this same append is stored after `after_seq`: its answer was lost, and it must not be written twice."""
    rows = (
        first(connection, "append_id_at", append.chat_id, append.after_seq + 1),
        first(connection, "append_id_at", append.chat_id, append.chat.seq),
    )
    return any(row is not None and row[0] == append.append_id for row in rows)
