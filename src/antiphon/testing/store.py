"""Wrappers of a store: `WrappedStore` forwards all calls, `UncertainStore` loses the outcomes of commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from antiphon.core.facts import Entry
from antiphon.core.model import Chat, Status
from antiphon.core.parts import Role, Usage
from antiphon.ports import (
    PAGE_BYTES_MAX,
    SEQ_MAX,
    Append,
    Appended,
    Clock,
    ConfigRow,
    DayUsage,
    Due,
    FileBytes,
    FileQuota,
    FlushedDelta,
    Listed,
    Mark,
    Notification,
    OutcomeUnknown,
    Receipt,
    Session,
    Share,
    Store,
    StoredFile,
    Token,
    Version,
)


class WrappedStore:
    """Forwards all calls to `inner`; subclasses change one thing. Several wrappers may share one store."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def clock(self) -> Clock:
        return self.inner.clock

    @property
    def last_error(self) -> str | None:
        return self.inner.last_error

    @property
    def is_shared(self) -> bool:
        return self.inner.is_shared

    async def append(self, append: Append) -> Appended:
        return await self.inner.append(append)

    async def load(self, chat_id: str) -> Chat | None:
        return await self.inner.load(chat_id)

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        return await self.inner.read_entries(chat_id, after_seq, limit=limit, bytes_max=bytes_max)

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int, upto: int = SEQ_MAX) -> Entry | None:
        return await self.inner.newest_entry(chat_id, kind, after_seq=after_seq, upto=upto)

    async def oldest_entry(self, chat_id: str, kind: str, *, after_seq: int) -> Entry | None:
        return await self.inner.oldest_entry(chat_id, kind, after_seq=after_seq)

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
        return await self.inner.read_messages(
            chat_id, after_id=after_id, before_id=before_id, limit=limit, bytes_max=bytes_max, as_of=as_of
        )

    async def read_versions(self, chat_id: str, *, limit: int) -> tuple[Version, ...]:
        return await self.inner.read_versions(chat_id, limit=limit)

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        return await self.inner.damaged_contents(chat_id, first_seq, last_seq)

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        return await self.inner.damaged_receipts(chat_id)

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        return await self.inner.read_contents(chat_id, seqs)

    async def count_chats(self, owner_id: str) -> int:
        return await self.inner.count_chats(owner_id)

    async def count_messages(self, chat_id: str) -> int:
        return await self.inner.count_messages(chat_id)

    async def read_setting(self, name: str) -> str:
        return await self.inner.read_setting(name)

    async def write_setting(self, name: str, value: str) -> None:
        await self.inner.write_setting(name, value)

    async def config_version(self) -> int:
        return await self.inner.config_version()

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        return await self.inner.read_config(kind, config_id)

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        return await self.inner.write_config(rows, after_version=after_version)

    async def message_role(self, chat_id: str, message_id: int) -> Role | None:
        return await self.inner.message_role(chat_id, message_id)

    async def queued_fate(self, chat_id: str, queued_id: int) -> str | None:
        return await self.inner.queued_fate(chat_id, queued_id)

    async def read_receipts(self, chat_id: str, client_ids: Sequence[str]) -> dict[str, Receipt]:
        return await self.inner.read_receipts(chat_id, client_ids)

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
        return await self.inner.list_chats(
            owner_id, parent=parent, archived=archived, label=label, title=title, limit=limit, after=after
        )

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        return await self.inner.claimable(limit=limit, passing_over=passing_over)

    async def due(self, *, limit: int) -> tuple[Due, ...]:
        return await self.inner.due(limit=limit)

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        return await self.inner.renew(instance_id, attempts)

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        return await self.inner.take_over(instance_id)

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        await self.inner.flush(deltas)

    async def read_flushed(self, chat_id: str, draft: int) -> tuple[FlushedDelta, ...]:
        return await self.inner.read_flushed(chat_id, draft)

    async def list_pinned_chats(self, owner_id: str, *, limit: int) -> tuple[Listed, ...]:
        return await self.inner.list_pinned_chats(owner_id, limit=limit)

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        return await self.inner.changed(mark, limit=limit)

    async def create_owner(self, name: str, *, is_admin: bool = False) -> str:
        return await self.inner.create_owner(name, is_admin=is_admin)

    async def find_owner(self, name: str) -> str | None:
        return await self.inner.find_owner(name)

    async def owner_count(self) -> int:
        return await self.inner.owner_count()

    async def add_token(self, owner_id: str, token_id: str, secret_hash: bytes) -> None:
        await self.inner.add_token(owner_id, token_id, secret_hash)

    async def find_token(self, secret_hash: bytes) -> Token | None:
        return await self.inner.find_token(secret_hash)

    async def list_tokens(self) -> tuple[Token, ...]:
        return await self.inner.list_tokens()

    async def revoke_token(self, token_id: str) -> bool:
        return await self.inner.revoke_token(token_id)

    async def list_notifications(
        self, owner_id: str, *, is_unread: bool, limit: int, after: tuple[int, str] | None
    ) -> tuple[Notification, ...]:
        return await self.inner.list_notifications(owner_id, is_unread=is_unread, limit=limit, after=after)

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        return await self.inner.new_notifications(owner_ids, since)

    async def count_unread(self, owner_id: str) -> int:
        return await self.inner.count_unread(owner_id)

    async def read_notification(self, owner_id: str, notification_id: str) -> Notification | None:
        return await self.inner.read_notification(owner_id, notification_id)

    async def read_all_notifications(self, owner_id: str) -> None:
        await self.inner.read_all_notifications(owner_id)

    async def move_read_cursor(self, chat_id: str, seq: int) -> None:
        await self.inner.move_read_cursor(chat_id, seq)

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        return await self.inner.unread_of(chat_ids)

    async def revoked_of(self, ids: Sequence[str]) -> frozenset[str]:
        return await self.inner.revoked_of(ids)

    async def add_share(self, share: Share, secret_hash: bytes) -> Share:
        return await self.inner.add_share(share, secret_hash)

    async def find_share(self, secret_hash: bytes) -> Share | None:
        return await self.inner.find_share(secret_hash)

    async def list_shares(self, chat_id: str) -> tuple[Share, ...]:
        return await self.inner.list_shares(chat_id)

    async def delete_share(self, chat_id: str, share_id: str) -> bool:
        return await self.inner.delete_share(chat_id, share_id)

    async def add_session(self, session_id: str, token_id: str, secret_hash: bytes) -> None:
        await self.inner.add_session(session_id, token_id, secret_hash)

    async def find_session(self, secret_hash: bytes) -> Session | None:
        return await self.inner.find_session(secret_hash)

    async def sessions_of(self, token_id: str) -> tuple[str, ...]:
        return await self.inner.sessions_of(token_id)

    async def touch_session(self, session_id: str) -> None:
        await self.inner.touch_session(session_id)

    async def revoke_session(self, session_id: str) -> bool:
        return await self.inner.revoke_session(session_id)

    async def delete_sessions(self, used_before: int) -> None:
        await self.inner.delete_sessions(used_before)

    async def write_file_piece(self, file_id: str, offset: int, piece: bytes) -> None:
        await self.inner.write_file_piece(file_id, offset, piece)

    async def complete_file(self, file: StoredFile, *, unused_s: float, quota: FileQuota) -> StoredFile:
        return await self.inner.complete_file(file, unused_s=unused_s, quota=quota)

    async def discard_file(self, file_id: str) -> None:
        await self.inner.discard_file(file_id)

    async def find_file(self, file_id: str) -> StoredFile | None:
        return await self.inner.find_file(file_id)

    async def file_usage(self, owner_id: str) -> tuple[int, int]:
        return await self.inner.file_usage(owner_id)

    async def read_file_piece(self, file_id: str, offset: int, size: int) -> bytes:
        return await self.inner.read_file_piece(file_id, offset, size)

    async def use_files(self, owner_id: str, chat_id: str, file_ids: Sequence[str]) -> tuple[str, ...]:
        return await self.inner.use_files(owner_id, chat_id, file_ids)

    async def files_of_chat(self, chat_id: str) -> frozenset[str]:
        return await self.inner.files_of_chat(chat_id)

    async def remove_expired_files(self, *, limit: int) -> int:
        return await self.inner.remove_expired_files(limit=limit)

    async def end_stale_file_uses(self) -> None:
        await self.inner.end_stale_file_uses()

    async def remove_unfinished_files(self) -> int:
        return await self.inner.remove_unfinished_files()

    async def remove_orphaned_bytes(self) -> int:
        return await self.inner.remove_orphaned_bytes()

    async def size_of_file(self, file_id: str) -> int:
        return await self.inner.size_of_file(file_id)

    @property
    def file_storage(self) -> FileBytes | None:
        return self.inner.file_storage

    async def list_files(self, *, after: str, limit: int) -> tuple[StoredFile, ...]:
        return await self.inner.list_files(after=after, limit=limit)

    async def add_usage(self, rows: Sequence[DayUsage]) -> None:
        await self.inner.add_usage(rows)

    async def read_usage(self, owner_id: str, first_day: int, last_day: int, *, limit: int) -> tuple[DayUsage, ...]:
        return await self.inner.read_usage(owner_id, first_day, last_day, limit=limit)

    async def sum_usage(self, owner_id: str, day: int) -> Usage:
        return await self.inner.sum_usage(owner_id, day)

    async def delete_usage(self, before_day: int) -> None:
        await self.inner.delete_usage(before_day)

    async def iter_chat_ids(self) -> tuple[str, ...]:
        return await self.inner.iter_chat_ids()

    async def check(self) -> None:
        await self.inner.check()

    async def aclose(self) -> None:
        await self.inner.aclose()


