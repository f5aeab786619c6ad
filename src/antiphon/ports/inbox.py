"""An owner's notifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.values import Value


class Notification(Value):
    """A message to an owner about a chat. `body` is opaque JSON. Times are in microseconds, store time; `read_at` is
    0 while it is unread."""

    notification_id: str
    owner_id: str
    chat_id: str
    body: bytes
    created_at: int
    read_at: int = 0


NOTIFICATIONS_KEPT = 1_000
"""Maximum number of notifications of an owner; the oldest are deleted."""


class InboxStore(Protocol):
    """Notifications and read cursors. Every method raises `Unavailable` if the store cannot be read or written."""

    async def list_notifications(
        self, owner_id: str, *, is_unread: bool, limit: int, after: tuple[int, str] | None
    ) -> tuple[Notification, ...]:
        """A page of an owner's notifications, the newest first.

        Args:
            owner_id: The owner.
            is_unread: Only unread ones.
            limit: Maximum number of notifications.
            after: The (created_at, id) of the last one of the page before.
        """
        ...

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        """Notifications that were created since a time, for a poll.

        Args:
            owner_ids: The owners.
            since: The smallest `created_at`, in microseconds, store time.

        Returns:
            At most 1,000 notifications, the oldest first.
        """
        ...

    async def count_unread(self, owner_id: str) -> int:
        """The number of an owner's unread notifications."""
        ...

    async def read_notification(self, owner_id: str, notification_id: str) -> Notification | None:
        """Mark a notification of the owner as read; returns it, or None if the owner has no such notification."""
        ...

    async def read_all_notifications(self, owner_id: str) -> None:
        """Mark all notifications of the owner as read."""
        ...

    async def move_read_cursor(self, chat_id: str, seq: int) -> None:
        """Record that the owner has read a chat up to `seq`. The cursor never moves back."""
        ...

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        """The chats among `chat_ids` that have a visible message of a model after their read cursor."""
        ...
