"""Watches one session of an instance without `antiphon.read`, from what it publishes.

Such a server has topics and `message.list`, but no log to resume from. When the number of messages shows that one was
missed, the messages are read again. Lost deltas stay lost until the message is complete. The events are those of the
stream, numbered by this watch: they have no cursor, and the first `Resync` has `may_have_gaps`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import zmq.asyncio

from antiphon.client.errors import MethodMissing
from antiphon.client.remote import Remote
from antiphon.core.events import Bye, CaughtUp, Delta, Event, FactEvent, OpenDraft, Resync
from antiphon.core.parts import Text
from antiphon.errors import PeerError
from antiphon.wire import instance as i
from antiphon.wire.gotime import format_time_us

CHECK_S = 2.0
"""Interval at which the number of messages is compared with the server's, in seconds."""

TOPICS = (
    i.TOPIC_MESSAGE_APPEND,
    i.TOPIC_LLM_START,
    i.TOPIC_LLM_TOKEN,
    i.TOPIC_LLM_END,
    i.TOPIC_SESSION_UPDATE,
    i.TOPIC_SESSION_DELETED,
    i.TOPIC_INSTANCE_HEARTBEAT,
)


class PlainWatch:
    """`begin` yields the state, `step` the events of the next frame or check, until `is_closed`. If a newer instance
    at the address has `antiphon.read`, the watch closes with `upgraded` set."""

    def __init__(self, remote: Remote, session_id: str, instance_id: str) -> None:
        self.is_closed = False
        self._remote = remote
        self._session_id = session_id
        self._instance_id = instance_id
        self.upgraded: i.InstanceInfo | None = None
        self._is_stale = False
        """Whether another instance publishes now whose state is not yet read."""
        self._check_at = time.monotonic() + CHECK_S
        self._has_frames = False
        """Whether a frame of the session arrived since the last check."""
        self._expected_count = 0
        """Number of the session's messages at the last check."""
        self._session = i.SessionPayload()
        self._message_ids: list[str] | None = []
        """The messages reported so far; None: the server cannot list them."""
        self._not_listed = 0
        """Number of messages that the session counts but does not list (those of tools, say)."""
        self._seq = self._draft = self._position = 0
        self._turn_id: int | None = None
        self._at = ""

    async def begin(self) -> AsyncGenerator[Event, None]:
        """The whole state. Raises `PeerError` with the server's message if there is no such session."""
        session = await self._remote.session(self._session_id)
        messages = await self._messages()
        yield self._resync(session, messages)
        yield CaughtUp()

    async def step(self, sub: zmq.asyncio.Socket) -> AsyncGenerator[Event, None]:
        """The events of the next frame, or of a check."""
        frame = await self._receive(sub)
        if frame is None:
            async for event in self._catch_up():
                yield event
            return
        envelope = self._remote.read_frame(frame, i.Envelope)
        if envelope is None:
            return
        if envelope.instance_id != self._instance_id:
            self._instance_id, self._is_stale = envelope.instance_id, True
            async for event in self._catch_up():
                yield event
            return
        try:
            payload = i.read_payload(envelope)
        except PeerError:
            self._remote.skip_frame()
            return
        if _session_of(payload) == self._session_id and not self._is_stale:
            self._has_frames = True
            self._at = format_time_us(envelope.timestamp.us)
            async for event in self._apply(envelope.topic, payload):
                yield event

    async def _receive(self, sub: zmq.asyncio.Socket) -> bytes | None:
        """The next frame; None: a check is due, even if frames arrive."""
        remaining_s = self._check_at - time.monotonic()
        if remaining_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(remaining_s):
                    return await sub.recv()
        return None

    async def _catch_up(self) -> AsyncGenerator[Event, None]:
        """The state of another instance, or the messages that were missed. The next check retries after a failure."""
        self._check_at = time.monotonic() + CHECK_S
        if self._is_stale:
            info = await self._remote.about()
            if i.METHOD_READ in (info.capabilities or ()):
                self.upgraded, self.is_closed = info, True
                return
            self._turn_id = None
            async for event in self.begin():
                yield event
            self._is_stale = False
            return
        session = await self._remote.session(self._session_id)
        if self._is_behind(session):
            async for event in self._check(session):
                yield event

    def _is_behind(self, session: i.SessionPayload) -> bool:
        """Whether messages were missed and are not in transit: no frame of the session arrived since the last check,
        or this watch has fewer messages than the session had then."""
        has_frames, self._has_frames = self._has_frames, False
        expected, self._expected_count = self._expected_count, session.message_count
        return not has_frames or len(self._message_ids or ()) + self._not_listed < expected

    async def _apply(self, topic: str, payload: Any) -> AsyncGenerator[Event, None]:
        if isinstance(payload, i.SessionPayload):
            if topic == i.TOPIC_SESSION_DELETED and await self._is_gone():
                self.is_closed = True
                yield Bye(reason="deleted")
                return
            async for event in self._check(payload):
                yield event
            return
        for event in self._events_of(payload):
            yield event

    def _events_of(self, payload: Any) -> list[Event]:
        match payload:
            case i.LLMStartPayload():
                return self._start()
            case i.LLMTokenPayload() if payload.token:
                begun = [] if self._turn_id is not None else self._start()
                return [*begun, self._delta(payload.token)]
            case i.LLMEndPayload():
                return self._end()
            case i.MessageAppendPayload():
                if self._message_ids is None or payload.message_id not in self._message_ids:
                    message = i.MessagePayload(id=payload.message_id, role=payload.role, content=payload.content)
                    return [self._message(message)]
        return []

    # --- missed events

    async def _check(self, session: i.SessionPayload) -> AsyncGenerator[Event, None]:
        """The events for a new title, and for the messages whose frames were missed."""
        if session.title != self._session.title:
            self._session = session
            yield self._fact("title_changed", {"title": session.title, "by": "model"})
        if self._message_ids is None or session.message_count == len(self._message_ids) + self._not_listed:
            return
        session = await self._remote.session(self._session_id)
        messages = await self._messages() or ()
        known = len(self._message_ids)
        if [message.id for message in messages[:known]] == self._message_ids:
            for message in messages[known:]:
                yield self._message(message)
            self._not_listed = session.message_count - len(messages)
        else:
            yield self._resync(session, messages)
            yield CaughtUp()

    async def _is_gone(self) -> bool:
        """Whether the server refuses the session; a frame alone is not enough."""
        try:
            await self._remote.session(self._session_id)
        except PeerError:
            return True
        return False

    async def _messages(self) -> tuple[i.MessagePayload, ...] | None:
        try:
            return await self._remote.messages(self._session_id)
        except MethodMissing:
            return None

    # --- the stream's events

    def _resync(self, session: i.SessionPayload, messages: Sequence[i.MessagePayload] | None) -> Resync:
        self._session = session
        self._message_ids = None if messages is None else [message.id for message in messages]
        self._not_listed = session.message_count - len(messages or ())
        self._seq += 1
        self._draft, self._position = self._seq, 0
        shown = [
            message_of(self._session_id, number, message) for number, message in enumerate(messages or (), start=1)
        ]
        return Resync(
            reason="start",
            chat=chat_of(session) | {"seq": self._seq, "draft": self._draft, "status": self._status},
            messages=shown,
            has_more=messages is None and session.message_count > 0,
            queued_messages=[],
            open_draft=OpenDraft(draft=self._draft, to=0, parts=[]),
            may_have_gaps=True,
        )

    @property
    def _status(self) -> str:
        return "waiting" if self._turn_id is None else "running"

    def _start(self) -> list[Event]:
        """A model call begins: a new draft, and a new turn if none is in progress."""
        events: list[Event] = []
        if self._turn_id is None:
            self._turn_id = self._seq + 1
            events.append(self._fact("turn_restarted", {"turn_id": self._turn_id}, opens_draft=True))
        events.append(self._fact("attempt_started", {"instance_id": self._instance_id}, opens_draft=True))
        return events

    def _delta(self, token: str) -> Delta:
        start, self._position = self._position, self._position + len(token)
        return Delta(draft=self._draft, from_=start, to=self._position, part_index=0, part=Text(token))

    def _end(self) -> list[Event]:
        """The server does not say how a turn ends: the turn is assumed to end with its model call."""
        turn_id, self._turn_id = self._turn_id, None
        if turn_id is None:
            return []
        return [self._fact("turn_ended", {"turn_id": turn_id, "outcome": "answered"})]

    def _message(self, message: i.MessagePayload) -> FactEvent:
        number = self._seq + 1
        if self._message_ids is not None:
            self._message_ids.append(message.id)
        shown = message_of(self._session_id, number, message)
        return self._fact("message_appended", {"message": shown}, opens_draft=message.role == "assistant")

    def _fact(self, kind: str, data: dict[str, Any], *, opens_draft: bool = False) -> FactEvent:
        self._seq += 1
        if opens_draft:
            self._draft, self._position = self._seq, 0
        return FactEvent(type=kind, seq=self._seq, at=self._at, status=self._status, draft=self._draft, data=data)


def _session_of(payload: Any) -> str:
    if isinstance(payload, i.SessionPayload):
        return payload.id
    return str(getattr(payload, "session_id", ""))


def chat_of(session: i.SessionPayload) -> dict[str, Any]:
    """The HTTP API's chat, from the fields of a session."""
    updated_at = format_time_us(session.updated_at.us)
    return {
        "id": session.id,
        "owner_id": "",
        "title": session.title,
        "status": "",
        "last_error": None,
        "created_at": updated_at,
        "updated_at": updated_at,
        "archived": False,
        "pin_order": 0,
        "labels": {},
        "has_unread": False,
        "seq": 0,
        "draft": 0,
        "queue_length": 0,
        "turn_id": None,
        "model": "",
        "usage": {},
    }


def message_of(session_id: str, number: int, message: i.MessagePayload) -> dict[str, Any]:
    """The HTTP API's message; `id` is a number given by this client, `message_id` the server's id."""
    return {
        "id": number,
        "chat_id": session_id,
        "created_at": format_time_us(message.created_at.us),
        "role": message.role,
        "turn_id": number,
        "content": [{"type": "text", "text": message.content}] if message.content else [],
        "message_id": message.id,
    }
