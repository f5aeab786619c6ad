"""`RemoteInstance`: observe and control an instance over ZeroMQ, in the instance protocol.

The events' socket may drop frames; `follow` shows what the log says all the same: whatever it misses it asks for. A
server that knows the reference protocol only has no log to ask for; it is followed as far as it goes, and marked so.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from antiphon.client.errors import AnswerLost, MethodMissing, error_of_detail
from antiphon.client.plain_watch import TOPICS, PlainWatch
from antiphon.client.zmq_watch import SessionWatch
from antiphon.core.events import Bye, Event
from antiphon.core.view import View
from antiphon.errors import Forbidden, InstanceMissing, PeerError, TooLarge, TooMany, Unavailable
from antiphon.local.keys import Keys
from antiphon.wire import codec, jsonrpc
from antiphon.wire import instance as i

TIMEOUT_S = 10.0
LOOK_MS = 100
QUEUED_FRAMES_MAX = 100_000
MESSAGE_BYTES_MAX = 32 * 1024 * 1024
"""Maximum size of a reply (16 MiB) or an event frame; a peer that sends a larger one is disconnected."""
REFUSAL_CHARACTERS_MAX = 500
"""Maximum length of a peer's own words in an error."""
_TOLD = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
"""What is heard of the calls' connection."""

R = TypeVar("R")


