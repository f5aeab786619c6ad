"""Durable chats: their facts, state and receipts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from antiphon.core.facts import Entry
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.core.values import Value
from antiphon.ports.inbox import Notification


class Receipt(Value):
    """What a client id was answered: `answer` is opaque JSON, `body_hash` that of the request it answered."""

    client_id: str
    body_hash: bytes
    answer: bytes


class Grant(Value):
    """Begin the lease with the attempt."""

    attempt: int
    instance_id: str


class Drop(Value):
    """Remove the lease."""


class Ended(Value):
    """Remove the lease, which must have ended by the store's clock: else the append is refused."""

    attempt: int


class Append(Value):
    """Facts to be written after `after_seq`, all or none. `contents` lie by the seq of the fact that brought
    them; `chat` is the state after the last fact."""

    chat_id: str
    after_seq: int
    append_id: str
    entries: tuple[Entry, ...]
    contents: dict[int, bytes]
    chat: Chat
    receipts: tuple[Receipt, ...] = ()
    lease: Grant | Drop | Ended | None = None
    notification: Notification | None = None


class Appended(StrEnum):
    """What became of an append."""

    DONE = "done"
    CONFLICT = "conflict"
    """`after_seq` is not the chat's last seq: load and decide again."""
    ANSWERED = "answered"
    """One of the client ids already has a receipt: read it."""
    LEASE_LIVE = "lease_live"
    """`Ended` was asked of a lease that has not ended."""


class OutcomeUnknown(Exception):
    """The answer to a commit was lost: ask for the same append again, which looks at the row after `after_seq`."""


class Listed(Value):
    """A chat in a listing."""

    chat_id: str
    chat: Chat


class Mark(Value):
    """Up to where a poll has been told what changed: a store's own counting. `after` is the place, within one look
    from mark to mark, at which its last page ended."""

    since: int
    after: tuple[int, str] | None = None


PAGE_BYTES_MAX = 16 * 1024 * 1024
"""A page of messages ends with the one that takes it to so many bytes."""


class ChatStore(Protocol):
    """Durable chats.

    `append` is one transaction: the facts, their contents, the state, the listing columns, receipts and
    the lease together, or nothing. When it says DONE it is durable. It raises `errors.Unavailable` when
    nothing was written, and `OutcomeUnknown` when that cannot be known; the same append (by its append_id, which
    is stored with its first fact) may then be asked for again: it is DONE if it was written, and written if not.
    Chats of a newer `fold_version` are read-only: `Unavailable`. Reads see every append that was DONE before
    they began.
    """

    async def append(self, append: Append) -> Appended: ...

    async def load(self, chat_id: str) -> Chat | None:
        """The stored state (of a deleted chat, its tombstone)."""
        ...

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        """The facts after `after_seq`, in order: at most `limit`, and no more after `bytes_max` of content."""
        ...

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int) -> Entry | None:
        """The newest fact of a kind (`facts.kind_of`) after `after_seq`, without its content."""
        ...

    async def read_messages(
        self,
        chat_id: str,
        *,
        after_id: int | None = None,
        before_id: int | None = None,
        limit: int,
        bytes_max: int = PAGE_BYTES_MAX,
    ) -> tuple[tuple[Entry, ...], bool]:
        """Visible messages, ascending: the newest page, that before `before_id`, or that after `after_id`; no more
        once the page has `bytes_max` of content; and whether there are more in that direction."""
        ...

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]: ...

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        """The contents of these facts, hidden ones included, whose bytes are not those that were written (doctor).
        What an earlier version wrote without a checksum is not checked."""
        ...

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        """As `damaged_contents`: the client ids of a chat's receipts."""
        ...

    async def count_chats(self, owner_id: str) -> int:
        """How many chats an owner has, without archived and deleted ones."""
        ...

    async def count_messages(self, chat_id: str) -> int:
        """How many visible messages of people and models a chat has."""
        ...

    async def message_role(self, chat_id: str, message_id: int) -> Role | None:
        """The role of a visible message, None if there is none of that id."""
        ...

    async def queued_fate(self, chat_id: str, queued_id: int) -> str | None:
        """`delivered` or `queued` (it once was, here), None if no such message was ever queued."""
        ...

    async def read_receipts(self, chat_id: str, client_ids: Sequence[str]) -> dict[str, Receipt]:
        """Those that there are, by their client ids."""
        ...

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
        """An owner's chats, latest `updated_at` first; `after` is the last one's (updated_at, chat_id)."""
        ...

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        """The chats (chat_id, seq) that changed since `mark` (None: only the mark is wanted), and the next mark.
        Where there are `limit` of them, that leads to the others. A shared store may tell of a chat again."""
        ...

    async def iter_chat_ids(self) -> tuple[str, ...]:
        """Every chat, deleted ones included (doctor)."""
        ...
