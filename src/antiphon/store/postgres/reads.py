"""The queries of the PostgreSQL store: one statement and one round trip each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.core.facts import Entry
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.ports import (
    PAGE_BYTES_MAX,
    SEQ_MAX,
    ConfigRow,
    Due,
    FileBytes,
    FlushedDelta,
    Listed,
    Mark,
    Notification,
    Receipt,
    Session,
    Share,
    Token,
    Version,
)
from antiphon.store.postgres.pool import Pool
from antiphon.store.rows import (
    NEW_MAX,
    chat_of,
    due_of,
    entry_of,
    notification_of,
    session_of,
    share_of,
    token_of,
    versions_of,
)
from antiphon.store.statements import load_statements

SQL = load_statements("postgres")


class PostgresReads:
    """The queries of `ports.Store`."""

    def __init__(self, pool: Pool, file_storage: FileBytes | None = None) -> None:
        self._pool = pool
        self.file_storage = file_storage

    async def _rows(self, name: str, *values: Any) -> list[Any]:
        return await self._pool.rows(SQL[name], *values)

    async def _row(self, name: str, *values: Any) -> Any:
        return await self._pool.row(SQL[name], *values)

    # --- one chat

    async def load(self, chat_id: str) -> Chat | None:
        row = await self._row("load", chat_id)
        return chat_of(row[0]) if row else None

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        return tuple(entry_of(row) for row in await self._rows("read_entries", chat_id, after_seq, limit, bytes_max))

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int, upto: int = SEQ_MAX) -> Entry | None:
        row = await self._row("newest_entry", chat_id, after_seq, kind, upto)
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
        asked = (chat_id, start, limit + 1, bytes_max)
        rows = await (self._rows(name, *asked) if as_of is None else self._rows(f"past_{name}", *asked, as_of))
        page = [entry_of(tuple(row)[:-1]) for row in rows[:limit]]
        found = rows[0][-1] if rows else 0
        return tuple(reversed(page) if after_id is None else page), found > len(page)

    async def read_versions(self, chat_id: str, *, limit: int) -> tuple[Version, ...]:
        return versions_of(await self._rows("read_versions", chat_id, limit))

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        return {row[0]: row[1] for row in await self._rows("read_contents", chat_id, list(seqs))}

    async def count_messages(self, chat_id: str) -> int:
        return int((await self._row("count_messages", chat_id))[0])

    async def message_role(self, chat_id: str, message_id: int) -> Role | None:
        row = await self._row("message_role", chat_id, message_id)
        return Role(row[0]) if row else None

    async def queued_fate(self, chat_id: str, queued_id: int) -> str | None:
        fate: str | None = (await self._row("queued_fate", chat_id, queued_id))[0]
        return fate

    async def read_receipts(self, chat_id: str, client_ids: Sequence[str]) -> dict[str, Receipt]:
        rows = await self._rows("read_receipts", chat_id, client_ids)
        return {row[0]: Receipt(client_id=row[0], body_hash=row[1], answer=row[2]) for row in rows}

    async def read_flushed(self, chat_id: str, draft: int) -> tuple[FlushedDelta, ...]:
        return tuple(
            FlushedDelta(chat_id=chat_id, draft=draft, from_=row[0], to=row[1], body=row[2])
            for row in await self._rows("read_flushed", chat_id, draft)
        )

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        return tuple(row[0] for row in await self._rows("damaged_contents", chat_id, first_seq, last_seq))

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        return tuple(row[0] for row in await self._rows("damaged_receipts", chat_id))

    async def find_share(self, secret_hash: bytes) -> Share | None:
        row = await self._row("find_share", secret_hash)
        return share_of(row) if row else None

    async def list_shares(self, chat_id: str) -> tuple[Share, ...]:
        return tuple(share_of(row) for row in await self._rows("list_shares", chat_id))

    # --- many chats

    async def count_chats(self, owner_id: str) -> int:
        return int((await self._row("count_chats", owner_id))[0])

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

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        return tuple(row[0] for row in await self._rows("claimable", limit, list(passing_over)))

    async def due(self, *, limit: int) -> tuple[Due, ...]:
        return tuple(
            Due(chat_id=chat_id, attempt=attempt, why="lease") if state is None else due_of(chat_id, chat_of(state))
            for _, _, chat_id, attempt, state in await self._rows("due", limit)
        )

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        """No leases: the start of an instance does not prove that another one is dead. For no instance (``): every
        lease (doctor)."""
        if instance_id:
            return ()
        return tuple((row[0], row[1]) for row in await self._rows("leases"))

    async def list_pinned_chats(self, owner_id: str, *, limit: int) -> tuple[Listed, ...]:
        rows = await self._rows("list_pinned_chats", owner_id, limit)
        found = (Listed(chat_id=row[0], chat=chat_of(row[1])) for row in rows)
        return tuple(listed for listed in found if listed.chat.pin_order > 0)

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        """A chat may be returned more than once: a mark is a transaction, and an earlier one may still be open. The
        next poll starts at the mark of this poll's first page, because transactions that were open then may commit
        later."""
        if mark is None:
            return (), Mark(since=(await self._row("change_mark"))[0])
        rows = await self._rows("changed", *(mark.after or (mark.since, "")), limit)
        changed = tuple((row[1], row[2]) for row in rows if row[1] is not None)
        next_mark = rows[0][0] if mark.after is None else mark.since
        return changed, Mark(since=next_mark, after=(rows[-1][3], rows[-1][1]) if len(changed) == limit else None)

    async def iter_chat_ids(self) -> tuple[str, ...]:
        return tuple(row[0] for row in await self._rows("chat_ids"))

    # --- beside the chats

    async def find_owner(self, name: str) -> str | None:
        row = await self._row("find_owner", name)
        return str(row[0]) if row else None

    async def owner_count(self) -> int:
        return int((await self._row("owner_count"))[0])

    async def find_token(self, secret_hash: bytes) -> Token | None:
        row = await self._row("find_token", secret_hash)
        return token_of(row) if row else None

    async def list_tokens(self) -> tuple[Token, ...]:
        return tuple(token_of(row) for row in await self._rows("list_tokens"))

    async def revoked_of(self, ids: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows("revoked_of", list(ids)))

    async def find_session(self, secret_hash: bytes) -> Session | None:
        row = await self._row("find_session", secret_hash)
        return session_of(row) if row else None

    async def sessions_of(self, token_id: str) -> tuple[str, ...]:
        return tuple(row[0] for row in await self._rows("sessions_of", token_id))

    async def read_setting(self, name: str) -> str:
        row = await self._row("read_setting", name)
        return row[0] if row else ""

    # --- the inbox

    async def list_notifications(
        self, owner_id: str, *, is_unread: bool, limit: int, after: tuple[int, str] | None
    ) -> tuple[Notification, ...]:
        at, notification_id = after or (None, None)
        rows = await self._rows("list_notifications", owner_id, is_unread, at, notification_id, limit)
        return tuple(notification_of(row) for row in rows)

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        rows = await self._rows("new_notifications", list(owner_ids), since, NEW_MAX)
        return tuple(notification_of(row) for row in rows)

    async def count_unread(self, owner_id: str) -> int:
        return int((await self._row("count_unread", owner_id))[0])

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows("unread_of", list(chat_ids)))

    # --- configuration

    async def config_version(self) -> int:
        return int((await self._row("config_version"))[0])

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        found = await self._rows("read_config", kind, config_id)
        rows = [ConfigRow(kind=kind, config_id=row[1], body=row[2]) for row in found if row[1] is not None]
        rows.sort(key=lambda row: row.config_id)
        return tuple(rows), int(found[0][0])