class UncertainStore(WrappedStore):
    """An `append` that sometimes commits and then raises `OutcomeUnknown`, or raises it without committing.

    Args:
        inner: The store.
        random: Decides which outcomes are lost; a seed makes the same choices in every run.
        lost_after: Probability (0 to 1) that an append is committed and its outcome is lost.
        lost_before: Probability that an append is not committed, and its outcome is unknown.
        lost_max: Maximum number of lost outcomes of one append (by its `append_id`), so that retries succeed.
    """

    def __init__(
        self,
        inner: Store,
        random: Random,
        *,
        lost_after: float = 0.2,
        lost_before: float = 0.2,
        lost_max: int = 3,
    ) -> None:
        super().__init__(inner)
        self._random = random
        self._lost_after = lost_after
        self._lost_before = lost_before
        self._lost_max = lost_max
        self._lost: Counter[str] = Counter()
        self.committed_unknown = 0
        self.not_committed_unknown = 0

    async def append(self, append: Append) -> Appended:
        chance = self._random.random() if self._lost[append.append_id] < self._lost_max else 1.0
        if chance < self._lost_before:
            self._lost[append.append_id] += 1
            self.not_committed_unknown += 1
            raise OutcomeUnknown
        result = await self.inner.append(append)
        if chance < self._lost_before + self._lost_after:
            self._lost[append.append_id] += 1
            self.committed_unknown += result is Appended.DONE
            raise OutcomeUnknown
        return result
