"""Publishes every append and every delta of the admin's chats, as events in the protocol's topics."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import structlog

from antiphon.api.zmq.message_counts import MessageCounts
from antiphon.api.zmq.session import Session
from antiphon.api.zmq.sockets import InstanceSockets
from antiphon.chats.running_children import iter_running_children
from antiphon.core import facts as f
from antiphon.core.events import Delta
from antiphon.core.model import Chat
from antiphon.errors import AntiphonError
from antiphon.instance import Instance
from antiphon.observe.background_tasks import BackgroundTasks
from antiphon.ports import Append, Listed
from antiphon.watch.owner_follower import FollowLimits, OwnerFollower
from antiphon.wire import instance as i
from antiphon.wire.gotime import Time, format_duration

HEARTBEAT_S = 5.0
"""How often a heartbeat is published, in seconds."""
LISTED_MAX = 1_000
"""Maximum number of sessions in a `session.list`, the newest ones."""
SESSIONS_MAX = 10_000
"""Maximum number of sessions whose published state is remembered."""

MOVES_UPDATED_AT = (f.ChatCreated, f.MessageAppended, f.TitleChanged, f.Archived, f.Unarchived)
"""The facts that change a session's `updated_at`."""
CHANGES_LIST = (*MOVES_UPDATED_AT, f.HistoryTruncated, f.ChatDeleted)

log = structlog.get_logger(__name__)


