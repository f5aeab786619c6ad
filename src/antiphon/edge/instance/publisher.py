"""What an instance publishes: every append and every delta of the admin's chats, told in the protocol's topics."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from msgspec.structs import replace

from antiphon.chats.active_chat import ActiveChat
from antiphon.chats.drafts import LiveDrafts
from antiphon.chats.service import Service
from antiphon.core import facts as f
from antiphon.core.model import Chat
from antiphon.edge.instance.elsewhere import Elsewhere
from antiphon.edge.instance.errands import Errands
from antiphon.edge.instance.message_counts import MessageCounts
from antiphon.edge.instance.session import Session
from antiphon.edge.instance.sockets import InstanceSockets
from antiphon.errors import AntiphonError
from antiphon.observe import METRICS
from antiphon.ports import Append, Listed
from antiphon.wire import instance as i
from antiphon.wire.gotime import Time, format_duration
from antiphon.wire.log import content_seq

PACE_S = 0.001
"""After a frame of a draft, what it gains waits up to so long and is told in one: each frame wakes its sender's and
its subscribers' threads, and that costs more than all the rest of it. A token that comes alone is told at once."""
HEARTBEAT_S = 5.0
LIST_S = 1.0
LISTED_MAX = 1_000
"""A session.list carries so many sessions, the newest."""
WAITING_MAX = 1_000
"""So many appends of one session wait for content to be read; then it is told anew from what comes next."""

MOVES_UPDATED_AT = (f.ChatCreated, f.MessageAppended, f.TitleChanged, f.Archived, f.Unarchived)
"""The facts at which a session's `updated_at` moves."""
CHANGES_LIST = (*MOVES_UPDATED_AT, f.HistoryTruncated, f.ChatDeleted)

log = structlog.get_logger(__name__)


