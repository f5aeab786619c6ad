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
from antiphon.ports.usage import DayUsage, SendCount


class Receipt(Value):
    """The answer to a request with a client id, for its repeats: `answer` is opaque JSON, `body_hash` the hash of the
    request's body."""

    client_id: str
    body_hash: bytes
    answer: bytes


class Grant(Value):
    """Grant the lease to an attempt of an instance."""

    attempt: int
    instance_id: str


class Drop(Value):
    """Remove the lease."""


class Ended(Value):
    """Remove the lease of an attempt, which must have expired by the store's clock; else the append is refused."""

    attempt: int


class Append(Value):
    """Facts to be written after `after_seq`, all or none. `contents` are stored by the seq of their fact; `chat` is
    the state after the last fact. `receipts`, the change of the `lease` and the `notification` are written with
    them; the `usage` is added to the owner's, and `sends` are counted."""

    chat_id: str
    after_seq: int
    append_id: str
    entries: tuple[Entry, ...]
    contents: dict[int, bytes]
    chat: Chat
    receipts: tuple[Receipt, ...] = ()
    lease: Grant | Drop | Ended | None = None
    notification: Notification | None = None
    usage: tuple[DayUsage, ...] = ()
    """One row for each day and model."""
    sends: SendCount | None = None


class Appended(StrEnum):
    """The result of an append."""

    DONE = "done"
    CONFLICT = "conflict"
    """`after_seq` is not the chat's last seq: load the state and decide again."""
    ANSWERED = "answered"
    """One of the client ids has a receipt already: read it."""
    LEASE_LIVE = "lease_live"
    """The lease to be removed as `Ended` has not expired."""
    MESSAGES_LIMITED = "messages_limited"
    """The owner has sent as many messages in this minute as `sends` allows. (A repeat of a written append is `DONE`,
    and one of a client id is `ANSWERED`, also then.)"""
    TURNS_LIMITED = "turns_limited"
    """The same for turns."""


class OutcomeUnknown(Exception):
    """The answer to a commit was lost. Repeat the same append: the store finds out whether it was written."""


class Listed(Value):
    """A chat in a listing."""

    chat_id: str
    chat: Chat


class Version(Value):
    """What an edit or a retry replaced: the messages from `from_message_id` on, hidden by the fact `seq` at the time
    `at` (microseconds). `after_message_id` is the message before them (0: none)."""

    seq: int
    at: int
    from_message_id: int
    after_message_id: int


class Mark(Value):
    """The position of a poll for changes, in a counter of the store. `after` is where the last page ended within one
    poll."""

    since: int
    after: tuple[int, str] | None = None


SEQ_MAX = (1 << 63) - 1
"""The greatest seq that a store can have."""
PAGE_BYTES_MAX = 16 * 1024 * 1024
"""Maximum content of a page of messages, in bytes. The message that reaches it is the last one."""


class ChatStore(Protocol):
    """Durable chats. A read sees every append that was `DONE` before it began. Every method raises `Unavailable` if
    the store cannot be read or written."""

    async def append(self, append: Append) -> Appended:
        """Write facts, contents, state, listing, receipts, lease, notification, usage and the count of sends in one
        transaction.

        Args:
            append: What to write. Its `append_id` is stored with the first fact, so the same append can be repeated:
                it is not written twice.

        Returns:
            `DONE` once it is durable; otherwise why nothing was written.

        Raises:
            Unavailable: Nothing was written; also for a chat of a newer `fold_version`, which is read-only.
            OutcomeUnknown: It may have been written: repeat it.
        """
        ...

    async def load(self, chat_id: str) -> Chat | None:
        """The stored state, of a deleted chat its tombstone; None if there is no such chat."""
        ...

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        """Facts with their content, in order.

        Args:
            chat_id: The chat.
            after_seq: The seq before the first fact.
            limit: Maximum number of facts.
            bytes_max: Maximum content in bytes; the fact that reaches it is the last one.
        """
        ...

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int, upto: int = SEQ_MAX) -> Entry | None:
        """The newest fact of a kind (`facts.kind_of`) after `after_seq` and not after `upto`, without its content, or
        None."""
        ...

    async def oldest_entry(self, chat_id: str, kind: str, *, after_seq: int) -> Entry | None:
        """The oldest fact of a kind after `after_seq`, without its content, or None."""
        ...

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
        """A page of visible messages in ascending order.

        Args:
            chat_id: The chat.
            after_id: The page after this message.
            before_id: The page before this message. With neither, the newest page.
            limit: Maximum number of messages.
            bytes_max: Maximum content in bytes; the message that reaches it is the last one.
            as_of: The messages that were visible after the fact with this seq, with the content of those that are
                hidden now; None: now.

        Returns:
            The messages, and whether there are more in that direction.
        """
        ...

    async def read_versions(self, chat_id: str, *, limit: int) -> tuple[Version, ...]:
        """What edits and retries have replaced in a chat: the newest of them up to `limit`, oldest first."""
        ...

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        """The stored contents of these facts, by their seq."""
        ...

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        """The seqs of the contents whose bytes have changed since they were written, hidden ones included (for the
        doctor). Contents that an earlier version wrote without a checksum are not checked."""
        ...

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        """The client ids of the receipts whose bytes have changed, as in `damaged_contents`."""
        ...

    async def count_chats(self, owner_id: str) -> int:
        """The number of an owner's chats, without archived, deleted and child chats."""
        ...

    async def count_messages(self, chat_id: str) -> int:
        """The number of visible messages of people and models in a chat."""
        ...

    async def message_role(self, chat_id: str, message_id: int) -> Role | None:
        """The role of a visible message; None if there is no such message."""
        ...

    async def queued_fate(self, chat_id: str, queued_id: int) -> str | None:
        """`delivered` if the queued message was delivered, `queued` if it ever was queued; None if it never was."""
        ...

    async def read_receipts(self, chat_id: str, client_ids: Sequence[str]) -> dict[str, Receipt]:
        """The stored receipts among these client ids, by client id."""
        ...

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
        """A page of an owner's chats, latest `updated_at` first.

        Args:
            owner_id: The owner.
            parent: Only the child chats of the chat with this id; None: only chats without a parent.
            archived: Only archived chats, or only others; None for both.
            label: Only chats with this label (name, value).
            title: Only chats with this text in their title; the case of ASCII letters is ignored.
            limit: Maximum number of chats.
            after: The (updated_at, chat_id) of the last chat of the page before.
        """
        ...

    async def list_pinned_chats(self, owner_id: str, *, limit: int) -> tuple[Listed, ...]:
        """An owner's pinned chats by the order of their pins, without archived and child chats."""
        ...

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        """The chats that changed since the last poll.

        Args:
            mark: The mark of the last poll; None returns the current mark only.
            limit: Maximum number of chats. If it is reached, the next mark leads to the others.

        Returns:
            The (chat_id, seq) of the changed chats, and the next mark. A shared store may return a chat again.
        """
        ...

    async def iter_chat_ids(self) -> tuple[str, ...]:
        """The ids of all chats, deleted ones included (for the doctor)."""
        ...