class Publisher:
    """Publishes until closed; `run` it for heartbeats and lists. A `Consumer` of the admin's chats while there are
    subscribers."""

    def __init__(
        self, instance: Instance, sockets: InstanceSockets, *, project_id: str, follow_limits: FollowLimits
    ) -> None:
        self._instance = instance
        self._service, self._store = instance.service, instance.store
        self._sockets = sockets
        self._project_id = project_id
        self._owner_id = instance.owner_id
        self._active_chat = instance.active_chat
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._counts = MessageCounts(instance.store)
        self._uncounted: dict[str, deque[Chat]] = {}
        """The states of sessions that are published, in this order, once their messages are counted."""
        self._is_list_changed = True
        self._heads: dict[str, bytes] = {}
        self._background = BackgroundTasks()
        self.follower = OwnerFollower(
            self._owner_id,
            service=instance.service,
            store=instance.store,
            bus=instance.bus,
            watch=instance.watch,
            consumer=self,
            limits=follow_limits,
            retry_s=instance.options.timing.watch.follow_retry_s,
        )
        self._unsubscribe = (
            self._service.appended.subscribe(self._on_own_append),
            self._active_chat.changed_by_other.subscribe(self._on_activated),
            sockets.subscribed.subscribe(self._on_subscribed),
        )

    def close(self) -> None:
        self.follower.stop()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._sessions.clear()
        self._background.cancel()

    # --- what is followed

    def _on_subscribed(self, has_subscribers: bool) -> None:
        if has_subscribers:
            self.follower.start()
        else:
            self.follower.stop()
            self._sessions.clear()

    def _on_own_append(self, append: Append) -> None:
        if append.chat.owner_id != self._owner_id:
            return
        self._note_list_change(append)
        self._counts.apply(append)

    def _note_list_change(self, append: Append) -> None:
        if any(isinstance(entry.fact, CHANGES_LIST) for entry in append.entries):
            self._is_list_changed = True

    def on_append(self, append: Append) -> None:
        session = self._session(append.chat_id)
        for entry in append.entries:
            for topic, payload in session.events.translate_fact(entry):
                self._publish_of(session, topic, payload)
        self._counts.apply(append)
        self._note_list_change(append)
        self._publish_state(append)
        if self._sockets.subscriptions.is_followed:
            seq = append.entries[-1].seq
            self._publish_of(session, i.TOPIC_APPEND, i.AppendPayload(session_id=append.chat_id, seq=seq))
        if append.chat.is_deleted or append.chat.is_idle:
            self._sessions.pop(append.chat_id, None)

    def on_deltas(self, chat_id: str, deltas: Sequence[Delta]) -> None:
        session = self._session(chat_id)
        for delta in deltas:
            for topic, payload in session.events.translate_delta(delta):
                self._publish_of(session, topic, payload)

    def on_skipped(self, chat_id: str) -> None:
        self._sessions.pop(chat_id, None)

    def _session(self, chat_id: str) -> Session:
        session = self._sessions.get(chat_id)
        if session is None:
            session = self._sessions[chat_id] = Session(chat_id)
            if len(self._sessions) > SESSIONS_MAX:
                self._sessions.popitem(last=False)
        return session

    # --- the state of a session

    def _publish_state(self, append: Append) -> None:
        chat, facts = append.chat, [entry.fact for entry in append.entries]
        uncounted = self._uncounted.get(append.chat_id)
        if chat.is_deleted:
            self._uncounted.pop(append.chat_id, None)
            former = self._service.deleted_chats.get(append.chat_id, chat)
            self._publish_session(
                i.TOPIC_SESSION_DELETED, append.chat_id, former, self._counts.get(append.chat_id) or 0
            )
        elif any(isinstance(fact, CHANGES_LIST) for fact in facts):
            count = self._counts.known(append.chat_id, chat)
            if uncounted is not None:
                uncounted.append(chat)
            elif count is not None:
                self._publish_session(i.TOPIC_SESSION_UPDATE, append.chat_id, chat, count)
            else:
                uncounted = self._uncounted[append.chat_id] = deque((chat,))
                self._background.start(self._publish_counted(append.chat_id, uncounted))

    async def _publish_counted(self, chat_id: str, uncounted: deque[Chat]) -> None:
        try:
            while uncounted:
                payload = await self.payload_of(chat_id, uncounted[0])
                if self._uncounted.get(chat_id) is not uncounted:
                    return  # it was deleted, which was published
                uncounted.popleft()
                self.publish(i.TOPIC_SESSION_UPDATE, payload, session_id=chat_id)
        finally:
            if self._uncounted.get(chat_id) is uncounted:
                del self._uncounted[chat_id]

    def _publish_session(self, topic: str, chat_id: str, chat: Chat, count: int) -> None:
        self.publish(topic, _payload(chat_id, chat, count), session_id=chat_id)

    async def payload_of(self, chat_id: str, chat: Chat) -> i.SessionPayload:
        """The session's summary."""
        count = await self._counts.count(chat_id, chat)
        return _payload(chat_id, chat, count)

    async def listed(self) -> tuple[Listed, ...]:
        """The admin's chats without archived ones and child chats, newest first."""
        return await self._store.list_chats(
            self._owner_id, archived=False, label=None, title="", limit=LISTED_MAX, after=None
        )

    async def running_children(self, listed: tuple[Listed, ...]) -> tuple[Listed, ...]:
        """The child chats that the listed ones may wait for."""
        return tuple([item async for item in iter_running_children(self._store, self._owner_id, listed)])

    async def sessions(self, listed: tuple[Listed, ...] | None = None) -> tuple[i.SessionPayload, ...]:
        """`listed` as sessions; by default all."""
        chats = await self.listed() if listed is None else listed
        return tuple([await self.payload_of(item.chat_id, item.chat) for item in chats])

    async def session_count(self) -> int:
        return await self._store.count_chats(self._owner_id)

    @property
    def active_session_id(self) -> str:
        return self._active_chat.chat_id

    def _on_activated(self, chat_id: str) -> None:
        """By another instance. A change by a call to this one is published by its handler."""
        if self._sockets.has_subscribers:
            self._background.start(self._publish_activated(chat_id))

    async def _publish_activated(self, chat_id: str) -> None:
        chat = await self._service.chat(chat_id)
        if chat is not None:
            payload = await self.payload_of(chat_id, chat)
            self.publish(i.TOPIC_SESSION_ACTIVATED, payload, session_id=chat_id)

    # --- frames

    def publish(self, topic: str, payload: Any, *, session_id: str = "") -> None:
        head = i.frame_head(topic, self._instance.instance_id, self._project_id, session_id) if session_id else None
        if head is None:
            head = self._heads.get(topic)
            if head is None:
                head = self._heads[topic] = i.frame_head(topic, self._instance.instance_id, self._project_id)
        self._send(head, payload)

    def _publish_of(self, session: Session, topic: str, payload: Any) -> None:
        head = session.heads.get(topic)
        if head is None:
            head = i.frame_head(topic, self._instance.instance_id, self._project_id, session.chat_id)
            session.heads[topic] = head
        self._send(head, payload)

    def _send(self, head: bytes, payload: Any) -> None:
        self._sockets.publish_nowait(i.encode_frame(head, self._store.clock.now_us(), payload))

    # --- periodically

    async def run(self) -> None:
        """Heartbeats, and the list when it has changed, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat_forever())
            tasks.create_task(self._list_forever())
            tasks.create_task(self._sockets.watch_subscriptions())

    async def _beat_forever(self) -> None:
        while True:
            try:
                await self.publish_heartbeat()
            except AntiphonError as error:
                log.warning("heartbeat_failed", error=str(error))
            await asyncio.sleep(HEARTBEAT_S)

    async def publish_heartbeat(self) -> None:
        payload = i.HeartbeatPayload(
            instance_id=self._instance.instance_id,
            active_session_id=self.active_session_id,
            session_count=await self.session_count(),
            uptime=self.uptime(),
            started_at=Time.from_us(self._instance.started_at),
        )
        self.publish(i.TOPIC_INSTANCE_HEARTBEAT, payload)

    def uptime(self) -> str:
        return format_duration((self._store.clock.now_us() - self._instance.started_at) // 1_000_000)

    async def _list_forever(self) -> None:
        while True:
            if self._is_list_changed and self._sockets.has_subscribers:  # on a shared store each count is a query
                self._is_list_changed = False
                try:
                    sessions = await self.sessions()
                    self.publish(i.TOPIC_SESSION_LIST, i.SessionListPayload(sessions=sessions))
                except AntiphonError as error:
                    self._is_list_changed = True
                    log.warning("session_list_failed", error=str(error))
            await asyncio.sleep(self._instance.options.timing.session_list_s)

    def publish_shutdown(self, reason: str) -> None:
        self.publish(
            i.TOPIC_INSTANCE_SHUTDOWN, i.ShutdownPayload(instance_id=self._instance.instance_id, reason=reason)
        )


def _payload(chat_id: str, chat: Chat, count: int) -> i.SessionPayload:
    return i.SessionPayload(
        id=chat_id, title=chat.title, updated_at=Time.from_us(chat.updated_at), message_count=count
    )
