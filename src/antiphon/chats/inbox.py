"""The inbox: notifications of turns that had no watcher, each stored in the same append as its fact.

The id of a notification is made from its chat and the seq of its fact, so it is stored once however often it is made.
It is published to the subscribers of its owner's channel; a poll finds those whose hint was lost.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from antiphon.chats.hints import owner_channel
from antiphon.core import facts as f
from antiphon.core.model import Chat, Outcome
from antiphon.core.parts import Role, text_of
from antiphon.core.values import Value
from antiphon.errors import Invalid, NotFound
from antiphon.ports import Append, Bus, Notification, Store
from antiphon.wire import codec
from antiphon.wire.gotime import Time
from antiphon.wire.notify import (
    ChatEventKind,
    InboxNotification,
    InboxNotificationAction,
    InboxNotificationEvent,
    InboxNotificationEventKind,
)
from antiphon.wire.stream import chat_json

NAMES = uuid.UUID("6f1d3d52-2f5e-4f6c-9a35-0c4a0d7f7a11")
ANSWERED, FAILED, NEEDS_ACTION = (
    uuid.uuid5(NAMES, name) for name in ("turn answered", "turn failed", "turn needs action")
)
"""The ids of the templates, one for each kind of notification."""

EXCERPT_MAX = 200
"""Maximum number of characters of a message in a notification."""
LIST_MAX = 200
"""Maximum number of notifications in a page of results."""
OVERLAP_US = 10_000_000
"""How old the notifications are that a poll reads again, in microseconds. Commits become visible in any order."""


def inbox_channel(owner_id: str) -> str:
    """The channel on which an owner's InboxNotificationEvents are published."""
    return f"inbox_notification:owner:{owner_id}"


class Inbox:
    """Makes, publishes and lists notifications."""

    def __init__(self, *, store: Store, bus: Bus, is_watched: Callable[[str], bool]) -> None:
        """`is_watched` returns whether a chat has a watcher on any instance."""
        self._store = store
        self._bus = bus
        self._is_watched = is_watched

    # --- making

    def make_notification(self, chat_id: str, chat: Chat, entries: Sequence[f.Entry]) -> Notification | None:
        """The notification to store with an append: of its last fact that has one. None if the chat is watched, and
        for the turns of a history that a chat is created with."""
        if isinstance(entries[0].fact, f.ChatCreated):
            return None
        for entry in reversed(entries):
            text = _text_for(entry, chat, entries)
            if text is not None:
                return None if self._is_watched(chat_id) else _notification(chat_id, chat, entry, text)
        return None

    def publish(self, append: Append) -> None:
        """Publish the notification that was stored with an append."""
        if append.notification is None:
            return
        channel = inbox_channel(append.notification.owner_id)
        if self._bus.has_subscribers(channel):
            event = InboxNotificationEvent(
                kind=InboxNotificationEventKind.NEW, inbox_notification=to_inbox_notification(append.notification)
            )
            self._bus.publish_nowait(channel, codec.encode(event))

    # --- reading

    async def list(
        self, owner_id: str, *, is_unread: bool = False, limit: int = 50, after: tuple[int, str] | None = None
    ) -> tuple[Notification, ...]:
        """A page of an owner's notifications, the newest first; `after` is the last one's (created_at, id)."""
        limit = min(limit, LIST_MAX + 1)
        return await self._store.list_notifications(owner_id, is_unread=is_unread, limit=limit, after=after)

    async def count_unread(self, owner_id: str) -> int:
        """How many of an owner's notifications are unread."""
        return await self._store.count_unread(owner_id)

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        """The chats among `chat_ids` that have an unread message of a model."""
        return await self._store.unread_of(chat_ids)

    async def read(self, owner_id: str, notification_id: str) -> Notification:
        """Mark a notification as read. Raises `NotFound`."""
        found = await self._store.read_notification(owner_id, notification_id)
        if found is None:
            raise NotFound("notification")
        return found

    async def read_all(self, owner_id: str) -> None:
        """Mark all of an owner's notifications as read."""
        await self._store.read_all_notifications(owner_id)

    async def read_chat(self, chat_id: str, chat: Chat, seq: int | None) -> int:
        """Move the owner's read cursor to `seq`, or to the chat's last seq if it is None.

        Raises:
            Invalid: `seq` is beyond the chat's last seq.
        """
        if seq is not None and seq > chat.seq:
            raise Invalid("seq", f"the chat's last is {chat.seq}")
        cursor = chat.seq if seq is None else seq
        await self._store.move_read_cursor(chat_id, cursor)
        channel = owner_channel(chat.owner_id)
        if self._bus.has_subscribers(channel):  # no fact was appended, so the event has no seq
            unread = await self._store.unread_of((chat_id,))
            event = {
                "kind": ChatEventKind.STATUS_CHANGE,
                "chat": chat_json(chat_id, chat, has_unread=bool(unread)),
            }
            self._bus.publish_nowait(channel, codec.encode(event))
        return cursor


