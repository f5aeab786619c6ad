"""Notifications and read cursors in the store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from antiphon.core.parts import Role
from antiphon.ports import NOTIFICATIONS_KEPT, Notification
from antiphon.store.memory.state import MemoryState
from antiphon.store.rows import NEW_MAX


class MemoryInbox(MemoryState):
    """Keeps the promises of `ports.InboxStore`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._notifications: dict[str, Notification] = {}
        self._read_cursors: dict[str, int] = {}

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
        stored, cursor = self._chats.get(chat_id), self._read_cursors.get(chat_id, 0)
        messages = stored.messages.items() if stored else ()
        return any(s > cursor and m.role is Role.ASSISTANT and not m.hidden_by for s, m in messages)

    def _add_notification(self, notification: Notification) -> None:
        self._notifications.setdefault(notification.notification_id, notification)
        for old in self._notifications_of(notification.owner_id)[NOTIFICATIONS_KEPT:]:
            del self._notifications[old.notification_id]

    def _notifications_of(self, owner_id: str) -> list[Notification]:
        """The newest first."""
        found = [n for n in self._notifications.values() if n.owner_id == owner_id]
        return sorted(found, key=lambda n: (n.created_at, n.notification_id), reverse=True)

    def _delete_inbox_of(self, chat_id: str) -> None:
        """Delete the notifications and the read cursor of a chat."""
        self._read_cursors.pop(chat_id, None)
        self._notifications = {i: n for i, n in self._notifications.items() if n.chat_id != chat_id}
