"""The inbox: what an owner should see of turns that nobody watched, stored with the fact that it tells of.

A notification is named by its chat and the seq of that fact, so it is stored once however often it is made; it is
pushed where its owner listens, and a poll finds what a lost hint would have told.
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
"""The templates: what kind of notification it is."""

EXCERPT_MAX = 200
LIST_MAX = 200
OVERLAP_US = 10_000_000
"""A poll looks so far back: commits become visible in any order, and what is known is told no second time."""


def inbox_channel(owner_id: str) -> str:
    """Where an owner's InboxNotificationEvents are published."""
    return f"inbox_notification:owner:{owner_id}"


class Inbox:
    """`notice` is asked with each append; `is_watched(chat_id)` tells whether anybody sees the chat live."""

    def __init__(self, *, store: Store, bus: Bus, is_watched: Callable[[str], bool]) -> None:
        self._store = store
        self._bus = bus
        self._is_watched = is_watched

    # --- making

    def notice(self, chat_id: str, chat: Chat, entries: Sequence[f.Entry]) -> Notification | None:
        """What the append's last such fact has to tell, unless somebody watches."""
        for entry in reversed(entries):
            told = _told(entry, chat, entries)
            if told is not None:
                return None if self._is_watched(chat_id) else _notification(chat_id, chat, entry, told)
        return None

    def publish(self, append: Append) -> None:
        """Push what was stored with an append."""
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
        limit = min(limit, LIST_MAX + 1)
        return await self._store.list_notifications(owner_id, is_unread=is_unread, limit=limit, after=after)

    async def count_unread(self, owner_id: str) -> int:
        return await self._store.count_unread(owner_id)

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        """Those of these chats that have an unread message of a model."""
        return await self._store.unread_of(chat_ids)

    async def read(self, owner_id: str, notification_id: str) -> Notification:
        """Mark it as read. Raises `NotFound`."""
        found = await self._store.read_notification(owner_id, notification_id)
        if found is None:
            raise NotFound("notification")
        return found

    async def read_all(self, owner_id: str) -> None:
        await self._store.read_all_notifications(owner_id)

    async def read_chat(self, chat_id: str, chat: Chat, seq: int | None) -> int:
        """Move the owner's read cursor to that seq (None: to the chat's last). Raises `Invalid` for one beyond it."""
        if seq is not None and seq > chat.seq:
            raise Invalid("seq", f"the chat's last is {chat.seq}")
        cursor = chat.seq if seq is None else seq
        await self._store.move_read_cursor(chat_id, cursor)
        channel = owner_channel(chat.owner_id)
        if self._bus.has_subscribers(channel):  # no fact was written, so no seq says that this is news
            unread = await self._store.unread_of((chat_id,))
            event = {
                "kind": ChatEventKind.STATUS_CHANGE,
                "chat": chat_json(chat_id, chat, has_unread=bool(unread)),
            }
            self._bus.publish_nowait(channel, codec.encode(event))
        return cursor


def to_uuid(name: str) -> uuid.UUID:
    """An id as a UUID. (Who embeds an instance may name chats otherwise: such a name has a UUID of its own.)"""
    try:
        return uuid.UUID(name)
    except ValueError:
        return uuid.uuid5(NAMES, name)


class Told(Value):
    """What a notification says. `content` is Markdown."""

    template_id: uuid.UUID
    title: str
    content: str
    icon: str


def _told(entry: f.Entry, chat: Chat, entries: Sequence[f.Entry]) -> Told | None:
    fact = entry.fact
    name = chat.title or "Untitled chat"
    if isinstance(fact, f.ActionRequired):
        names = ", ".join(sorted({call.tool_name for call in fact.calls}))
        return Told(template_id=NEEDS_ACTION, title=f"{name} needs you", content=_excerpt(names), icon="action")
    if not isinstance(fact, f.TurnEnded):
        return None
    if fact.outcome is Outcome.ANSWERED:
        answer = next((e for e in reversed(entries) if _is_answer(e)), None)
        text = text_of(codec.decode_content(answer.content)) if answer is not None and answer.content else ""
        return Told(template_id=ANSWERED, title=f"{name} has an answer", content=_excerpt(text), icon="answer")
    if fact.outcome is Outcome.FAILED:
        message = fact.error.message if fact.error else ""
        return Told(template_id=FAILED, title=f"{name} failed", content=_excerpt(message), icon="error")
    return None


def _is_answer(entry: f.Entry) -> bool:
    return isinstance(entry.fact, f.MessageAppended) and entry.fact.role is Role.ASSISTANT


def _excerpt(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT_MAX else text[:EXCERPT_MAX] + "…"


def _notification(chat_id: str, chat: Chat, entry: f.Entry, told: Told) -> Notification:
    body = {
        "template_id": told.template_id,
        "targets": [to_uuid(chat_id)],
        "title": told.title,
        "content": told.content,
        "icon": told.icon,
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
    """As the contract has it."""
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
