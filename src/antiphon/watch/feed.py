"""An owner's feed: which of their chats changed, as the reference's ChatEvents, latest state only."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict

import msgspec

from antiphon.chats.hints import chat_hint, claimed_chat, owner_channel, subscribe_events
from antiphon.chats.inbox import OVERLAP_US, inbox_channel, to_inbox_notification
from antiphon.chats.open_calls import read_open_calls
from antiphon.chats.service import Service
from antiphon.core.model import Chat
from antiphon.errors import AntiphonError
from antiphon.ports import Append, Bus, Store
from antiphon.watch.plain_stream import PlainStream
from antiphon.wire import codec
from antiphon.wire.notify import (
    ChatEventKind,
    InboxNotification,
    InboxNotificationEvent,
    InboxNotificationEventKind,
    handle_inbox_notification_event,
)
from antiphon.wire.notify_facts import event_kinds
from antiphon.wire.stream import Frame, chat_json

DIRTY_MAX = 1_000
"""Maximum number of changed chats that wait for one feed. Beyond it the feed gets a `resync`: fetch the list
again."""

SENT_MAX = 1_000
"""Maximum number of notifications that a feed remembers as sent."""

CLAIMED_KINDS = frozenset(ChatEventKind) - {ChatEventKind.DELETED}
"""The changes that a message may report. Only the store reports that a chat is deleted."""
RESYNC = Frame(None, 0, "resync", b'{"type":"resync"}')


class Feed(PlainStream):
    """The feed of one owner. Waiting changes of one chat are merged: its newest state is sent once."""

    def __init__(
        self, owner_id: str, *, service: Service, store: Store, bus: Bus, token_id: str, subscribe_s: float
    ) -> None:
        """`subscribe_s` is how long to wait for the bus to subscribe to the owner's channel, in seconds."""
        super().__init__(owner_id, token_id=token_id)
        self._service = service
        self._store = store
        self._dirty: dict[str, str] = {}
        self._sent: dict[str, int] = {}
        self._is_resync_due = True
        self._waiting: asyncio.TimerHandle | None = None
        """Set while the bus subscribes: events before that may be missed."""
        self.opened_at = store.clock.now_us()
        self._is_inbox_due = False
        self._inbox_since = self.opened_at
        self._notifications: list[InboxNotification] = []
        self._sent_notifications: OrderedDict[str, None] = OrderedDict()
        self._ends = (
            service.appended_for_owner.subscribe(owner_id, self._on_append),
            bus.subscribe(owner_channel(owner_id), self._on_hint, sees_own_appends=True),
            subscribe_events(bus, inbox_channel(owner_id), handle_inbox_notification_event(self._on_notification)),
        )

        if bus.error is None and not bus.is_subscribed(owner_channel(owner_id)):
            self._waiting = asyncio.get_running_loop().call_later(subscribe_s, self._stop_waiting)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            self.wake()

    def close(self) -> None:
        self._stop_waiting()
        for end in self._ends:
            end()

    async def _on_notification(self, event: InboxNotificationEvent, error: AntiphonError | None) -> None:
        """Reads the new notifications from the store; the message is only a hint."""
        self._is_inbox_due = True
        self.wake()

    def notify(self, notification: InboxNotification) -> None:
        """Send a notification, unless it was sent."""
        name = str(notification.id)
        if name in self._sent_notifications or str(notification.user_id) != self.owner_id:
            return
        self._sent_notifications[name] = None
        if len(self._sent_notifications) > SENT_MAX:
            self._sent_notifications.popitem(last=False)
        self._notifications.append(notification)
        if len(self._notifications) > DIRTY_MAX:
            self._notifications.clear()
            self._is_resync_due = True
        self.wake()

    def _on_append(self, append: Append) -> None:
        """This process changed a chat of the owner."""
        for kind in event_kinds(append.entries):
            self._on_change(append.chat_id, kind, append.chat.seq)
        self.wake()

    def _on_hint(self, message: bytes | None) -> None:
        hint = chat_hint(message)
        if hint.kind == ChatEventKind.DELETED and (claimed := claimed_chat(message)) is not None:
            self._service.deleted_chats.record_claimed(hint.chat_id, claimed)
        if not hint.chat_id:
            self._is_resync_due = True
            self._stop_waiting()
        else:
            self._on_change(hint.chat_id, hint.kind, hint.seq)
        self.wake()

    def _on_change(self, chat_id: str, kind: str, seq: int | None) -> None:
        """The chat has reached `seq` (None: unknown)."""
        if seq is None or self._sent.get(chat_id, 0) < seq:
            self._mark(chat_id, kind if kind in CLAIMED_KINDS else ChatEventKind.STATUS_CHANGE)

    def _mark(self, chat_id: str, kind: str) -> None:
        before = self._dirty.get(chat_id)
        self._dirty[chat_id] = kind if before is None else before
        if len(self._dirty) > DIRTY_MAX:
            self._dirty.clear()
            self._is_resync_due = True

    def lacks(self, chat_id: str, seq: int) -> bool:
        """Whether a change up to `seq` was not sent and is not waiting to be sent."""
        return self._sent.get(chat_id, 0) < seq and chat_id not in self._dirty

    def on_changed(self, chat_id: str, chat: Chat) -> None:
        """A poll found that the chat changed: send it if it is this owner's."""
        if chat.owner_id == self.owner_id:
            self._mark(chat_id, ChatEventKind.STATUS_CHANGE)
            self.wake()

    async def _frames(self) -> list[Frame]:
        frames: list[Frame] = []
        if self._waiting is not None:
            return frames
        if self._is_resync_due:
            self._is_resync_due = False
            self._dirty.clear()
            self._sent.clear()
            frames.append(RESYNC)
        if self._is_inbox_due:
            await self._poll_notifications()
        notifications, self._notifications = self._notifications, []
        frames += [_inbox_frame(notification) for notification in notifications]
        while self._dirty and len(frames) < 100:
            chat_id, kind = next(iter(self._dirty.items()))
            del self._dirty[chat_id]
            frames += await self._chat_event(chat_id, kind)
        return frames

    async def _poll_notifications(self) -> None:
        self._is_inbox_due = False
        with contextlib.suppress(AntiphonError):  # the next poll repeats it
            since = self._inbox_since - OVERLAP_US
            for notification in await self._store.new_notifications([self.owner_id], since):
                self._inbox_since = max(self._inbox_since, notification.created_at)
                if notification.created_at >= self.opened_at:
                    self.notify(to_inbox_notification(notification))

    async def _chat_event(self, chat_id: str, kind: str) -> list[Frame]:
        chat = await self._service.chat(chat_id)
        if chat is None or chat.owner_id != self.owner_id:
            return []
        if kind == ChatEventKind.CREATED and (chat_id in self._sent or chat.created_at < self.opened_at):
            kind = ChatEventKind.STATUS_CHANGE  # the store contradicts the message
        if len(self._sent) > 10 * DIRTY_MAX:
            self._sent.clear()
        self._sent[chat_id] = chat.seq
        has_unread = bool(await self._store.unread_of((chat_id,)))
        open_calls = await read_open_calls(self._store, chat_id, chat)
        former = self._service.deleted_chats.get(chat_id, chat)
        chat_shown = chat_json(chat_id, former, has_unread=has_unread, open_calls=open_calls)
        shown = {"type": "chat", "kind": ChatEventKind.DELETED if chat.is_deleted else kind, "chat": chat_shown}
        return [Frame(None, 0, "chat", msgspec.json.encode(shown))]


def _inbox_frame(notification: InboxNotification) -> Frame:
    event = InboxNotificationEvent(kind=InboxNotificationEventKind.NEW, inbox_notification=notification)
    return Frame(None, 0, "inbox", b'{"type":"inbox",' + codec.encode(event)[1:])
