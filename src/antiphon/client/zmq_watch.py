"""Watches one session over ZeroMQ: applies frames that fit, and reads the log otherwise.

The events' socket may drop frames, and not every fact has a topic. A delta that begins where the last one ended is
applied directly. Any other frame of the session, and a silence of SILENCE_S, triggers a call of `antiphon.read`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import zmq
import zmq.asyncio

from antiphon.client.remote import Remote
from antiphon.core.events import Bye, CaughtUp, Delta, Event, FactEvent, Resync
from antiphon.core.parts import DeltaPart, Text
from antiphon.errors import NotFound, PeerError, TooLarge, Unavailable
from antiphon.wire import instance as i
from antiphon.wire.cursor import format_cursor, parse_cursor
from antiphon.wire.ids import canonical_id
from antiphon.wire.stream import decode_event

SILENCE_S = 2.0
"""How long a watch waits for a frame before it reads the log, in seconds."""

FRAMES_IN_A_ROW_MAX = 100
"""Maximum frames handled in a row before other tasks of the event loop run."""

SESSION_TOPICS = (
    i.TOPIC_MESSAGE_APPEND,
    i.TOPIC_LLM_START,
    i.TOPIC_LLM_TOKEN,
    i.TOPIC_LLM_END,
    i.TOPIC_TOOL_START,
    i.TOPIC_TOOL_END,
    i.TOPIC_SESSION_UPDATE,
    i.TOPIC_SESSION_DELETED,
    i.TOPIC_APPEND,
)


class SessionWatch:
    """The progress of a watch: it has yielded all facts up to `seq`, and the open draft up to `position` (`draft`
    None: it is not known which draft is open)."""

    def __init__(self, remote: Remote, session_id: str, *, after: str = "", silence_s: float = SILENCE_S) -> None:
        """`silence_s` is how long it may be silent before the state is read, in seconds. Raises `CursorInvalid`."""
        self._silence_s = silence_s
        self.session_id = canonical_id(session_id)
        self._instance_id = self._project_id = ""
        self._heads: list[bytes] = []
        self.is_closed = False
        self.seq, self.position = parse_cursor(after) if after else (0, 0)
        self.draft: int | None = None
        self._remote = remote
        self._after = after
        self._reads_all = bool(after) and (self.seq, self.position) == (0, 0)
        self._is_known = False
        self._is_caught_up = False
        self._blocking: zmq.Socket[bytes] | None = None
        self._frames_in_a_row = 0

    def subscribe(self, sub: zmq.asyncio.Socket, instance_id: str, project_id: str) -> None:
        """Subscribe to this instance's events of the session, instead of another instance's."""
        for head in self._heads:
            sub.setsockopt(zmq.UNSUBSCRIBE, head)
        self._instance_id, self._project_id = instance_id, project_id
        self._heads = [i.frame_head(topic, instance_id, project_id, self.session_id) for topic in SESSION_TOPICS]
        for head in self._heads:
            sub.setsockopt(zmq.SUBSCRIBE, head)

    async def catch_up(self) -> AsyncGenerator[Event, None]:
        """The events from the cursor to the end of the log."""
        while not self.is_closed:
            try:
                result = await self._remote.read(self.session_id, self._after, reads_all=self._reads_all)
            except TooLarge:
                if self._after:
                    raise
                # the state is too large for one response: read all facts, in pages
                self._after, self._reads_all = "0", True
                continue
            except NotFound:
                if not self._is_known:
                    raise
                if self._project_id and (await self._remote.info()).project_id != self._project_id:
                    raise Unavailable("another project's instance is at this address") from None
                self.is_closed = True  # it existed before, so it was deleted
                yield Bye(reason="deleted")
                return
            self._is_known = True
            for event in events_of(result):
                self._note(event)
                yield event
            self._after = result.cursor
            if result.caught_up:
                self._reads_all = False
                if not self._is_caught_up:
                    self._is_caught_up = True
                    yield CaughtUp(cursor=self._after)
                return

    async def step(self, sub: zmq.asyncio.Socket) -> AsyncGenerator[Event, None]:
        """The events of the next frame, or of the read after a silence."""
        frame = await self._receive(sub)
        envelope = None if frame is None else self._remote.read_frame(frame, i.BriefEnvelope)
        if frame is not None and envelope is None:
            return
        if envelope is not None and envelope.topic == i.TOPIC_INSTANCE_HEARTBEAT:
            if envelope.instance_id == self._instance_id or envelope.project_id != self._project_id:
                return
            self.subscribe(sub, envelope.instance_id, envelope.project_id)
        elif envelope is not None:
            if envelope.session_id != self.session_id:
                return
            delta, is_enough = self.apply(envelope)
            if delta is not None:
                yield delta
            if is_enough:
                return
        async for event in self.catch_up():
            yield event

    async def _receive(self, sub: zmq.asyncio.Socket) -> bytes | None:
        """The next frame; None: silence. A frame that has already arrived needs no timer and no turn of the loop."""
        if self._blocking is None:
            self._blocking = zmq.Socket.shadow(sub.underlying)
        try:
            self._frames_in_a_row += 1
            if self._frames_in_a_row > FRAMES_IN_A_ROW_MAX:
                self._frames_in_a_row = 0
                await asyncio.sleep(0)
            return self._blocking.recv(zmq.DONTWAIT)
        except zmq.Again:
            pass
        try:
            async with asyncio.timeout(self._silence_s):
                return await sub.recv()
        except TimeoutError:
            return None

    def apply(self, envelope: i.BriefEnvelope) -> tuple[Delta | None, bool]:
        """The delta in a frame, if it continues the draft, and whether the frame needs no read of the log."""
        try:
            payload = i.read_payload(envelope)
        except PeerError:
            self._remote.skip_frame()
            return None, False
        seq = getattr(payload, "seq", None)
        if seq is not None and seq <= self.seq:
            return None, True
        if not isinstance(payload, i.LLMTokenPayload) or payload.draft is None or self.draft is None:
            return None, False
        if payload.draft < self.draft:
            return None, True
        delta = _delta_of(payload)
        if delta is None or payload.draft > self.draft:
            return None, False
        if delta.to <= self.position:
            return None, True
        if delta.from_ != self.position:
            return None, False
        cursor = format_cursor(self.seq, delta.to)
        delta = msgspec.structs.replace(delta, cursor=cursor)
        self.position = delta.to
        self._after = cursor
        return delta, True

    def _note(self, event: Event) -> None:
        if isinstance(event, FactEvent):
            self.draft = event.draft
        elif isinstance(event, Resync):
            self.draft = event.open_draft.draft
            self._is_caught_up = False
        elif isinstance(event, Delta):
            self.draft = event.draft
        if event.cursor:
            self.seq, self.position = parse_cursor(event.cursor)


def events_of(result: i.ReadResult) -> list[Event]:
    """Raises `PeerError`."""
    events = []
    for raw in result.events or ():
        shown = dict(raw)
        cursor = shown.pop("cursor", "")
        events.append(decode_event(msgspec.json.encode(shown), cursor=cursor))
    return events


def _delta_of(payload: i.LLMTokenPayload) -> Delta | None:
    if payload.from_ is None or payload.to is None or payload.draft is None:
        return None
    part: DeltaPart = payload.part if payload.part is not None else Text(payload.token)
    return Delta(draft=payload.draft, from_=payload.from_, to=payload.to, part_index=payload.part_index, part=part)
