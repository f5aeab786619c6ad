"""`RemoteInstance`: observe and control an instance over ZeroMQ, in the instance protocol.

The events' socket may drop frames; `follow` shows what the log says all the same: whatever it misses it asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import msgspec
import zmq
import zmq.asyncio

from antiphon.client.errors import AnswerLost, error_of_detail
from antiphon.core.events import Delta, Event
from antiphon.core.parts import DeltaPart, Text
from antiphon.core.view import View
from antiphon.errors import PeerError, TooLarge, Unavailable
from antiphon.wire import codec, jsonrpc
from antiphon.wire import instance as i
from antiphon.wire.stream import decode_event

TIMEOUT_S = 10.0
SILENCE_S = 2.0
"""A follower that hears nothing for so long asks."""
QUEUED_FRAMES_MAX = 100_000
GAPS_MAX = 3

SESSION_TOPICS = (
    i.TOPIC_MESSAGE_APPEND,
    i.TOPIC_LLM_START,
    i.TOPIC_LLM_TOKEN,
    i.TOPIC_LLM_END,
    i.TOPIC_TOOL_START,
    i.TOPIC_TOOL_END,
    i.TOPIC_SESSION_UPDATE,
    i.TOPIC_SESSION_DELETED,
)

R = TypeVar("R")


class RemoteInstance:
    """The instance at these endpoints (an announcement, the lock file or `instance.json` names them). Use it as a
    context manager.

    A refused call raises the class of `antiphon.errors` that its code names; `client.errors.AnswerLost` means that
    nobody answered within `timeout_s`: what became of the call is not known. Nothing is asked twice by itself.
    """

    def __init__(self, pub_endpoint: str, rpc_endpoint: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._pub_endpoint = pub_endpoint
        self._timeout_s = timeout_s
        self._context = zmq.asyncio.Context()
        self._rpc = self._context.socket(zmq.DEALER)
        self._rpc.setsockopt(zmq.LINGER, 0)
        self._rpc.connect(rpc_endpoint)
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[jsonrpc.Answer]] = {}
        self._receiving: asyncio.Task[None] | None = None
        self.skipped_frames = 0
        """So many event frames could not be read."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the sockets; a second time nothing happens."""
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait({self._receiving})
            self._receiving = None
        self._context.destroy(linger=0)  # also what an unfinished `events` or `follow` holds

    # --- calls

    async def call(self, method: str, params: Any = None, kind: type[R] | Any = Any) -> R:
        """Any method of the protocol; the result as `kind`."""
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._receive_forever())
        call_id = next(self._ids)
        answered: asyncio.Future[jsonrpc.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = answered
        try:
            async with asyncio.timeout(self._timeout_s):
                request = jsonrpc.encode_request(method, params if params is not None else {}, call_id)
                await self._rpc.send_multipart([b"", request])
                answer = await answered
        except TimeoutError as error:
            raise AnswerLost("no answer came in time") from error
        finally:
            del self._waiting[call_id]
        if answer.error_code:
            raise _error_of(answer)
        return cast(R, codec.decode(bytes(answer.result), kind))

    async def _receive_forever(self) -> None:
        while True:
            frames = await self._rpc.recv_multipart()
            try:
                answer = jsonrpc.decode_answer(frames[-1])
            except PeerError:
                self.skipped_frames += 1
                continue
            future = self._waiting.get(answer.id) if isinstance(answer.id, int) else None
            if future is not None and not future.done():
                future.set_result(answer)

    async def ping(self) -> i.PingResult:
        return await self.call(i.METHOD_INSTANCE_PING, kind=i.PingResult)

    async def info(self) -> i.InstanceInfo:
        return await self.call(i.METHOD_INSTANCE_INFO, kind=i.InstanceInfo)

    async def state_sync(self, project_id: str = "") -> i.StateSyncResult:
        """Everything at once. Raises `NotFound` where `project_id` is another project's."""
        return await self.call(i.METHOD_STATE_SYNC, i.StateSyncParams(project_id=project_id), i.StateSyncResult)

    async def sessions(self) -> tuple[i.SessionPayload, ...]:
        return await self.call(i.METHOD_SESSION_LIST, kind=tuple[i.SessionPayload, ...])

    async def session(self, session_id: str) -> i.SessionPayload:
        return await self.call(i.METHOD_SESSION_GET, i.SessionGetParams(session_id=session_id), i.SessionPayload)

    async def activate(self, session_id: str) -> None:
        await self.call(i.METHOD_SESSION_ACTIVATE, i.SessionActivateParams(session_id=session_id), i.OKResult)

    async def send(self, session_id: str, content: str) -> None:
        """Durable when this returns; a busy session queues it."""
        params = i.MessageSendParams(session_id=session_id, content=content)
        await self.call(i.METHOD_MESSAGE_SEND, params, i.OKResult)

    async def interrupt(self, session_id: str) -> None:
        """Stop the turn that is current when this is first looked at."""
        params = i.SessionInterruptParams(session_id=session_id)
        await self.call(i.METHOD_SESSION_INTERRUPT, params, i.OKResult)

    async def messages(self, session_id: str) -> tuple[i.MessagePayload, ...]:
        params = i.MessageListParams(session_id=session_id)
        return await self.call(i.METHOD_MESSAGE_LIST, params, tuple[i.MessagePayload, ...])

    async def create_session(self, content: str = "", *, id: str = "", title: str = "") -> i.SessionPayload:  # noqa: A002 - the wire's own word
        params = i.SessionCreateParams(id=id, content=content or None, title=title)
        return await self.call(i.METHOD_SESSION_CREATE, params, i.SessionPayload)

    async def read(self, session_id: str, after: str = "", limit: int | None = None) -> i.ReadResult:
        """The events after a cursor, as far as there are any now (no cursor: the state)."""
        return await self.call(
            i.METHOD_READ, i.ReadParams(session_id=session_id, after=after, limit=limit), i.ReadResult
        )

    async def command(self, session_id: str, command: str, **fields: Any) -> Any:
        """Any people's command by its name in snake case, answered as over HTTP."""
        return await self.call(i.METHOD_COMMAND, {"session_id": session_id, "command": command, **fields})

    # --- events

    async def events(self, topics: Sequence[str] = ()) -> AsyncGenerator[i.Envelope, None]:
        """Every event of these topics (none: all) that gets through; what cannot be read is skipped and counted."""
        async with self._subscribed([i.topic_prefix(topic) for topic in topics] or [b""]) as sub:
            while True:
                envelope = self._read_frame(await sub.recv())
                if envelope is not None:
                    yield envelope

    @contextlib.asynccontextmanager
    async def _subscribed(self, prefixes: Sequence[bytes]) -> AsyncIterator[zmq.asyncio.Socket]:
        sub = self._context.socket(zmq.SUB)
        sub.setsockopt(zmq.RCVHWM, QUEUED_FRAMES_MAX)
        for prefix in prefixes:
            sub.setsockopt(zmq.SUBSCRIBE, prefix)  # before connecting: what is published meanwhile is not missed
        sub.connect(self._pub_endpoint)
        try:
            yield sub
        finally:
            sub.close(linger=0)

    def _read_frame(self, frame: bytes) -> i.Envelope | None:
        try:
            return i.decode_frame(frame)
        except PeerError:
            self.skipped_frames += 1
            return None

    async def follow(self, session_id: str) -> AsyncGenerator[View, None]:
        """What a session shows, after every change: the same `View` each time, always what the log says. It goes on
        across an instance that is away for as long as it takes; it ends when the session is deleted."""
        info = await self.info()
        follower = Follower(self, session_id)
        follower.instances.add(info.instance_id)
        async with self._subscribed([i.topic_prefix(i.TOPIC_INSTANCE_HEARTBEAT)]) as sub:
            _subscribe_session(sub, info.instance_id, info.project_id, session_id)
            await follower.catch_up()
            yield follower.view
            while not follower.view.is_deleted:
                before = follower.view.cursor
                await self._step(sub, follower)
                if follower.view.cursor != before or follower.view.is_deleted:
                    yield follower.view

    async def _step(self, sub: zmq.asyncio.Socket, follower: Follower) -> None:
        """Take one frame, or ask after a silence; what is not answered is asked again after the next one."""
        if not await self._is_told_all(sub, follower):
            with contextlib.suppress(Unavailable):
                await follower.catch_up()

    async def _is_told_all(self, sub: zmq.asyncio.Socket, follower: Follower) -> bool:
        """Whether the next frame says all there is to know; silence does not."""
        try:
            async with asyncio.timeout(SILENCE_S):
                frame = await sub.recv()
        except TimeoutError:
            return False
        envelope = self._read_frame(frame)
        if envelope is None:
            return True
        if envelope.topic == i.TOPIC_INSTANCE_HEARTBEAT:
            if envelope.instance_id in follower.instances:
                return True
            follower.instances.add(envelope.instance_id)
            _subscribe_session(sub, envelope.instance_id, envelope.project_id, follower.session_id)
            return False
        try:
            return envelope.session_id != follower.session_id or follower.take(envelope)
        except PeerError:
            self.skipped_frames += 1
            return False


class Follower:
    """A view of one session that is kept up by frames where they fit, and by asking where they do not."""

    def __init__(self, remote: RemoteInstance, session_id: str) -> None:
        self.session_id = session_id
        self.view = View()
        self.instances: set[str] = set()
        self._remote = remote
        self._start = ""

    def take(self, envelope: i.Envelope) -> bool:
        """Apply an event. False: there is more to be known than it says, ask."""
        payload = i.read_payload(envelope)
        seq = getattr(payload, "seq", None)
        if seq is not None and seq <= self.view.seq:
            return True
        if not isinstance(payload, i.LLMTokenPayload) or payload.draft is None:
            return False
        if payload.draft < self.view.draft.name:
            return True
        delta = _delta_of(payload)
        if delta is None or payload.draft > self.view.draft.name or delta.from_ > self.view.draft.position:
            return False
        self.view.apply(delta)
        return True

    async def catch_up(self) -> None:
        """Read on from where the view stands to where the log is now."""
        gaps = 0
        while True:
            try:
                result = await self._remote.read(self.session_id, self.view.cursor if self.view.seq else self._start)
            except TooLarge:
                if self.view.seq or self._start:
                    raise
                self._start = "0"  # the state is too large for one answer: from the beginning, then, in pages
                continue
            try:
                for event in _events_of(result):
                    self.view.apply(event)
            except PeerError:
                gaps += 1
                if gaps > GAPS_MAX:
                    raise
                self.view = View()
                continue
            if result.caught_up:
                return


def _subscribe_session(sub: zmq.asyncio.Socket, instance_id: str, project_id: str, session_id: str) -> None:
    for topic in SESSION_TOPICS:
        sub.setsockopt(zmq.SUBSCRIBE, i.frame_head(topic, instance_id, project_id, session_id))


def _delta_of(payload: i.LLMTokenPayload) -> Delta | None:
    if payload.from_ is None or payload.to is None or payload.draft is None:
        return None
    part: DeltaPart = payload.part if payload.part is not None else Text(payload.token)
    return Delta(draft=payload.draft, from_=payload.from_, to=payload.to, part_index=payload.part_index, part=part)


def _events_of(result: i.ReadResult) -> list[Event]:
    events = []
    for raw in result.events or ():
        shown = dict(raw)
        cursor = shown.pop("cursor", "")
        events.append(decode_event(msgspec.json.encode(shown), cursor=cursor))
    return events


def _error_of(answer: jsonrpc.Answer) -> Exception:
    if "code" in answer.error_data:
        return error_of_detail({"message": answer.error_message, **answer.error_data})
    return PeerError(f"the instance refused the call: {answer.error_message} ({answer.error_code})")
