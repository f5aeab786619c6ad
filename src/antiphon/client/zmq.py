"""`RemoteInstance`: observe and control an instance over ZeroMQ, by the instance protocol.

The events' socket may drop frames; `watch` and `follow` read the missing events from the log. A server with only the
reference protocol has no log: what it drops is lost, and the events say so (`may_have_gaps`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar

import zmq
import zmq.asyncio

from antiphon.client.errors import MethodMissing
from antiphon.client.plain_watch import TOPICS, PlainWatch
from antiphon.client.zmq_calls import MESSAGE_BYTES_MAX, Calls, Sockets, invalid_endpoint
from antiphon.client.zmq_watch import SILENCE_S, SessionWatch
from antiphon.core.events import Bye, Event
from antiphon.core.view import View
from antiphon.errors import InstanceMissing, PeerError, TooMany, Unavailable
from antiphon.local.keys import Keys
from antiphon.wire import instance as i

TIMEOUT_S = 10.0
"""How long a call waits for its response, in seconds."""
QUEUED_FRAMES_MAX = 100_000
"""Maximum number of event frames queued in this process."""

R = TypeVar("R")


class RemoteInstance:
    """An instance at two endpoints, over ZeroMQ. Use it as an asynchronous context manager.

    No call is retried. Besides the errors of each method, a call raises

    - the class of `antiphon.errors` that the error's code names, if the instance refuses the call;
    - `InstanceMissing`, if the call could not be sent within `timeout_s`;
    - `client.errors.AnswerLost`, if it was sent and no response arrived: its outcome is unknown;
    - `Forbidden`, if the instance requires other keys;
    - `client.errors.MethodMissing`, if the instance does not have the method.
    """

    def __init__(
        self,
        pub_endpoint: str,
        rpc_endpoint: str,
        *,
        timeout_s: float = TIMEOUT_S,
        keys: Keys | None = None,
        server_key: str = "",
        silence_s: float = SILENCE_S,
        queued_frames_max: int = QUEUED_FRAMES_MAX,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        """Connects on first use.

        Args:
            pub_endpoint: the address where the instance publishes events, as in its announcement or `instance.json`.
            rpc_endpoint: the address where it accepts calls.
            timeout_s: how long a call waits for its response, in seconds.
            keys: this side's keys (`antiphon.local.keys.read_keys`), if the instance requires keys.
            server_key: the instance's public key, if it requires keys.
            silence_s: how long a followed session may be silent before its state is read, in seconds.
            queued_frames_max: maximum number of event frames queued in this process.
            message_bytes_max: maximum size of a reply or an event frame, in bytes; a peer that sends a larger one is
                disconnected.

        Raises:
            InstanceMissing: `rpc_endpoint` is not a valid address.
        """
        self._pub_endpoint = pub_endpoint
        self._silence_s, self._queued_frames_max = silence_s, queued_frames_max
        self._is_closed = False
        self._skipped_frames = 0
        self._sockets = Sockets(keys, server_key, message_bytes_max=message_bytes_max)
        try:
            self._calls = Calls(self._sockets, rpc_endpoint, timeout_s=timeout_s)
        except InstanceMissing:
            self._sockets.close()
            raise

    @property
    def skipped_frames(self) -> int:
        """Number of event frames and responses that could not be decoded."""
        return self._skipped_frames + self._calls.skipped

    def skip_frame(self) -> None:
        """Count a frame that could not be decoded."""
        self._skipped_frames += 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the sockets. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._calls.aclose()
        self._sockets.close()  # also those of an unfinished `events` or `follow`

    # --- calls

    async def call(self, method: str, params: Any = None, kind: type[R] | Any = Any) -> R:
        """Call any method of the protocol.

        Args:
            method: the name of the method.
            params: its parameters, at most 9 MiB as JSON.
            kind: the type of the result; default: plain JSON.

        Returns:
            The result, decoded as `kind`.

        Raises:
            TooLarge: the request is too large.
            Unavailable: this object is closed; see the class for the other errors.
        """
        if self._is_closed:
            raise Unavailable("it was closed")
        result: R = await self._calls.call(method, params, kind)
        return result

    async def ping(self) -> i.PingResult:
        """Check that the instance responds."""
        return await self.call(i.METHOD_INSTANCE_PING, kind=i.PingResult)

    async def info(self) -> i.InstanceInfo:
        """The result of `instance.info`."""
        return await self.call(i.METHOD_INSTANCE_INFO, kind=i.InstanceInfo)

    async def about(self) -> i.InstanceInfo:
        """The identity of any instance: from `instance.info`, or from other calls if the instance does not have it.
        Unknown fields are empty."""
        try:
            info = await self.info()
        except PeerError:
            info = i.InstanceInfo()
        if info.instance_id:
            return info
        ping, state = await self.ping(), await self.state_sync()
        return i.InstanceInfo(
            instance_id=ping.instance_id,
            uptime=ping.uptime,
            active_session_id=state.active_session_id,
            session_count=len(state.sessions or ()),
        )

    async def state_sync(self, project_id: str = "") -> i.StateSyncResult:
        """The sessions, the active session and the open tool calls. Raises `NotFound` if the instance belongs to
        another project than `project_id`. On an instance without this method: only the sessions."""
        try:
            return await self.call(i.METHOD_STATE_SYNC, i.StateSyncParams(project_id=project_id), i.StateSyncResult)
        except MethodMissing:
            if project_id:
                raise
        ping = await self.ping()
        return i.StateSyncResult(sessions=await self.sessions(), instance_id=ping.instance_id)

    async def sessions(self) -> tuple[i.SessionPayload, ...]:
        """The newest sessions, newest first."""
        return await self.call(i.METHOD_SESSION_LIST, kind=tuple[i.SessionPayload, ...] | None) or ()

    async def session(self, session_id: str) -> i.SessionPayload:
        """One session. Raises `NotFound`."""
        return await self.call(i.METHOD_SESSION_GET, i.SessionGetParams(session_id=session_id), i.SessionPayload)

    async def activate(self, session_id: str) -> None:
        """Make a session the active one. Raises `NotFound`."""
        await self.call(i.METHOD_SESSION_ACTIVATE, i.SessionActivateParams(session_id=session_id), i.OKResult)

    async def send(self, session_id: str, content: str) -> None:
        """Send a message. It is durable when this returns; a busy session queues it."""
        params = i.MessageSendParams(session_id=session_id, content=content)
        await self.call(i.METHOD_MESSAGE_SEND, params, i.OKResult)

    async def interrupt(self, session_id: str) -> None:
        """Interrupt the turn that is current when the instance handles the call."""
        params = i.SessionInterruptParams(session_id=session_id)
        await self.call(i.METHOD_SESSION_INTERRUPT, params, i.OKResult)

    async def messages(self, session_id: str) -> tuple[i.MessagePayload, ...]:
        """The visible user and assistant messages, as text, oldest first."""
        params = i.MessageListParams(session_id=session_id)
        return await self.call(i.METHOD_MESSAGE_LIST, params, tuple[i.MessagePayload, ...] | None) or ()

    async def create_session(self, content: str = "", *, id: str = "", title: str = "") -> i.SessionPayload:  # noqa: A002 - the wire's own word
        """Create a session; with `content` its first turn starts. The same `id` (a UUID) creates it once."""
        params = i.SessionCreateParams(id=id, content=content or None, title=title)
        return await self.call(i.METHOD_SESSION_CREATE, params, i.SessionPayload)

    async def request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None
    ) -> i.RequestResult:
        """The HTTP API's response to a request of the admin. Streams, and the web UI's sessions, are not available.

        Args:
            method: the HTTP method.
            path: the path, such as `/api/v1/chats`.
            query: the query parameters.
            body: the JSON body, as plain JSON or `msgspec.Raw`.

        Returns:
            The status and the JSON body; a refusal is a result with its status, not an exception.
        """
        params = i.RequestParams(method=method, path=path, query=query or None, body=body)
        return await self.call(i.METHOD_REQUEST, params, i.RequestResult)

    async def read(
        self, session_id: str, after: str = "", limit: int | None = None, *, reads_all: bool = False
    ) -> i.ReadResult:
        """Read the events after a cursor.

        Args:
            session_id: the session.
            after: the cursor; "": read the whole state.
            limit: maximum number of events; default: the instance's.
            reads_all: return every fact; otherwise an old cursor may give the whole state.

        Returns:
            The events, the cursor to continue from, and whether the end of the log is reached.

        Raises:
            NotFound: there is no such session.
            CursorInvalid: the cursor is not the session's.
            TooLarge: the state is too large for one response; read all facts instead.
        """
        params = i.ReadParams(session_id=session_id, after=after, limit=limit, reads_all=reads_all)
        return await self.call(i.METHOD_READ, params, i.ReadResult)

    async def command(self, session_id: str, command: str, **fields: Any) -> Any:
        """Send any people's command by its name in snake case. Returns the JSON of the HTTP API's response."""
        return await self.call(i.METHOD_COMMAND, {"session_id": session_id, "command": command, **fields})

    # --- events

    async def events(self, topics: Sequence[str] = ()) -> AsyncGenerator[i.Envelope, None]:
        """The events of these topics (none: all topics). Dropped frames are missing; frames that cannot be decoded
        are skipped and counted in `skipped_frames`."""
        async with self._subscribed([i.topic_prefix(topic) for topic in topics] or [b""]) as sub:
            while True:
                envelope = self.read_frame(await sub.recv(), i.Envelope)
                if envelope is not None:
                    yield envelope

    @contextlib.asynccontextmanager
    async def _subscribed(self, prefixes: Sequence[bytes]) -> AsyncIterator[zmq.asyncio.Socket]:
        sub = self._sockets.open(zmq.SUB)
        sub.setsockopt(zmq.RCVHWM, self._queued_frames_max)
        sub.setsockopt(zmq.SNDHWM, 0)  # the default would lose subscriptions beyond 1,000 at a reconnect
        for prefix in prefixes:
            sub.setsockopt(zmq.SUBSCRIBE, prefix)  # before connecting, so that no event is missed in between
        try:
            try:
                sub.connect(self._pub_endpoint)
            except zmq.ZMQError as error:
                raise invalid_endpoint(self._pub_endpoint, error) from error
            yield sub
        finally:
            sub.close(linger=0)

    async def watch(self, session_id: str, *, after: str = "") -> AsyncGenerator[Event, None]:
        """The events of a session, in order, each once, as `AsyncClient.watch` yields them.

        It waits without a limit for an instance that is unavailable, and ends after `Bye(deleted)`. On an instance
        without `antiphon.read` it yields what the instance publishes: the `Resync` has `may_have_gaps`, the events
        have no cursor, and `after` is ignored.

        Args:
            session_id: the session.
            after: the cursor to resume after; "": a `Resync` with the whole state first.

        Raises:
            NotFound: there is no such session.
            CursorInvalid: `after` is not a cursor of the session.
        """
        watch = SessionWatch(self, session_id, after=after, silence_s=self._silence_s)
        info = await self.about()
        if i.METHOD_READ in (info.capabilities or ()):
            steps = self._watch_log(watch, info)
        else:
            steps = self._watch_plain(session_id, info.instance_id)
        async with aclosing(steps) as events:
            async for event in events:
                yield event

    async def _watch_log(
        self, watch: SessionWatch, info: i.InstanceInfo, *, was_followed: bool = False
    ) -> AsyncGenerator[Event, None]:
        async with self._subscribed([i.topic_prefix(i.TOPIC_INSTANCE_HEARTBEAT)]) as sub:
            watch.subscribe(sub, info.instance_id, info.project_id)
            try:
                async for event in watch.catch_up():
                    yield event
            except (Unavailable, TooMany):
                if not was_followed:
                    raise
            while not watch.is_closed:
                try:
                    async for event in watch.step(sub):
                        yield event
                except (Unavailable, TooMany):
                    continue  # retried after the next frame or silence

    async def _watch_plain(self, session_id: str, instance_id: str) -> AsyncGenerator[Event, None]:
        watch = PlainWatch(self, session_id, instance_id)
        async with self._subscribed([i.topic_prefix(topic) for topic in TOPICS]) as sub:
            async for event in watch.begin():
                yield event
            while not watch.is_closed:
                try:
                    async for event in watch.step(sub):
                        yield event
                except (Unavailable, TooMany):
                    continue  # retried by the next check
        if watch.upgraded is not None:
            log = self._watch_log(
                SessionWatch(self, session_id, silence_s=self._silence_s), watch.upgraded, was_followed=True
            )
            async with aclosing(log) as events:
                async for event in events:
                    yield event

    async def follow(self, session_id: str) -> AsyncGenerator[View, None]:
        """The view of a session after every change: the same `View` object each time. It raises and ends as
        `watch`."""
        view = View()
        async with aclosing(self.watch(session_id)) as events:
            async for event in events:
                view.apply(event)
                if view.is_caught_up and not isinstance(event, Bye):
                    yield view

    def read_frame(self, frame: bytes, kind: type[i.E]) -> i.E | None:
        """The event in a frame; None: it cannot be decoded, and was counted in `skipped_frames`."""
        try:
            return i.decode_frame(frame, kind)
        except PeerError:
            self.skip_frame()
            return None
