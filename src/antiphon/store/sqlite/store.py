"""The store in one SQLite file: WAL, synchronous=FULL, one writing thread, a few reading ones.

One process owns the file (the data directory's lock). Acknowledged means on the disk; flushed drafts are
written without waiting for it (they survive the process, not a power cut).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from antiphon.core.facts import ChatCreated, ChatDeleted, Entry, HistoryTruncated, MessageAppended
from antiphon.core.model import FOLD_VERSION, Chat, Status
from antiphon.core.parts import Role
from antiphon.errors import Unavailable
from antiphon.ports import (
    NOTIFICATIONS_KEPT,
    PAGE_BYTES_MAX,
    Append,
    Appended,
    Clock,
    ConfigRow,
    Drop,
    Due,
    Ended,
    FlushedDelta,
    Grant,
    Listed,
    Mark,
    Notification,
    Receipt,
    Token,
)
from antiphon.store.checksum import checksum_of, checksum_of_receipt
from antiphon.store.migrate import migrate
from antiphon.store.rows import (
    LEASE_US,
    NEW_MAX,
    chat_columns,
    chat_of,
    due_of,
    entry_columns,
    entry_of,
    fitting,
    notification_of,
    token_of,
)
from antiphon.store.sqlite.database_files import DatabaseFiles
from antiphon.store.sqlite.sessions import SqliteSessions, missing_reference
from antiphon.store.sqlite.writer import Writer, translated
from antiphon.store.statements import load_statements

READERS = 2

T = TypeVar("T")
_SQL = load_statements("sqlite")


async def open_sqlite_store(path: Path, *, clock: Clock) -> SqliteStore:
    """Open (and create or migrate) the database at `path`. Raises `Unavailable` for one of a newer version."""
    connection, change_mark = await asyncio.to_thread(_open_writer, path)
    return SqliteStore(path, connection, clock, change_mark=change_mark)


def _open_writer(path: Path) -> tuple[apsw.Connection, int]:
    """The connection that writes, and the mark of the last change."""
    connection = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(5000)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("foreign_keys", "on")
        connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        migrate(connection)
        change_mark = int(_first(connection, "change_mark")[0])
    except Exception as error:
        if connection is not None:
            connection.close()
        failure = Unavailable(f"{path.name}: {error.strerror}") if isinstance(error, OSError) else translated(error)
        if failure is error:
            raise
        raise failure from error
    return connection, change_mark


class SqliteStore(SqliteSessions):
    """Keeps the promises of `ports.Store`."""

    is_shared = False

    def __init__(self, path: Path, connection: apsw.Connection, clock: Clock, *, change_mark: int) -> None:
        self.clock = clock
        self._path = path
        self._connection = connection
        self._is_closed = False
        self._files = DatabaseFiles(path)
        self._writer = Writer(connection, check_files=self._files.check)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="antiphon-reader")
        self._local = threading.local()
        self._opened: list[apsw.Connection] = []
        self._changed = change_mark

    async def aclose(self) -> None:
        self._is_closed = True
        await self._writer.aclose()
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._opened:
            connection.close()
        self._connection.close()

    @property
    def last_error(self) -> str | None:
        """The kind of the last write's failure, None when it went well (readiness); also that a file of the database
        was moved or removed, which is checked here."""
        return self._files.refresh() or self._writer.last_error

    # --- writing

    async def append(self, append: Append) -> Appended:
        now = self.clock.now_us()
        result: Appended = await self._writer.run(lambda connection: self._append(connection, append, now))
        return result

    def _append(self, connection: apsw.Connection, append: Append, now: int) -> Appended:
        chat_id = append.chat_id
        row = _first(connection, "last_seq", chat_id)
        if (row[0] if row else 0) != append.after_seq:
            return Appended.DONE if _is_written(connection, append) else Appended.CONFLICT
        if row and row[1] > FOLD_VERSION:
            raise Unavailable("this chat was written by a newer version of Antiphon")
        for receipt in append.receipts:
            if _first(connection, "has_receipt", chat_id, receipt.client_id):
                return Appended.ANSWERED
        if isinstance(append.lease, Ended) and _first(
            connection, "lease_is_live", chat_id, append.lease.attempt, now
        ):
            return Appended.LEASE_LIVE
        self._write(connection, append, now)
        return Appended.DONE

    def _write(self, connection: apsw.Connection, append: Append, now: int) -> None:
        chat_id, chat = append.chat_id, append.chat
        execute = connection.execute
        for seq, body in append.contents.items():
            execute(_SQL["insert_content"], (chat_id, seq, body, checksum_of(body)))
        first = append.entries[0]
        for entry in append.entries:
            names_append = entry is first or isinstance(entry.fact, ChatDeleted)  # which leaves no other fact
            append_id = append.append_id if names_append else None
            execute(_SQL["insert_fact"], entry_columns(chat_id, entry, append_id))
            self._index(connection, chat_id, entry)
        for receipt in append.receipts:
            row = (chat_id, receipt.client_id, receipt.body_hash, receipt.answer, checksum_of_receipt(receipt))
            execute(_SQL["insert_receipt"], row)
        if isinstance(append.lease, Grant):
            execute(_SQL["grant_lease"], (chat_id, append.lease.attempt, append.lease.instance_id, now + LEASE_US))
        elif isinstance(append.lease, Drop | Ended):
            execute(_SQL["drop_lease"], (chat_id,))
        self._changed += 1
        is_new = isinstance(first.fact, ChatCreated)
        execute(
            _SQL["insert_chat" if is_new else "update_chat"],
            (*chat_columns(chat, FOLD_VERSION), self._changed, chat_id),
        )
        if not is_new and chat.draft > append.after_seq:  # else the draft that is open goes on
            execute(_SQL["drop_flushed"], (chat_id, chat.draft))
        if append.notification is not None:
            n = append.notification
            execute(_SQL["insert_notification"], (n.notification_id, n.owner_id, chat_id, n.body, n.created_at))
            execute(_SQL["drop_old_notifications"], (n.owner_id, NOTIFICATIONS_KEPT))

    def _index(self, connection: apsw.Connection, chat_id: str, entry: Entry) -> None:
        fact = entry.fact
        if isinstance(fact, MessageAppended):
            connection.execute(_SQL["insert_message"], (chat_id, entry.seq, fact.role.value, fact.queued_id))
        elif isinstance(fact, HistoryTruncated):
            connection.execute(_SQL["hide_messages"], (entry.seq, chat_id, fact.from_message_id))
        elif isinstance(fact, ChatDeleted):
            connection.execute(_SQL["scrub_facts"], (chat_id, entry.seq))
            connection.execute(_SQL["scrub_contents"], (chat_id,))
            connection.execute(_SQL["scrub_messages"], (chat_id,))
            connection.execute(_SQL["drop_flushed"], (chat_id, -1))
            connection.execute(_SQL["drop_notifications"], (chat_id,))
            connection.execute(_SQL["drop_read_cursor"], (chat_id,))

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        ends_at = self.clock.now_us() + LEASE_US

        def job(connection: apsw.Connection) -> dict[str, Status]:
            held = {}
            for chat_id, attempt in attempts:
                row = _first(connection, "renew_lease", ends_at, chat_id, attempt, instance_id)
                if row:
                    held[chat_id] = Status(row[0] or Status.WAITING)
            return held

        result: dict[str, Status] = await self._writer.run(job)
        return result

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        def job(connection: apsw.Connection) -> None:
            keys = {(delta.chat_id, delta.draft) for delta in deltas}
            open_ = {key for key in keys if _first(connection, "is_open_draft", *key)}
            for delta in deltas:
                if (delta.chat_id, delta.draft) in open_:
                    row = (delta.chat_id, delta.draft, delta.from_, delta.to, delta.body)
                    connection.execute(_SQL["flush"], row)

        await self._writer.run(job)

    async def create_owner(self, name: str, *, is_admin: bool = False) -> str:
        now = self.clock.now_us()

        def job(connection: apsw.Connection) -> str:
            row = _first(connection, "find_owner", name)
            if row is None:
                owner_id = _new_id(connection)
                connection.execute(_SQL["insert_owner"], (owner_id, name, is_admin, now))
                return owner_id
            return str(row[0])

        result: str = await self._writer.run(job)
        return result

    async def add_token(self, owner_id: str, token_id: str, secret_hash: bytes) -> None:
        row = (token_id, owner_id, secret_hash, self.clock.now_us())
        with missing_reference("owner"):
            await self._writer.run(lambda connection: connection.execute(_SQL["insert_token"], row))

    async def revoke_token(self, token_id: str) -> bool:
        now = self.clock.now_us()

        def job(connection: apsw.Connection) -> bool:
            connection.execute(_SQL["revoke_token"], (now, token_id))
            return connection.changes() > 0

        result: bool = await self._writer.run(job)
        return result

    async def read_setting(self, name: str) -> str:
        row = await self._row("read_setting", name)
        return row[0] if row else ""

    async def write_setting(self, name: str, value: str) -> None:
        await self._writer.run(lambda connection: connection.execute(_SQL["write_setting"], (name, value)))

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        def job(connection: apsw.Connection) -> int | None:
            found = list(connection.execute(_SQL["next_config_version"], (after_version,)))
            for row in rows if found else ():
                name = "delete_config" if row.body is None else "write_config"
                key = (row.kind, row.config_id)
                connection.execute(_SQL[name], key if row.body is None else (*key, row.body))
            return int(found[0][0]) if found else None

        result: int | None = await self._writer.run(job)
        return result

    async def check(self) -> None:
        now = self.clock.now_us()
        await self._writer.run(lambda connection: connection.execute(_SQL["try_write"], (now,)))

    # --- reading

    async def _read(self, job: Callable[[apsw.Connection], T]) -> T:
        def work() -> T:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                self._files.check()  # else it would be another database
                connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
                connection.set_busy_timeout(5000)
                self._local.connection = connection
                self._opened.append(connection)
            return job(connection)

        if self._is_closed:
            raise Unavailable("the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        except apsw.Error as error:
            failure = translated(error)
            if failure is error:
                raise
            raise failure from error

    async def _row(self, name: str, *values: Any) -> Any:
        return await self._read(lambda connection: _first(connection, name, *values))

    async def _rows(self, name: str, *values: Any) -> list[Any]:
        return await self._read(lambda connection: list(connection.execute(_SQL[name], values)))

    async def load(self, chat_id: str) -> Chat | None:
        row = await self._row("load", chat_id)
        return chat_of(row[0]) if row else None

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        def job(connection: apsw.Connection) -> tuple[Entry, ...]:
            entries: list[Entry] = []
            size = 0
            for row in connection.execute(_SQL["read_entries"], (chat_id, after_seq, limit)):
                entries.append(entry_of(row))
                size += len(row[2]) + len(row[7] or b"")
                if size >= bytes_max:
                    break
            return tuple(entries)

        return await self._read(job)

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int) -> Entry | None:
        row = await self._row("newest_entry", chat_id, after_seq, kind)
        return entry_of(row) if row else None

    async def read_messages(
        self,
        chat_id: str,
        *,
        after_id: int | None = None,
        before_id: int | None = None,
        limit: int,
        bytes_max: int = PAGE_BYTES_MAX,
    ) -> tuple[tuple[Entry, ...], bool]:
        name, start = "messages_newest", before_id or 1 << 62
        if after_id is not None:
            name, start = "messages_after", after_id

        def job(connection: apsw.Connection) -> tuple[list[Entry], bool]:
            rows = connection.execute(_SQL[name], (chat_id, start, limit + 1))
            page = list(fitting((entry_of(row) for row in islice(rows, limit)), bytes_max))
            return page, next(rows, None) is not None

        page, has_more = await self._read(job)
        return tuple(reversed(page) if after_id is None else page), has_more

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        def job(connection: apsw.Connection) -> dict[int, bytes]:
            found = {}
            for seq in seqs:
                row = _first(connection, "read_content", chat_id, seq)
                if row:
                    found[seq] = row[0]
            return found

        return await self._read(job)

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        def job(connection: apsw.Connection) -> tuple[int, ...]:
            rows = connection.execute(_SQL["checked_contents"], (chat_id, first_seq, last_seq))
            return tuple(seq for seq, body, checksum in rows if checksum_of(body) != checksum)

        return await self._read(job)

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        def job(connection: apsw.Connection) -> tuple[str, ...]:
            rows = connection.execute(_SQL["checked_receipts"], (chat_id,))
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
        archived: bool | None,
        label: tuple[str, str] | None,
        title: str,
        limit: int,
        after: tuple[int, str] | None,
    ) -> tuple[Listed, ...]:
        key, value = label or (None, None)
        at, chat_id = after or (None, None)
        rows = await self._rows("list_chats", owner_id, archived, key, value, title or None, at, chat_id, limit)
        return tuple(Listed(chat_id=row[0], chat=chat_of(row[1])) for row in rows)

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        passed = msgspec.json.encode(passing_over).decode()
        rows = await self._rows("claimable", self.clock.now_us(), limit, passed)
        return tuple(row[0] for row in rows)

    async def due(self, *, limit: int) -> tuple[Due, ...]:
        return tuple(
            Due(chat_id=chat_id, attempt=attempt, why="lease") if state is None else due_of(chat_id, chat_of(state))
            for chat_id, attempt, state in await self._rows("due", self.clock.now_us(), limit)
        )

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        return tuple((row[0], row[1]) for row in await self._rows("other_leases", instance_id))

    async def read_flushed(self, chat_id: str, draft: int) -> tuple[FlushedDelta, ...]:
        return tuple(
            FlushedDelta(chat_id=chat_id, draft=draft, from_=row[0], to=row[1], body=row[2])
            for row in await self._rows("read_flushed", chat_id, draft)
        )

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        if mark is None:
            return (), Mark(since=(await self._row("change_mark"))[0])
        rows = await self._rows("changed", mark.since, limit)
        return tuple((row[0], row[1]) for row in rows), Mark(since=rows[-1][2]) if rows else mark

    async def owner_count(self) -> int:
        return int((await self._row("owner_count"))[0])

    async def find_token(self, secret_hash: bytes) -> Token | None:
        row = await self._row("find_token", secret_hash)
        return token_of(row) if row else None

    async def list_tokens(self) -> tuple[Token, ...]:
        return tuple(token_of(row) for row in await self._rows("list_tokens"))

    # --- the inbox

    async def list_notifications(
        self, owner_id: str, *, is_unread: bool, limit: int, after: tuple[int, str] | None
    ) -> tuple[Notification, ...]:
        at, notification_id = after or (None, None)
        rows = await self._rows("list_notifications", owner_id, is_unread, at, notification_id, limit)
        return tuple(notification_of(row) for row in rows)

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        owners = msgspec.json.encode(owner_ids).decode()
        return tuple(notification_of(row) for row in await self._rows("new_notifications", owners, since, NEW_MAX))

    async def count_unread(self, owner_id: str) -> int:
        return int((await self._row("count_unread", owner_id))[0])

    async def read_notification(self, owner_id: str, notification_id: str) -> Notification | None:
        values = (self.clock.now_us(), owner_id, notification_id)
        row = await self._writer.run(lambda connection: _first(connection, "read_notification", *values))
        return notification_of(row) if row else None

    async def read_all_notifications(self, owner_id: str) -> None:
        values = (self.clock.now_us(), owner_id)
        await self._writer.run(lambda connection: connection.execute(_SQL["read_all_notifications"], values))

    async def move_read_cursor(self, chat_id: str, seq: int) -> None:
        await self._writer.run(lambda connection: connection.execute(_SQL["move_read_cursor"], (chat_id, seq)))

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows("unread_of", msgspec.json.encode(chat_ids).decode()))

    # --- configuration

    async def config_version(self) -> int:
        return int((await self._row("config_version"))[0])

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        found = await self._rows("read_config", kind, config_id)
        rows = [ConfigRow(kind=kind, config_id=row[1], body=row[2]) for row in found if row[1] is not None]
        rows.sort(key=lambda row: row.config_id)
        return tuple(rows), int(found[0][0])

    async def revoked_of(self, ids: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows("revoked_of", msgspec.json.encode(ids).decode()))

    async def iter_chat_ids(self) -> tuple[str, ...]:
        return tuple(row[0] for row in await self._rows("chat_ids"))


def _first(connection: apsw.Connection, name: str, *values: Any) -> Any:
    return next(iter(connection.execute(_SQL[name], values)), None)


def _is_written(connection: apsw.Connection, append: Append) -> bool:
    """Whether this very append is what follows `after_seq`: its answer was lost, it is not done twice."""
    rows = (
        _first(connection, "append_id_at", append.chat_id, append.after_seq + 1),
        _first(connection, "append_id_at", append.chat_id, append.chat.seq),
    )
    return any(row is not None and row[0] == append.append_id for row in rows)


def _new_id(connection: apsw.Connection) -> str:
    digits = next(iter(connection.execute("SELECT lower(hex(randomblob(16)))")))[0]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