class RemoteInstance:
    """The instance at these endpoints (an announcement, the lock file or `instance.json` names them). Use it as a
    context manager.

    A refused call raises the class of `antiphon.errors` that its code names; `InstanceMissing` means that it could
    not be asked within `timeout_s`, `client.errors.AnswerLost` that it was asked and not answered: what became of it
    is not known. Nothing is asked twice by itself.
    """

    def __init__(
        self,
        pub_endpoint: str,
        rpc_endpoint: str,
        *,
        timeout_s: float = TIMEOUT_S,
        keys: Keys | None = None,
        server_key: str = "",
    ) -> None:
        """Connects when it is used. `keys` are this side's own (`antiphon.local.keys.read_keys`), `server_key` is the
        instance's public key: both where it asks for keys."""
        self._pub_endpoint, self._rpc_endpoint = pub_endpoint, rpc_endpoint
        self._is_refused = self._is_closed = False
        self._has_asked = asyncio.Event()
        self._timeout_s = timeout_s
        self._keys, self._server_key = keys, server_key
        self._context = zmq.asyncio.Context()
        try:
            self._rpc = self._socket(zmq.DEALER)
            self._rpc.setsockopt(zmq.IMMEDIATE, 1)  # a call is not kept for an instance that comes later
            self._rpc.connect(rpc_endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise _nowhere(rpc_endpoint, error) from error
        self._monitor = self._rpc.get_monitor_socket(_TOLD)
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[jsonrpc.Answer]] = {}
        self._tasks: list[asyncio.Task[None]] = []
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
        if self._is_closed:
            return
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        self._rpc.disable_monitor()
        self._context.destroy(linger=0)  # also what an unfinished `events` or `follow` holds

    # --- calls

    async def call(self, method: str, params: Any = None, kind: type[R] | Any = Any) -> R:
        """Any method of the protocol; the result as `kind`. Raises what the instance refused it with,
        `InstanceMissing` where there is none to ask, `Forbidden` where the keys do not fit, `AnswerLost`."""
        if self._is_closed:
            raise Unavailable("it was closed")
        call_id = str(next(self._ids))  # the reference's servers take nothing but strings
        request = jsonrpc.encode_request(method, params if params is not None else {}, call_id)
        if len(request) > i.CALL_BYTES_MAX:
            raise TooLarge("request (in bytes)", i.CALL_BYTES_MAX)
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._receive_forever()),
                asyncio.create_task(self._watch_connection()),
            ]
        answered: asyncio.Future[jsonrpc.Answer] = asyncio.get_running_loop().create_future()
        is_sent = False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._rpc.send_multipart([b"", request])
                is_sent = True
                self._waiting[call_id] = answered  # from now on a connection that breaks has lost it
                self._has_asked.set()
                answer = await answered
        except TimeoutError as error:
            if self._is_refused:
                what = "asks for keys" if self._keys is None else "does not let these keys in"
                raise Forbidden(f"the instance {what}") from error
            if not is_sent:
                raise InstanceMissing(f"no instance answers at {self._rpc_endpoint}") from error
            raise AnswerLost("no answer came in time") from error
        finally:
            self._waiting.pop(call_id, None)
            answered.cancel()
        if answer.error_code:
            raise _error_of(method, answer)
        return cast(R, codec.decode(bytes(answer.result), kind))

    async def _watch_connection(self) -> None:
        """What was asked on a connection that is lost is not answered any more; nobody needs to wait for it."""
        while True:
            told = parse_monitor_message(await self._monitor.recv_multipart())
            if told["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._is_refused = False
            elif told["event"] in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                self._is_refused = True
            elif told["event"] == zmq.EVENT_DISCONNECTED:
                for answered in self._waiting.values():
                    if not answered.done():
                        answered.set_exception(AnswerLost())

    async def _receive_forever(self) -> None:
        """While answers are waited for the socket is looked at, signalled or not: under uvloop the signal of a
        descriptor whose number another socket had before is lost once in some thousand times."""
        while True:
            if not self._waiting:
                self._has_asked.clear()
                await self._has_asked.wait()
            try:
                await self._rpc.poll(LOOK_MS)
                frames = await self._rpc.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                continue
            try:
                answer = jsonrpc.decode_answer(frames[-1])
            except PeerError:
                self.skipped_frames += 1
                continue
            self._hand_over(answer)

    def _hand_over(self, answer: jsonrpc.Answer) -> None:
        """Give an answer to its call. An error without an id means a request that the instance could not read: the
        oldest one ends with it."""
        future = self._waiting.get(answer.id) if isinstance(answer.id, str) else None
        if future is None and not answer.id and answer.error_code:
            future = next((waiting for waiting in self._waiting.values() if not waiting.done()), None)
        if future is not None and not future.done():
            future.set_result(answer)

    async def ping(self) -> i.PingResult:
        return await self.call(i.METHOD_INSTANCE_PING, kind=i.PingResult)

    async def info(self) -> i.InstanceInfo:
        return await self.call(i.METHOD_INSTANCE_INFO, kind=i.InstanceInfo)

    async def about(self) -> i.InstanceInfo:
        """What the instance says of itself, whatever it is: from `instance.info` where it has one that can be read,
        else from what it answers to other calls; what it does not say is empty."""
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
        """Everything at once. Raises `NotFound` where `project_id` is another project's. Of an instance without this
        method the sessions, and no active one."""
        try:
            return await self.call(i.METHOD_STATE_SYNC, i.StateSyncParams(project_id=project_id), i.StateSyncResult)
        except MethodMissing:
            if project_id:
                raise
        ping = await self.ping()
        return i.StateSyncResult(sessions=await self.sessions(), instance_id=ping.instance_id)

    async def sessions(self) -> tuple[i.SessionPayload, ...]:
        return await self.call(i.METHOD_SESSION_LIST, kind=tuple[i.SessionPayload, ...] | None) or ()

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
        return await self.call(i.METHOD_MESSAGE_LIST, params, tuple[i.MessagePayload, ...] | None) or ()

    async def create_session(self, content: str = "", *, id: str = "", title: str = "") -> i.SessionPayload:  # noqa: A002 - the wire's own word
        params = i.SessionCreateParams(id=id, content=content or None, title=title)
        return await self.call(i.METHOD_SESSION_CREATE, params, i.SessionPayload)

    async def request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None
    ) -> i.RequestResult:
        """What the HTTP door answers the admin; streams and sessions of the page excepted. `body` is JSON."""
        params = i.RequestParams(method=method, path=path, query=query or None, body=body)
        return await self.call(i.METHOD_REQUEST, params, i.RequestResult)

    async def read(
        self, session_id: str, after: str = "", limit: int | None = None, *, reads_all: bool = False
    ) -> i.ReadResult:
        """The events after a cursor, as far as there are any now (no cursor: the state). Of a cursor that is far
        behind it may be the state, too, unless it `reads_all`."""
        params = i.ReadParams(session_id=session_id, after=after, limit=limit, reads_all=reads_all)
        return await self.call(i.METHOD_READ, params, i.ReadResult)

    async def command(self, session_id: str, command: str, **fields: Any) -> Any:
        """Any people's command by its name in snake case, answered as over HTTP."""
        return await self.call(i.METHOD_COMMAND, {"session_id": session_id, "command": command, **fields})

    # --- events

    async def events(self, topics: Sequence[str] = ()) -> AsyncGenerator[i.Envelope, None]:
        """Every event of these topics (none: all) that gets through; what cannot be read is skipped and counted."""
        async with self._subscribed([i.topic_prefix(topic) for topic in topics] or [b""]) as sub:
            while True:
                envelope = self.read_frame(await sub.recv(), i.Envelope)
                if envelope is not None:
                    yield envelope

    def _socket(self, kind: int) -> zmq.asyncio.Socket:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        if self._keys is not None:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret.encode())
            socket.setsockopt(zmq.CURVE_SERVERKEY, self._server_key.encode())
        return socket

    @contextlib.asynccontextmanager
    async def _subscribed(self, prefixes: Sequence[bytes]) -> AsyncIterator[zmq.asyncio.Socket]:
        sub = self._socket(zmq.SUB)
        sub.setsockopt(zmq.RCVHWM, QUEUED_FRAMES_MAX)
        sub.setsockopt(zmq.SNDHWM, 0)  # of more than 1,000 subscriptions none is lost at a reconnect
        for prefix in prefixes:
            sub.setsockopt(zmq.SUBSCRIBE, prefix)  # before connecting: what is published meanwhile is not missed
        try:
            try:
                sub.connect(self._pub_endpoint)
            except zmq.ZMQError as error:
                raise _nowhere(self._pub_endpoint, error) from error
            yield sub
        finally:
            sub.close(linger=0)

    async def watch(self, session_id: str, *, after: str = "") -> AsyncGenerator[Event, None]:
        """Every event of a session, in order, none twice, each with the cursor to resume from, as the HTTP client's
        `watch` gives them: a `Resync` first, or what comes after the cursor `after`. It goes on across an instance
        that is away for as long as it takes; it ends after `Bye(deleted)`. Raises `NotFound`, `CursorInvalid`.

        An instance without `antiphon.read` is followed by what it publishes: its `Resync` says `may_have_gaps`, its
        events have no cursor, and `after` means nothing to it."""
        watch = SessionWatch(self, session_id, after=after)
        info = await self.about()
        if i.METHOD_READ in (info.capabilities or ()):
            steps = self._watch_log(watch, info)
        else:
            steps = self._watch_plainly(session_id, info.instance_id)
        async with aclosing(steps) as events:
            async for event in events:
                yield event

    async def _watch_log(
        self, watch: SessionWatch, info: i.InstanceInfo, *, was_followed: bool = False
    ) -> AsyncGenerator[Event, None]:
        async with self._subscribed([i.topic_prefix(i.TOPIC_INSTANCE_HEARTBEAT)]) as sub:
            watch.hear(sub, info.instance_id, info.project_id)
            try:
                async for event in watch.catch_up():
                    yield event
            except (Unavailable, TooMany):
                if not was_followed:
                    raise
            while not watch.is_over:
                try:
                    async for event in watch.step(sub):
                        yield event
                except (Unavailable, TooMany):
                    continue  # asked again after the next frame or silence

    async def _watch_plainly(self, session_id: str, instance_id: str) -> AsyncGenerator[Event, None]:
        watch = PlainWatch(self, session_id, instance_id)
        async with self._subscribed([i.topic_prefix(topic) for topic in TOPICS]) as sub:
            async for event in watch.begin():
                yield event
            while not watch.is_over:
                try:
                    async for event in watch.step(sub):
                        yield event
                except (Unavailable, TooMany):
                    continue  # repeated by the next check
        if watch.upgraded is not None:
            log = self._watch_log(SessionWatch(self, session_id), watch.upgraded, was_followed=True)
            async with aclosing(log) as events:
                async for event in events:
                    yield event

    async def follow(self, session_id: str) -> AsyncGenerator[View, None]:
        """What a session shows, after every change: the same `View` each time, always what the log says. It goes on
        and ends as `watch` does."""
        view = View()
        async with aclosing(self.watch(session_id)) as events:
            async for event in events:
                view.apply(event)
                if view.is_caught_up and not isinstance(event, Bye):
                    yield view

    def read_frame(self, frame: bytes, kind: type[i.E]) -> i.E | None:
        """The event in a frame; one that cannot be read is skipped and counted."""
        try:
            return i.decode_frame(frame, kind)
        except PeerError:
            self.skipped_frames += 1
            return None


def _nowhere(endpoint: str, error: zmq.ZMQError) -> InstanceMissing:
    return InstanceMissing(f"{endpoint or 'an empty endpoint'} leads nowhere ({error.strerror})")


def _error_of(method: str, answer: jsonrpc.Answer) -> Exception:
    if isinstance(answer.error_data.get("code"), str):
        return error_of_detail({"message": answer.error_message, **answer.error_data})
    words = answer.error_message[:REFUSAL_CHARACTERS_MAX]
    if answer.error_code == jsonrpc.METHOD_NOT_FOUND:
        return MethodMissing(method, words)
    return PeerError(f"the instance refused the call: {words} ({answer.error_code})")
