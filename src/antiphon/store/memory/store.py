"""The store in memory: one process, nothing durable, every promise of `ports.Store` but the disk's."""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.clock import RandomIds
from antiphon.core.facts import ChatCreated, Entry, MessageQueued, kind_of
from antiphon.core.model import Chat, Status
from antiphon.core.parts import Role
from antiphon.errors import NotFound, Unavailable
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
    Ids,
    Listed,
    Mark,
    Notification,
    Receipt,
    Session,
    Token,
)
from antiphon.store.checksum import checksum_of
from antiphon.store.memory.chat import Kept, Lease, stored_entry
from antiphon.store.memory.presence import MemoryPresence
from antiphon.store.memory.sessions import MemorySessions
from antiphon.store.rows import LEASE_US, NEW_MAX, claim_at, due_at, due_of, fitting
from antiphon.wire.log import decode_chat, encode_chat, encode_fact


class MemoryStore:
    """Keeps the promises of `ports.Store`. Several instances of one process may share it (`is_shared`); `presence`
    then tells who of them lives. Values go through the log's format, so that nothing is kept here
    which a database could not keep."""

    last_error: str | None = None

    def __init__(self, *, clock: Clock, is_shared: bool = False, ids: Ids | None = None) -> None:
        self.clock = clock
        self._ids = ids or RandomIds()
        self.is_shared = is_shared
        self.presence = MemoryPresence(clock, self._attempts_of)
        self._chats: dict[str, Kept] = {}
        self._leases: dict[str, Lease] = {}
        self._claims: dict[str, int] = {}
        self._dues: dict[str, int] = {}
        self._changes: dict[str, int] = {}
        self._mark = 0
        self._owners: dict[str, tuple[str, bool]] = {}
        self._settings: dict[str, str] = {}
        self._notifications: dict[str, Notification] = {}
        self._read_cursors: dict[str, int] = {}
        self._config: dict[tuple[str, str], bytes] = {}
        self._config_version = 0
        self._tokens: dict[str, tuple[bytes, Token]] = {}
        self._sessions = MemorySessions(clock)
        self._is_closed = False

    async def aclose(self) -> None:
        self._is_closed = True

    async def check(self) -> None:
        if self._is_closed:
            raise Unavailable("the store is closed")

    # --- append

    async def append(self, append: Append) -> Appended:
        await asyncio.sleep(0)  # as with any store, others may come between a load and its append
        await self.check()
        now = self.clock.now_us()
        kept = self._chats.get(append.chat_id)
        if (kept.chat.seq if kept else 0) != append.after_seq:
            return Appended.DONE if kept and kept.is_written(append) else Appended.CONFLICT
        if kept and any(receipt.client_id in kept.receipts for receipt in append.receipts):
            return Appended.ANSWERED
        lease = self._leases.get(append.chat_id)
        if (
            isinstance(append.lease, Ended)
            and lease
            and lease.attempt == append.lease.attempt
            and lease.ends_at > now
        ):
            return Appended.LEASE_LIVE
        chat = decode_chat(encode_chat(append.chat))
        entries = [stored_entry(entry) for entry in append.entries]
        if kept is None:
            assert isinstance(entries[0].fact, ChatCreated), "a chat begins with chat_created"
            kept = self._chats[append.chat_id] = Kept(chat)
        self._write(kept, append, chat, entries)
        self._move_lease(append, now)
        if append.notification is not None:
            self._keep(append.notification)
        if chat.is_deleted:
            self._read_cursors.pop(append.chat_id, None)
            self._notifications = {i: n for i, n in self._notifications.items() if n.chat_id != append.chat_id}
        return Appended.DONE

    def _write(self, kept: Kept, append: Append, chat: Chat, entries: list[Entry]) -> None:
        kept.chat = chat
        kept.contents |= append.contents
        kept.checksums |= {seq: checksum_of(body) for seq, body in append.contents.items()}
        kept.append_ids[entries[0].seq] = append.append_id
        for entry in entries:
            kept.take(entry, append.append_id)
        kept.receipts |= {receipt.client_id: receipt for receipt in append.receipts}
        kept.flushed = {at: delta for at, delta in kept.flushed.items() if delta.draft == chat.draft}
        _put(self._claims, append.chat_id, claim_at(chat))
        _put(self._dues, append.chat_id, due_at(chat))
        self._mark += 1
        self._changes.pop(append.chat_id, None)
        self._changes[append.chat_id] = self._mark

    def _move_lease(self, append: Append, now: int) -> None:
        if isinstance(append.lease, Grant):
            grant = append.lease
            self._leases[append.chat_id] = Lease(grant.attempt, grant.instance_id, now + LEASE_US)
        elif isinstance(append.lease, Drop | Ended):
            self._leases.pop(append.chat_id, None)

    # --- one chat

    async def load(self, chat_id: str) -> Chat | None:
        kept = self._chats.get(chat_id)
        return kept.chat if kept else None

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        kept = self._chats.get(chat_id)
        entries: list[Entry] = []
        size = 0
        for seq in range(max(after_seq + 1, kept.first_seq), kept.chat.seq + 1) if kept else ():
            if len(entries) >= limit or size >= bytes_max:
                break
            assert kept
            entries.append(kept.read(seq))
            size += len(encode_fact(entries[-1].fact)) + len(entries[-1].content or b"")
        return tuple(entries)

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int) -> Entry | None:
        kept = self._chats.get(chat_id)
        newer = itertools.takewhile(lambda entry: entry.seq > after_seq, reversed(kept.entries)) if kept else ()
        return next((entry for entry in newer if kind_of(entry.fact) == kind), None)

    async def read_messages(
        self,
        chat_id: str,
        *,
        after_id: int | None = None,
        before_id: int | None = None,
        limit: int,
        bytes_max: int = PAGE_BYTES_MAX,
    ) -> tuple[tuple[Entry, ...], bool]:
        kept = self._chats.get(chat_id)
        if kept is None:
            return (), False
        if after_id is not None:
            seqs = kept.visible(kept.seqs[bisect_right(kept.seqs, after_id) :], limit + 1)
        else:
            end = bisect_left(kept.seqs, before_id) if before_id else len(kept.seqs)
            seqs = kept.visible(reversed(kept.seqs[:end]), limit + 1)
        page = list(fitting((kept.read(seq) for seq in seqs[:limit]), bytes_max))
        return tuple(reversed(page) if after_id is None else page), len(seqs) > len(page)

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        kept = self._chats.get(chat_id)
        return {seq: kept.contents[seq] for seq in seqs if seq in kept.contents} if kept else {}

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        kept = self._chats.get(chat_id)
        contents = sorted(kept.contents.items()) if kept else ()
        return tuple(
            seq
            for seq, body in contents
            if kept and first_seq <= seq <= last_seq and checksum_of(body) != kept.checksums[seq]
        )

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        """A receipt in memory is a value: it does not change."""
        return ()

    async def count_chats(self, owner_id: str) -> int:
        chats = [kept.chat for kept in self._chats.values()]
        return sum(c.owner_id == owner_id and not c.is_deleted and not c.is_archived for c in chats)

    async def count_messages(self, chat_id: str) -> int:
        kept = self._chats.get(chat_id)
        messages = kept.messages.values() if kept else ()
        return sum(not m.hidden_by and m.role in (Role.USER, Role.ASSISTANT) for m in messages)

    async def message_role(self, chat_id: str, message_id: int) -> Role | None:
        kept = self._chats.get(chat_id)
        message = kept.messages.get(message_id) if kept else None
        return message.role if message and not message.hidden_by else None

    async def queued_fate(self, chat_id: str, queued_id: int) -> str | None:
        kept = self._chats.get(chat_id)
        if kept is None or not kept.first_seq <= queued_id <= kept.chat.seq:
            return None
        if any(message.queued_id == queued_id for message in kept.messages.values()):
            return "delivered"
        return "queued" if isinstance(kept.entries[queued_id - kept.first_seq].fact, MessageQueued) else None

    async def read_receipts(self, chat_id: str, client_ids: Sequence[str]) -> dict[str, Receipt]:
        kept = self._chats.get(chat_id)
        return {name: kept.receipts[name] for name in client_ids if name in kept.receipts} if kept else {}

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        await self.check()
        for delta in deltas:
            kept = self._chats.get(delta.chat_id)
            if kept is None or kept.chat.is_deleted or kept.chat.draft != delta.draft:
                continue
            known = kept.flushed.get(delta.from_)
            if known is None or known.to < delta.to:
                kept.flushed[delta.from_] = delta

    async def read_flushed(self, chat_id: str, draft: int) -> tuple[FlushedDelta, ...]:
        kept = self._chats.get(chat_id)
        flushed = kept.flushed if kept else {}
        return tuple(delta for _, delta in sorted(flushed.items()) if delta.draft == draft)

    # --- many chats

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
        def is_listed(chat_id: str, chat: Chat) -> bool:
            return (
                chat.owner_id == owner_id
                and not chat.is_deleted
                and archived in (None, chat.is_archived)
                and (label is None or chat.labels.get(label[0]) == label[1])
                and _lower(title) in _lower(chat.title)
                and (after is None or (chat.updated_at, chat_id) < after)
            )

        found = [
            Listed(chat_id=chat_id, chat=kept.chat)
            for chat_id, kept in self._chats.items()
            if is_listed(chat_id, kept.chat)
        ]
        found.sort(key=lambda listed: (listed.chat.updated_at, listed.chat_id), reverse=True)
        return tuple(found[:limit])

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        passed = frozenset(passing_over)
        come = _come(self._claims, self.clock.now_us())
        return tuple(i for i in come if i not in passed and self._chats[i].chat.owner_id not in passed)[:limit]

    async def due(self, *, limit: int) -> tuple[Due, ...]:
        now = self.clock.now_us()
        ended = _come({chat_id: lease.ends_at for chat_id, lease in self._leases.items()}, now)[:limit]
        overdue = _come(self._dues, now)[:limit]
        leases = [Due(chat_id=chat_id, attempt=self._leases[chat_id].attempt, why="lease") for chat_id in ended]
        return (*leases, *(due_of(chat_id, self._chats[chat_id].chat) for chat_id in overdue))

    def peek(self, chat_id: str) -> Chat | None:
        """The state at this very moment (simulation)."""
        kept = self._chats.get(chat_id)
        return kept.chat if kept else None

    def lease_ends_at(self, chat_id: str) -> int | None:
        """When a chat's lease ends (simulation)."""
        lease = self._leases.get(chat_id)
        return lease.ends_at if lease else None

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        await self.check()
        held = {}
        for chat_id, attempt in attempts:
            lease = self._leases.get(chat_id)
            if lease and (lease.attempt, lease.instance_id) == (attempt, instance_id):
                lease.ends_at = self.clock.now_us() + LEASE_US
                held[chat_id] = self._chats[chat_id].chat.status
        return held

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        if self.is_shared and instance_id:
            return ()
        return tuple(
            (chat_id, lease.attempt) for chat_id, lease in self._leases.items() if lease.instance_id != instance_id
        )

    def _attempts_of(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        return tuple((i, lease.attempt) for i, lease in self._leases.items() if lease.instance_id == instance_id)

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        if mark is None:
            return (), Mark(since=self._mark)
        since = mark.since
        newer = itertools.takewhile(lambda change: change[1] > since, reversed(self._changes.items()))
        found = list(newer)[::-1][:limit]
        told = tuple((chat_id, self._chats[chat_id].chat.seq) for chat_id, _ in found)
        return told, Mark(since=found[-1][1]) if found else mark

    async def iter_chat_ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._chats))

    async def read_setting(self, name: str) -> str:
        return self._settings.get(name, "")

    async def write_setting(self, name: str, value: str) -> None:
        await self.check()
        self._settings[name] = value

    # --- configuration

    async def config_version(self) -> int:
        return self._config_version

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        rows = tuple(
            ConfigRow(kind=kind, config_id=known_id, body=body)
            for (known_kind, known_id), body in sorted(self._config.items())
            if known_kind == kind and config_id in ("", known_id)
        )
        return rows, self._config_version

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        await asyncio.sleep(0)  # as with `append`
        await self.check()
        if after_version not in (None, self._config_version):
            return None
        for row in rows:
            if row.body is None:
                self._config.pop((row.kind, row.config_id), None)
            else:
                self._config[row.kind, row.config_id] = row.body
        self._config_version += 1
        return self._config_version

    # --- the inbox

    def _keep(self, notification: Notification) -> None:
        self._notifications.setdefault(notification.notification_id, notification)
        for old in self._notifications_of(notification.owner_id)[NOTIFICATIONS_KEPT:]:
            del self._notifications[old.notification_id]

    def _notifications_of(self, owner_id: str) -> list[Notification]:
        """The newest first."""
        found = [n for n in self._notifications.values() if n.owner_id == owner_id]
        return sorted(found, key=lambda n: (n.created_at, n.notification_id), reverse=True)

    async def list_notifications(
        self, owner_id: str, *, is_unread: bool, limit: int, after: tuple[int, str] | None
    ) -> tuple[Notification, ...]:
        found = [
            n
            for n in self._notifications_of(owner_id)
            if not (is_unread and n.read_at) and (after is None or (n.created_at, n.notification_id) < after)
        ]
        return tuple(found[:limit])

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        found = [n for n in self._notifications.values() if n.owner_id in owner_ids and n.created_at >= since]
        return tuple(sorted(found, key=lambda n: (n.created_at, n.notification_id))[:NEW_MAX])

    async def count_unread(self, owner_id: str) -> int:
        return sum(not n.read_at for n in self._notifications_of(owner_id))

    async def read_notification(self, owner_id: str, notification_id: str) -> Notification | None:
        await self.check()
        found = self._notifications.get(notification_id)
        if found is None or found.owner_id != owner_id:
            return None
        read = replace(found, read_at=found.read_at or self.clock.now_us())
        self._notifications[notification_id] = read
        return read

    async def read_all_notifications(self, owner_id: str) -> None:
        await self.check()
        for notification in self._notifications_of(owner_id):
            await self.read_notification(owner_id, notification.notification_id)

    async def move_read_cursor(self, chat_id: str, seq: int) -> None:
        await self.check()
        self._read_cursors[chat_id] = max(seq, self._read_cursors.get(chat_id, 0))

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(chat_id for chat_id in chat_ids if self._is_unread(chat_id))

    def _is_unread(self, chat_id: str) -> bool:
        kept, cursor = self._chats.get(chat_id), self._read_cursors.get(chat_id, 0)
        messages = kept.messages.items() if kept else ()
        return any(s > cursor and m.role is Role.ASSISTANT and not m.hidden_by for s, m in messages)

    # --- owners and tokens

    async def create_owner(self, name: str, *, is_admin: bool = False) -> str:
        await self.check()
        for owner_id, (known, _) in self._owners.items():
            if known == name:
                return owner_id
        owner_id = self._ids.uuid()
        self._owners[owner_id] = (name, is_admin)
        return owner_id

    async def owner_count(self) -> int:
        return len(self._owners)

    async def add_token(self, owner_id: str, token_id: str, secret_hash: bytes) -> None:
        await self.check()
        if owner_id not in self._owners:
            raise NotFound("owner")
        name, is_admin = self._owners[owner_id]
        now = self.clock.now_us()
        token = Token(token_id=token_id, owner_id=owner_id, owner_name=name, is_admin=is_admin, created_at=now)
        self._tokens[token_id] = (secret_hash, token)

    async def find_token(self, secret_hash: bytes) -> Token | None:
        return next((token for known, token in self._tokens.values() if known == secret_hash), None)

    async def list_tokens(self) -> tuple[Token, ...]:
        return tuple(sorted((token for _, token in self._tokens.values()), key=lambda t: (t.created_at, t.token_id)))

    async def revoke_token(self, token_id: str) -> bool:
        await self.check()
        secret_hash, token = self._tokens.get(token_id, (b"", None))
        if token is None or token.revoked_at:
            return False
        self._tokens[token_id] = (secret_hash, replace(token, revoked_at=self.clock.now_us()))
        return True

    async def revoked_of(self, ids: Sequence[str]) -> frozenset[str]:
        return frozenset(name for name in ids if self._is_revoked(name))

    def _is_revoked(self, name: str) -> bool:
        session = self._sessions.get(name)
        token_id = session.token.token_id if session else name
        is_token_revoked = token_id in self._tokens and bool(self._tokens[token_id][1].revoked_at)
        return is_token_revoked or (session is not None and bool(session.revoked_at))

    async def add_session(self, session_id: str, token_id: str, secret_hash: bytes) -> None:
        await self.check()
        if token_id not in self._tokens:
            raise NotFound("token")
        self._sessions.add(session_id, self._tokens[token_id][1], secret_hash)

    async def find_session(self, secret_hash: bytes) -> Session | None:
        session = self._sessions.find(secret_hash)
        return session and replace(session, token=self._tokens[session.token.token_id][1])

    async def sessions_of(self, token_id: str) -> tuple[str, ...]:
        return self._sessions.of_token(token_id)

    async def touch_session(self, session_id: str) -> None:
        await self.check()
        self._sessions.touch(session_id)

    async def revoke_session(self, session_id: str) -> bool:
        await self.check()
        return self._sessions.revoke(session_id)

    async def delete_sessions(self, used_before: int) -> None:
        await self.check()
        self._sessions.delete(used_before)


def _put(times: dict[str, int], chat_id: str, at: int | None) -> None:
    """Keep when a chat's time comes; those of equal times stand in the order of their creation."""
    if at is None:
        times.pop(chat_id, None)
    else:
        times[chat_id] = at


def _come(times: dict[str, int], now: int) -> list[str]:
    """The chats whose time has come, the longest waiting first."""
    return sorted((chat_id for chat_id, at in times.items() if at <= now), key=lambda chat_id: times[chat_id])


def _lower(text: str) -> bytes:
    """Lower case for ASCII letters only, as in SQL."""
    return text.encode("utf-8", "surrogatepass").lower()
