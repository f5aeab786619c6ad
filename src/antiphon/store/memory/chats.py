"""Chats in the store in memory: appends, and queries of facts, messages, receipts and lists."""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from antiphon.core.facts import ChatCreated, Entry, MessageQueued, kind_of
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.ports import PAGE_BYTES_MAX, SEQ_MAX, Append, Appended, Ended, Listed, Mark, Receipt, Version
from antiphon.store.checksum import checksum_of
from antiphon.store.memory.chat import MemoryChat, stored_entry
from antiphon.store.memory.files import MemoryFiles
from antiphon.store.memory.inbox import MemoryInbox
from antiphon.store.memory.leases import MemoryLeases
from antiphon.store.memory.shares import MemoryShares
from antiphon.store.memory.usage import MemoryUsage
from antiphon.store.rows import fitting
from antiphon.wire.log import decode_chat, encode_chat, encode_fact


class MemoryChats(MemoryLeases, MemoryInbox, MemoryFiles, MemoryUsage, MemoryShares):
    """Keeps the promises of `ports.ChatStore`. An append also writes its lease, its notification and its usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._changes: dict[str, int] = {}
        self._mark = 0

    async def append(self, append: Append) -> Appended:
        await asyncio.sleep(0)  # as with any store, other appends may be written between a load and its append
        await self.check()
        now = self.clock.now_us()
        stored = self._chats.get(append.chat_id)
        if (stored.chat.seq if stored else 0) != append.after_seq:
            return Appended.DONE if stored and stored.is_written(append) else Appended.CONFLICT
        if stored and any(receipt.client_id in stored.receipts for receipt in append.receipts):
            return Appended.ANSWERED
        if append.sends is not None and (refusal := self._refused_send(append.sends)) is not None:
            return refusal
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
        if stored is None:
            assert isinstance(entries[0].fact, ChatCreated), "a chat begins with chat_created"
            stored = self._chats[append.chat_id] = MemoryChat(chat)
        self._write(stored, append, chat, entries)
        self._update_lease(append, now)
        if append.notification is not None:
            self._add_notification(append.notification)
        self._add_usage(append.usage)
        if append.sends is not None:
            self._count_send(append.sends)
        if chat.is_deleted:
            self._delete_inbox_of(append.chat_id)
            self._release_files(append.chat_id)
            self._delete_shares_of(append.chat_id)
        return Appended.DONE

    def _write(self, stored: MemoryChat, append: Append, chat: Chat, entries: list[Entry]) -> None:
        stored.chat = chat
        stored.contents |= append.contents
        stored.checksums |= {seq: checksum_of(body) for seq, body in append.contents.items()}
        stored.append_ids[entries[0].seq] = append.append_id
        for entry in entries:
            stored.add(entry, append.append_id)
        stored.receipts |= {receipt.client_id: receipt for receipt in append.receipts}
        stored.flushed = {at: delta for at, delta in stored.flushed.items() if delta.draft == chat.draft}
        self._schedule(append.chat_id, chat)
        self._mark += 1
        self._changes.pop(append.chat_id, None)
        self._changes[append.chat_id] = self._mark

    async def load(self, chat_id: str) -> Chat | None:
        stored = self._chats.get(chat_id)
        return stored.chat if stored else None

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        stored = self._chats.get(chat_id)
        entries: list[Entry] = []
        size = 0
        for seq in range(max(after_seq + 1, stored.first_seq), stored.chat.seq + 1) if stored else ():
            if len(entries) >= limit or size >= bytes_max:
                break
            assert stored
            entries.append(stored.read(seq))
            size += len(encode_fact(entries[-1].fact)) + len(entries[-1].content or b"")
        return tuple(entries)

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int, upto: int = SEQ_MAX) -> Entry | None:
        stored = self._chats.get(chat_id)
        newer = itertools.takewhile(lambda entry: entry.seq > after_seq, reversed(stored.entries)) if stored else ()
        return next((entry for entry in newer if entry.seq <= upto and kind_of(entry.fact) == kind), None)

    async def oldest_entry(self, chat_id: str, kind: str, *, after_seq: int) -> Entry | None:
        stored = self._chats.get(chat_id)
        newer = itertools.dropwhile(lambda entry: entry.seq <= after_seq, stored.entries) if stored else ()
        return next((entry for entry in newer if kind_of(entry.fact) == kind), None)

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
        stored = self._chats.get(chat_id)
        if stored is None:
            return (), False
        if after_id is not None:
            seqs = stored.visible(stored.seqs[bisect_right(stored.seqs, after_id) :], limit + 1, as_of)
        else:
            end = bisect_left(stored.seqs, before_id) if before_id else len(stored.seqs)
            seqs = stored.visible(reversed(stored.seqs[:end]), limit + 1, as_of)
        page = list(fitting((stored.read(seq, as_of) for seq in seqs[:limit]), bytes_max))
        return tuple(reversed(page) if after_id is None else page), len(seqs) > len(page)

    async def read_versions(self, chat_id: str, *, limit: int) -> tuple[Version, ...]:
        stored = self._chats.get(chat_id)
        found: dict[int, int] = {}
        for seq in stored.seqs if stored else ():
            assert stored
            if hidden_by := stored.messages[seq].hidden_by:
                found.setdefault(hidden_by, seq)
        return tuple(stored.version(by, found[by]) for by in sorted(found)[-limit:]) if stored else ()

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        stored = self._chats.get(chat_id)
        return {seq: stored.contents[seq] for seq in seqs if seq in stored.contents} if stored else {}

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        stored = self._chats.get(chat_id)
        contents = sorted(stored.contents.items()) if stored else ()
        return tuple(
            seq
            for seq, body in contents
            if stored and first_seq <= seq <= last_seq and checksum_of(body) != stored.checksums[seq]
        )

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        """A receipt in memory is a value: it does not change."""
        return ()

    async def count_chats(self, owner_id: str) -> int:
        chats = [stored.chat for stored in self._chats.values()]
        return sum(
            c.owner_id == owner_id and not c.is_deleted and not c.is_archived and c.parent is None for c in chats
        )

    async def count_messages(self, chat_id: str) -> int:
        stored = self._chats.get(chat_id)
        messages = stored.messages.values() if stored else ()
        return sum(not m.hidden_by and m.role in (Role.USER, Role.ASSISTANT) for m in messages)

    async def message_role(self, chat_id: str, message_id: int) -> Role | None:
        stored = self._chats.get(chat_id)
        message = stored.messages.get(message_id) if stored else None
        return message.role if message and not message.hidden_by else None

    async def queued_fate(self, chat_id: str, queued_id: int) -> str | None:
        stored = self._chats.get(chat_id)
        if stored is None or not stored.first_seq <= queued_id <= stored.chat.seq:
            return None
        if any(message.queued_id == queued_id for message in stored.messages.values()):
            return "delivered"
        return "queued" if isinstance(stored.entries[queued_id - stored.first_seq].fact, MessageQueued) else None

    async def read_receipts(self, chat_id: str, client_ids: Sequence[str]) -> dict[str, Receipt]:
        stored = self._chats.get(chat_id)
        return {name: stored.receipts[name] for name in client_ids if name in stored.receipts} if stored else {}

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
        def is_listed(chat_id: str, chat: Chat) -> bool:
            return (
                chat.owner_id == owner_id
                and not chat.is_deleted
                and (chat.parent.chat_id if chat.parent else None) == parent
                and archived in (None, chat.is_archived)
                and (label is None or chat.labels.get(label[0]) == label[1])
                and _lower(title) in _lower(chat.title)
                and (after is None or (chat.updated_at, chat_id) < after)
            )

        found = [
            Listed(chat_id=chat_id, chat=stored.chat)
            for chat_id, stored in self._chats.items()
            if is_listed(chat_id, stored.chat)
        ]
        found.sort(key=lambda listed: (listed.chat.updated_at, listed.chat_id), reverse=True)
        return tuple(found[:limit])

    async def list_pinned_chats(self, owner_id: str, *, limit: int) -> tuple[Listed, ...]:
        found = [
            Listed(chat_id=chat_id, chat=stored.chat)
            for chat_id, stored in self._chats.items()
            if stored.chat.owner_id == owner_id
            and stored.chat.pin_order > 0
            and not (stored.chat.is_deleted or stored.chat.is_archived or stored.chat.parent)
        ]
        found.sort(key=lambda listed: (listed.chat.pin_order, listed.chat_id))
        return tuple(found[:limit])

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        if mark is None:
            return (), Mark(since=self._mark)
        since = mark.since
        newer = itertools.takewhile(lambda change: change[1] > since, reversed(self._changes.items()))
        found = list(newer)[::-1][:limit]
        changed = tuple((chat_id, self._chats[chat_id].chat.seq) for chat_id, _ in found)
        return changed, Mark(since=found[-1][1]) if found else mark

    async def iter_chat_ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._chats))

    def peek(self, chat_id: str) -> Chat | None:
        """The state now, without waiting (simulation)."""
        stored = self._chats.get(chat_id)
        return stored.chat if stored else None


def _lower(text: str) -> bytes:
    """Converts ASCII letters to lower case, as SQL does."""
    return text.encode("utf-8", "surrogatepass").lower()