class Publisher:
    """Publishes until closed; `run` it for heartbeats and lists."""

    def __init__(
        self,
        *,
        service: Service,
        drafts: LiveDrafts,
        sockets: InstanceSockets,
        instance_id: str,
        project_id: str,
        owner_id: str,
        started_at: int,
        active_chat: ActiveChat,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._service = service
        self._draft_of = drafts.get if elsewhere is None else elsewhere.drafts.get
        self._sockets = sockets
        self._instance_id = instance_id
        self._project_id = project_id
        self._owner_id = owner_id
        self._started_at = started_at
        self._active_chat = active_chat
        self._sessions: dict[str, Session] = {}
        self._paced: list[Session] = []
        self._counts = MessageCounts(service.store)
        self._uncounted: dict[str, deque[Chat]] = {}
        """What sessions came to, to be told in this order once their messages are counted."""
        self._is_list_dirty = True
        self._heads: dict[str, bytes] = {}
        self._errands = Errands()
        self.elsewhere = elsewhere
        if elsewhere is not None:
            elsewhere.teller = self
            sockets.on_heard = elsewhere.listen
        self._ends: list[Callable[[], None]] = [
            service.observe(self.tell if elsewhere is None else elsewhere.take),
            drafts.observe(self.tell_draft),
            active_chat.observe(self._on_activated),
        ]

    def close(self) -> None:
        if self.elsewhere is not None:
            self.elsewhere.close()
        for end in self._ends:
            end()
        self._sessions.clear()
        self._errands.cancel()

    # --- sessions

    def tell(self, append: Append) -> None:
        """Tell what comes next of a chat."""
        if append.chat.owner_id != self._owner_id:
            return
        if any(isinstance(entry.fact, CHANGES_LIST) for entry in append.entries):
            self._is_list_dirty = True
        session = self._sessions.get(append.chat_id)
        if not self._sockets.is_heard:
            # nobody would hear it; who comes later begins with what is told then
            self._sessions.pop(append.chat_id, None)
            self._counts.take(append)
            return
        if session is not None and len(session.waiting) >= WAITING_MAX:
            METRICS.oddities.labels("untold_session").inc()
            del self._sessions[append.chat_id]  # followers ask; what comes from now on is told
            session = None
        if session is None:
            session = self._sessions[append.chat_id] = Session(append.chat_id)
        if not session.draft_name and not any(entry.draft == entry.seq for entry in append.entries):
            session.draft_name = append.chat.draft
        session.waiting.append(append)
        self._tell_waiting(session)

    def _tell_waiting(self, session: Session) -> None:
        """Tell what waits, in order, up to an append whose content has to be read first."""
        while session.waiting and not session.is_loading:
            append = session.waiting[0]
            if any(_lacks_content(entry) for entry in append.entries):
                session.is_loading = True
                self._errands.begin(self._load(session))
                return
            session.waiting.popleft()
            self._tell(session, append)

    async def _load(self, session: Session) -> None:
        """Messages that waited in the queue have their content where they were queued."""
        append = session.waiting[0]
        places = [content_seq(entry.seq, entry.fact) for entry in append.entries if _lacks_content(entry)]
        try:
            found = await self._service.store.read_contents(session.chat_id, places)
        except AntiphonError:
            METRICS.oddities.labels("untold_content").inc()
            found = {}
        if self._sessions.get(session.chat_id) is not session:
            return
        entries = tuple(
            replace(entry, content=found.get(content_seq(entry.seq, entry.fact), b"[]"))
            if _lacks_content(entry)
            else entry
            for entry in append.entries
        )
        session.waiting[0] = replace(append, entries=entries)
        session.is_loading = False
        self._tell_waiting(session)

    def _tell(self, session: Session, append: Append) -> None:
        for entry in append.entries:
            fact = entry.fact
            if entry.draft == entry.seq:
                upto = fact.closes.upto if isinstance(fact, f.MessageAppended) and fact.closes else None
                if self.elsewhere is not None:
                    session.complete(entry)
                self._tell_draft(session, upto)
                session.open(entry.draft)
            for topic, payload in session.teller.translate_fact(entry):
                self._publish_of(session, topic, payload)
        count = self._counts.get(append.chat_id) or 0
        self._counts.take(append)
        self._tell_session(append, count)
        if self._sockets.subscriptions.is_followed:
            seq = append.entries[-1].seq
            self._publish_of(session, i.TOPIC_APPEND, i.AppendPayload(session_id=append.chat_id, seq=seq))
        if append.chat.is_deleted or (append.chat.is_idle and not session.waiting):
            self._sessions.pop(session.chat_id, None)
        else:
            self.tell_draft(session.chat_id)

    def forget(self, chat_id: str | None) -> None:
        """What comes next of it (None: of any) does not join what was told."""
        if chat_id is None:
            self._sessions.clear()
        else:
            self._sessions.pop(chat_id, None)

    def join(self, chat_id: str, draft: int) -> None:
        """Tell what there is of a draft whose beginning nobody heard."""
        session = self._sessions.get(chat_id)
        if session is None:
            session = self._sessions[chat_id] = Session(chat_id)
        session.draft_name = session.draft_name or draft
        self.tell_draft(chat_id)

    def tell_draft(self, chat_id: str) -> None:
        """It has grown."""
        session = self._sessions.get(chat_id) or self._join(chat_id)
        if session is None or session.waiting:
            return
        draft = self._draft_of(chat_id)
        if draft is None:
            return
        if draft.name != session.draft_name:
            session.next_draft = draft  # its fact is told first
            return
        session.draft = draft
        if not session.is_paced and session.position < draft.position:
            self._tell_draft(session, None)
            session.is_paced = True
            if not self._paced:
                asyncio.get_running_loop().call_later(PACE_S, self._end_pace)
            self._paced.append(session)

    def _end_pace(self) -> None:
        paced, self._paced = self._paced, []
        for session in paced:
            session.is_paced = False
            if self._sessions.get(session.chat_id) is session:
                self.tell_draft(session.chat_id)

    def _join(self, chat_id: str) -> Session | None:
        """Somebody listens now to a draft whose beginning nobody heard: tell it from its beginning."""
        chat, draft = self._service.chat_nowait(chat_id), self._draft_of(chat_id)
        is_told = self._sockets.is_heard and chat is not None and chat.owner_id == self._owner_id
        if not is_told or chat is None or draft is None or draft.name != chat.draft:
            return None
        session = self._sessions[chat_id] = Session(chat_id)
        if self.elsewhere is None or self.elsewhere.has_come_to(chat_id, draft.name):
            session.draft_name = draft.name
        return session

    def _tell_draft(self, session: Session, upto: int | None) -> None:
        if session.draft is None or session.draft.name != session.draft_name:
            return
        for delta in session.draft.read(session.position, upto):
            for topic, payload in session.teller.translate_delta(delta):
                self._publish_of(session, topic, payload)
            session.position = delta.to

    # --- what a session is

    def _tell_session(self, append: Append, count_before: int) -> None:
        chat, facts = append.chat, [entry.fact for entry in append.entries]
        uncounted = self._uncounted.get(append.chat_id)
        if chat.is_deleted:
            self._uncounted.pop(append.chat_id, None)
            former = self._service.deleted_chats.get(append.chat_id, chat)
            self._publish_session(i.TOPIC_SESSION_DELETED, append.chat_id, former, count_before)
        elif any(isinstance(fact, CHANGES_LIST) for fact in facts):
            count = self._counts.known(append.chat_id, chat)
            if uncounted is not None:
                uncounted.append(chat)
            elif count is not None:
                self._publish_session(i.TOPIC_SESSION_UPDATE, append.chat_id, chat, count)
            else:
                uncounted = self._uncounted[append.chat_id] = deque((chat,))
                self._errands.begin(self._count_and_tell(append.chat_id, uncounted))

    async def _count_and_tell(self, chat_id: str, uncounted: deque[Chat]) -> None:
        try:
            while uncounted:
                payload = await self.payload_of(chat_id, uncounted[0])
                if self._uncounted.get(chat_id) is not uncounted:
                    return  # it is deleted, which was told
                uncounted.popleft()
                self.publish(i.TOPIC_SESSION_UPDATE, payload, session_id=chat_id)
        finally:
            if self._uncounted.get(chat_id) is uncounted:
                del self._uncounted[chat_id]

    def _publish_session(self, topic: str, chat_id: str, chat: Chat, count: int) -> None:
        self.publish(topic, _payload(chat_id, chat, count), session_id=chat_id)

    async def payload_of(self, chat_id: str, chat: Chat) -> i.SessionPayload:
        """The session in brief."""
        count = await self._counts.count(chat_id, chat)
        return _payload(chat_id, chat, count)

    async def listed(self) -> tuple[Listed, ...]:
        """The admin's chats without archived ones, newest first."""
        return await self._service.store.list_chats(
            self._owner_id, archived=False, label=None, title="", limit=LISTED_MAX, after=None
        )

    async def sessions(self, listed: tuple[Listed, ...] | None = None) -> tuple[i.SessionPayload, ...]:
        """`listed` as sessions; by default all."""
        chats = await self.listed() if listed is None else listed
        return tuple([await self.payload_of(item.chat_id, item.chat) for item in chats])

    async def session_count(self) -> int:
        return await self._service.store.count_chats(self._owner_id)

    @property
    def active_session_id(self) -> str:
        return self._active_chat.chat_id

    def _on_activated(self, chat_id: str) -> None:
        """By another instance: what is asked of this one is told by who answers it."""
        if self._sockets.is_heard:
            self._errands.begin(self._tell_activated(chat_id))

    async def _tell_activated(self, chat_id: str) -> None:
        chat = await self._service.chat(chat_id)
        if chat is not None:
            payload = await self.payload_of(chat_id, chat)
            self.publish(i.TOPIC_SESSION_ACTIVATED, payload, session_id=chat_id)

    # --- frames

    def publish(self, topic: str, payload: Any, *, session_id: str = "") -> None:
        head = i.frame_head(topic, self._instance_id, self._project_id, session_id) if session_id else None
        if head is None:
            head = self._heads.get(topic)
            if head is None:
                head = self._heads[topic] = i.frame_head(topic, self._instance_id, self._project_id)
        self._send(head, payload)

    def _publish_of(self, session: Session, topic: str, payload: Any) -> None:
        head = session.heads.get(topic)
        if head is None:
            head = i.frame_head(topic, self._instance_id, self._project_id, session.chat_id)
            session.heads[topic] = head
        self._send(head, payload)

    def _send(self, head: bytes, payload: Any) -> None:
        self._sockets.publish_nowait(i.encode_frame(head, self._service.store.clock.now_us(), payload))

    # --- by time

    async def run(self) -> None:
        """Heartbeats, and the list when it has changed, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat_forever())
            tasks.create_task(self._list_forever())
            tasks.create_task(self._sockets.watch_subscriptions())

    async def _beat_forever(self) -> None:
        while True:
            try:
                await self.beat()
            except AntiphonError as error:
                log.warning("heartbeat_missed", error=str(error))
            await asyncio.sleep(HEARTBEAT_S)

    async def beat(self) -> None:
        payload = i.HeartbeatPayload(
            instance_id=self._instance_id,
            active_session_id=self.active_session_id,
            session_count=await self.session_count(),
            uptime=self.uptime(),
            started_at=Time.from_us(self._started_at),
        )
        self.publish(i.TOPIC_INSTANCE_HEARTBEAT, payload)

    def uptime(self) -> str:
        return format_duration((self._service.store.clock.now_us() - self._started_at) // 1_000_000)

    async def _list_forever(self) -> None:
        while True:
            if self._is_list_dirty and self._sockets.is_heard:  # on a shared store each count is asked for
                self._is_list_dirty = False
                try:
                    sessions = await self.sessions()
                    self.publish(i.TOPIC_SESSION_LIST, i.SessionListPayload(sessions=sessions))
                except AntiphonError as error:
                    self._is_list_dirty = True
                    log.warning("sessions_not_listed", error=str(error))
            await asyncio.sleep(LIST_S)

    def say_goodbye(self, reason: str) -> None:
        self.publish(i.TOPIC_INSTANCE_SHUTDOWN, i.ShutdownPayload(instance_id=self._instance_id, reason=reason))


def _lacks_content(entry: f.Entry) -> bool:
    """One that a truncation has removed meanwhile is meant to have none."""
    return entry.content is None and not entry.hidden_by and isinstance(entry.fact, f.MessageAppended)


def _payload(chat_id: str, chat: Chat, count: int) -> i.SessionPayload:
    return i.SessionPayload(
        id=chat_id, title=chat.title, updated_at=Time.from_us(chat.updated_at), message_count=count
    )
