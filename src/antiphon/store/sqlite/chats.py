"""Chats in a SQLite store: appends, and queries of facts, messages, receipts and lists."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import apsw
import msgspec

from antiphon.core.facts import Entry
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.ports import PAGE_BYTES_MAX, SEQ_MAX, Append, Appended, Clock, FileBytes, Listed, Mark, Receipt, Version
from antiphon.store.checksum import checksum_of
from antiphon.store.rows import chat_of, entry_of, fitting, versions_of
from antiphon.store.sqlite.append import SqliteAppender
from antiphon.store.sqlite.database import SQL, SqliteDatabase, first


class SqliteChats(SqliteDatabase):
    """Keeps the promises of `ports.ChatStore`."""

    def __init__(
        self,
        path: Path,
        connection: apsw.Connection,
        clock: Clock,
        *,
        change: int,
        file_storage: FileBytes | None = None,
    ) -> None:
        super().__init__(path, connection, clock, file_storage)
        self._appender = SqliteAppender(change)

    async def append(self, append: Append) -> Appended:
        now = self.clock.now_us()
        result: Appended = await self._writer.run(lambda connection: self._appender.append(connection, append, now))
        return result

    async def load(self, chat_id: str) -> Chat | None:
        row = await self._row("load", chat_id)
        return chat_of(row[0]) if row else None

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        def job(connection: apsw.Connection) -> tuple[Entry, ...]:
            entries: list[Entry] = []
            size = 0
            for row in connection.execute(SQL["read_entries"], (chat_id, after_seq, limit)):
                entries.append(entry_of(row))
                size += len(row[2]) + len(row[7] or b"")
                if size >= bytes_max:
                    break
            return tuple(entries)

        return await self._read(job)

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int, upto: int = SEQ_MAX) -> Entry | None:
        row = await self._row("newest_entry", chat_id, after_seq, upto, kind)
        return entry_of(row) if row else None

    async def oldest_entry(self, chat_id: str, kind: str, *, after_seq: int) -> Entry | None:
        row = await self._row("oldest_entry", chat_id, after_seq, kind)
        return entry_of(row) if row else None

    async def read_messages(
        self,
        chat_id: str,
        *,
        after_id: int | None = None,
        before_id: int | None = None,
        limit: int,
        bytes_max: int = PAGE_BYTES_MAX,
        as_of: int | None = None,
    ) -> tuple[tuple[Entry, ...], bool]:
        name, start = "messages_newest", before_id or 1 << 62
        if after_id is not None:
            name, start = "messages_after", after_id
        asked = (chat_id, start) if as_of is None else (chat_id, start, as_of)
        statement = SQL[name if as_of is None else f"past_{name}"]

        def job(connection: apsw.Connection) -> tuple[list[Entry], bool]:
            rows = connection.execute(statement, (*asked, limit + 1))
            page = list(fitting((entry_of(row) for row in islice(rows, limit)), bytes_max))
            return page, next(rows, None) is not None

        page, has_more = await self._read(job)
        return tuple(reversed(page) if after_id is None else page), has_more

    async def read_versions(self, chat_id: str, *, limit: int) -> tuple[Version, ...]:
        return versions_of(await self._rows("read_versions", chat_id, limit))

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        def job(connection: apsw.Connection) -> dict[int, bytes]:
            found = {}
            for seq in seqs:
                row = first(connection, "read_content", chat_id, seq)
                if row:
                    found[seq] = row[0]
            return found

        return await self._read(job)

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        def job(connection: apsw.Connection) -> tuple[int, ...]:
            rows = connection.execute(SQL["checked_contents"], (chat_id, first_seq, last_seq))
            return tuple(seq for seq, body, checksum in rows if checksum_of(body) != checksum)

        return await self._read(job)

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        def job(connection: apsw.Connection) -> tuple[str, ...]:
            rows = connection.execute(SQL["checked_receipts"], (chat_id,))
            return tuple(name for name, body, answer, checksum in rows if checksum_of(body + answer) != checksum)

        return await self._read(job)

    async def count_chats(self, owner_id: str) -> int:
        return int((await self._row("count_chats", owner_id))[0])

    async def count_messages(self, chat_id: str) -> int:
        return int((await self._row("count_messages", chat_id))[0])

    async def message_role(self, chat_id: str, message_id: int) -> Role | None:
        row = await self._row("message_role", chat_id, message_id)
        return Role(row[0]) if row else None

    async def queued_fate(self, chat_id: str, queued_id: int) -> str | None:
        row = await self._row("queued_fate", chat_id, queued_id, chat_id, queued_id)
        return row[0] if row else None

    async def read_receipts(self, chat_id: str, client_ids: Sequence[str]) -> dict[str, Receipt]:
        rows = await self._rows("read_receipts", chat_id, msgspec.json.encode(client_ids).decode())
        return {row[0]: Receipt(client_id=row[0], body_hash=row[1], answer=row[2]) for row in rows}

    async def list_chats(
        self,
        owner_id: str,
        *,
        parent: str | None = None,
        archived: bool | None,
        label: tuple[str, str] | None,
        title: str,
        limit: int,
        after: tuple[int, str] | None,
    ) -> tuple[Listed, ...]:
        key, value = label or (None, None)
        at, chat_id = after or (None, None)
        filters = (archived, key, value, title or None, at, chat_id, limit)
        if parent is None:
            rows = await self._rows("list_chats", owner_id, *filters)
        else:
            rows = await self._rows("list_child_chats", owner_id, *filters, parent)
        return tuple(Listed(chat_id=row[0], chat=chat_of(row[1])) for row in rows)

    async def list_pinned_chats(self, owner_id: str, *, limit: int) -> tuple[Listed, ...]:
        rows = await self._rows("list_pinned_chats", owner_id, limit)
        return tuple(Listed(chat_id=row[0], chat=chat_of(row[1])) for row in rows)

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        if mark is None:
            return (), Mark(since=(await self._row("change_mark"))[0])
        rows = await self._rows("changed", mark.since, limit)
        return tuple((row[0], row[1]) for row in rows), Mark(since=rows[-1][2]) if rows else mark

    async def iter_chat_ids(self) -> tuple[str, ...]:
        return tuple(row[0] for row in await self._rows("chat_ids"))