def to_uuid(name: str) -> uuid.UUID:
    """An id as a UUID. A program that embeds an instance may use other chat ids; each has a UUID made from it."""
    try:
        return uuid.UUID(name)
    except ValueError:
        return uuid.uuid5(NAMES, name)


class NotificationText(Value):
    """The text of a notification. `content` is Markdown."""

    template_id: uuid.UUID
    title: str
    content: str
    icon: str


def _text_for(entry: f.Entry, chat: Chat, entries: Sequence[f.Entry]) -> NotificationText | None:
    """The text for a fact; None if it has no notification."""
    fact = entry.fact
    name = chat.title or "Untitled chat"
    if isinstance(fact, f.ActionRequired):
        names = ", ".join(sorted({call.tool_name for call in fact.calls}))
        return NotificationText(
            template_id=NEEDS_ACTION, title=f"{name} needs you", content=_excerpt(names), icon="action"
        )
    if not isinstance(fact, f.TurnEnded) or chat.is_for_parent(fact.turn_id):
        return None
    if fact.outcome is Outcome.ANSWERED:
        answer = next((e for e in reversed(entries) if _is_answer(e)), None)
        text = text_of(codec.decode_content(answer.content)) if answer is not None and answer.content else ""
        return NotificationText(
            template_id=ANSWERED, title=f"{name} has an answer", content=_excerpt(text), icon="answer"
        )
    if fact.outcome is Outcome.FAILED:
        message = fact.error.message if fact.error else ""
        return NotificationText(template_id=FAILED, title=f"{name} failed", content=_excerpt(message), icon="error")
    return None


def _is_answer(entry: f.Entry) -> bool:
    return isinstance(entry.fact, f.MessageAppended) and entry.fact.role is Role.ASSISTANT


def _excerpt(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT_MAX else text[:EXCERPT_MAX] + "…"


def _notification(chat_id: str, chat: Chat, entry: f.Entry, text: NotificationText) -> Notification:
    body = {
        "template_id": text.template_id,
        "targets": [to_uuid(chat_id)],
        "title": text.title,
        "content": text.content,
        "icon": text.icon,
        "actions": [{"label": "Open", "url": f"/#/chat/{chat_id}"}],
    }
    return Notification(
        notification_id=str(uuid.uuid5(to_uuid(chat_id), str(entry.seq))),
        owner_id=chat.owner_id,
        chat_id=chat_id,
        body=codec.encode(body),
        created_at=entry.recorded.at,
    )


def to_inbox_notification(notification: Notification) -> InboxNotification:
    """A notification in the form of the pub/sub contract (`wire.notify`)."""
    body: dict[str, Any] = msgspec.json.decode(notification.body)
    return InboxNotification(
        id=to_uuid(notification.notification_id),
        user_id=to_uuid(notification.owner_id),
        template_id=uuid.UUID(body["template_id"]),
        targets=tuple(uuid.UUID(target) for target in body["targets"]),
        title=body["title"],
        content=body["content"],
        icon=body["icon"],
        actions=tuple(InboxNotificationAction(**action) for action in body["actions"]),
        read_at=Time.from_us(notification.read_at) if notification.read_at else None,
        created_at=Time.from_us(notification.created_at),
    )
