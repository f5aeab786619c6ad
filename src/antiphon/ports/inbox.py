"""An owner's notifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.values import Value


class Notification(Value):
    """Something an owner should see, about a chat: `body` is opaque JSON. `read_at` 0: it was not read yet."""

    notification_id: str
    owner_id: str
    chat_id: str
    body: bytes
    created_at: int
    read_at: int = 0


NOTIFICATIONS_KEPT = 1_000
"""An owner's newest ones are kept."""


class InboxStore(Protocol):
    """Notifications and read cursors."""

    async def list_notifications(
        self, owner_id: str, *, is_unread: bool, limit: int, after: tuple[int, str] | None
    ) -> tuple[Notification, ...]:
        """An owner's, the newest first (NOTIFICATIONS_KEPT of them are kept); `after` is the last one's (created_at,
        id)."""
        ...

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        """Those of these owners made since then (by their `created_at`), the oldest first; at most 1,000."""
        ...

    async def count_unread(self, owner_id: str) -> int:
        """How many of an owner's notifications were not read."""
        ...

    async def read_notification(self, owner_id: str, notification_id: str) -> Notification | None:
        """Mark it as read, if it is that owner's and was not: as it then is, None if there is none."""
        ...

    async def read_all_notifications(self, owner_id: str) -> None: ...

    async def move_read_cursor(self, chat_id: str, seq: int) -> None:
        """The owner has read the chat up to `seq`; it never goes back."""
        ...

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        """Those of these chats that have a visible message of a model after their read cursor."""
        ...
