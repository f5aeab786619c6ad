"""The calls of the instance protocol: a message in, the answer out (None for notifications alone)."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from antiphon.api.http.app import HttpApp
from antiphon.api.http.table import API
from antiphon.api.zmq.commands import request_of
from antiphon.api.zmq.publisher import Publisher
from antiphon.chats.chat_fields import ZMQ
from antiphon.chats.owned import PAGE_MAX, OwnedChats
from antiphon.core.facts import MessageAppended
from antiphon.core.parts import Role
from antiphon.errors import AntiphonError, CursorInvalid, Invalid, NotFound, PeerError, TooLarge
from antiphon.instance import Instance
from antiphon.observe.metrics import METRICS
from antiphon.ports import Listed
from antiphon.tracebacks import traceback_of
from antiphon.version import __version__
from antiphon.wire import instance as i
from antiphon.wire import jsonrpc
from antiphon.wire.codec import convert, decode_content, encode
from antiphon.wire.cursor import parse_cursor
from antiphon.wire.gotime import Time
from antiphon.wire.ids import canonical_id
from antiphon.wire.instance_events import text_content
from antiphon.wire.stream import open_calls_json

ANSWER_BYTES_MAX = 16 * 1024 * 1024
LIST_BYTES_MAX = ANSWER_BYTES_MAX - 1024
OPEN_CALLS_BYTES_MAX = 4 * 1024 * 1024
READ_BYTES_MAX = 8 * 1024 * 1024
READ_EVENTS_MAX = 1_000
METHOD_NOT_FOUND = "ipc: method not found"

log = structlog.get_logger(__name__)

Handler = Callable[[Any], Awaitable[Any]]


class ProjectMismatch(NotFound):
    """Another project's instance was meant."""

    def __init__(self) -> None:
        super().__init__("project here")


class Calls:
    """Answers for the admin. `endpoints` are (events, calls)."""

    def __init__(
        self,
        instance: Instance,
        publisher: Publisher,
        http: HttpApp,
        *,
        project_id: str,
        endpoints: tuple[str, str],
    ) -> None:
        self._instance = instance
        self._publisher = publisher
        self._http = http
        self._project_id = project_id
        self._endpoints = endpoints
        self._methods: dict[str, tuple[type[Any] | None, Handler]] = {
            i.METHOD_STATE_SYNC: (i.StateSyncParams, self._state_sync),
            i.METHOD_SESSION_LIST: (None, self._session_list),
            i.METHOD_SESSION_GET: (i.SessionGetParams, self._session_get),
            i.METHOD_SESSION_ACTIVATE: (i.SessionActivateParams, self._session_activate),
            i.METHOD_MESSAGE_SEND: (i.MessageSendParams, self._message_send),
            i.METHOD_SESSION_INTERRUPT: (i.SessionInterruptParams, self._session_interrupt),
            i.METHOD_INSTANCE_PING: (None, self._ping),
            i.METHOD_INSTANCE_INFO: (None, self._info),
            i.METHOD_MESSAGE_LIST: (i.MessageListParams, self._message_list),
            i.METHOD_SESSION_CREATE: (i.SessionCreateParams, self._session_create),
            i.METHOD_READ: (i.ReadParams, self._read),
            i.METHOD_COMMAND: (None, self._command),
            i.METHOD_REQUEST: (i.RequestParams, self._request),
        }

    async def answer(self, message: bytes) -> bytes | None:
        """The answer to a message: to one request, or to a batch as an array."""
        parsed = jsonrpc.parse(message)
        given, size = [], 0
        for item in parsed.items:
            answer = await self._answer_one(item)
            if answer is None:
                continue
            if size + len(answer) > LIST_BYTES_MAX and parsed.is_batch:
                too_large = _refusal(TooLarge("answer to a batch (in bytes)", ANSWER_BYTES_MAX), _id_of(item))
                answer = jsonrpc.encode_refusal(too_large)
            given.append(answer)
            size += len(answer) + 1
        if not given:
            return None
        return jsonrpc.join_batch(given) if parsed.is_batch else given[0]

    async def _answer_one(self, item: jsonrpc.Request | jsonrpc.Refusal) -> bytes | None:
        if isinstance(item, jsonrpc.Refusal):
            METRICS.unexpected.labels("malformed_call").inc()
            return jsonrpc.encode_refusal(item)
        echoed = item.id if item.id is not None else jsonrpc.NULL
        try:
            answer = await self._result(item, echoed)
        except Exception as error:
            answer = jsonrpc.encode_refusal(_refusal(error, echoed))
        return None if item.id is None else answer

    async def _result(self, request: jsonrpc.Request, echoed: msgspec.Raw) -> bytes:
        known = self._methods.get(request.method)
        if known is None:
            METRICS.calls.labels("unknown").inc()
            return jsonrpc.encode_refusal(
                jsonrpc.Refusal(code=jsonrpc.METHOD_NOT_FOUND, message=METHOD_NOT_FOUND, id=echoed)
            )
        METRICS.calls.labels(request.method).inc()
        kind, handler = known
        params = request.params if request.params is not None else {}
        if not isinstance(params, dict):
            raise PeerError("params are given by name, in an object")
        if isinstance(params.get("session_id"), str):
            params = params | {"session_id": canonical_id(params["session_id"])}
        answer = jsonrpc.encode_result(echoed, await handler(convert(params, kind) if kind is not None else params))
        if len(answer) > ANSWER_BYTES_MAX:
            raise TooLarge("answer (in bytes)", ANSWER_BYTES_MAX)
        return answer

    # --- the reference's methods

    @property
    def _chats(self) -> OwnedChats:
        return self._instance.commands_of(self._instance.owner_id, ZMQ)

    async def _state_sync(self, params: i.StateSyncParams) -> Any:
        if params.project_id and params.project_id != self._project_id:
            raise ProjectMismatch
        listed = await self._publisher.listed()
        return i.StateSyncResult(
            sessions=await self._publisher.sessions(listed),
            active_session_id=self._publisher.active_session_id,
            instance_id=self._instance.instance_id,
            antiphon=await self._more(listed),
        )

    async def _more(self, listed: tuple[Listed, ...]) -> i.SyncedMore | None:
        """The open calls of the newest sessions and of the child chats that they wait for, as many as fit; None if
        there are none."""
        children = await self._publisher.running_children(listed)
        found = await self._chats.open_calls_of((*listed, *children), OPEN_CALLS_BYTES_MAX)
        shown = {chat_id: tuple(open_calls_json(calls)) for chat_id, calls in found.items()}
        return i.SyncedMore(open_calls=shown) if shown else None

    async def _session_list(self, params: Any) -> Any:
        return await self._publisher.sessions()

    async def _session_get(self, params: i.SessionGetParams) -> Any:
        return await self._session(params.session_id)

    async def _session(self, session_id: str) -> i.SessionPayload:
        return await self._publisher.payload_of(session_id, await self._chats.get(session_id))

    async def _session_activate(self, params: i.SessionActivateParams) -> Any:
        session = await self._session(params.session_id)
        await self._instance.active_chat.activate(params.session_id)
        self._publisher.publish(i.TOPIC_SESSION_ACTIVATED, session, session_id=params.session_id)
        return i.OKResult(ok=True)

    async def _message_send(self, params: i.MessageSendParams) -> Any:
        await self._chats.send(params.session_id, params.content)
        return i.OKResult(ok=True)

    async def _session_interrupt(self, params: i.SessionInterruptParams) -> Any:
        chat = await self._chats.get(params.session_id)
        if chat.turn_id:
            await self._chats.interrupt(params.session_id, chat.turn_id)
        return i.OKResult(ok=True)

    async def _ping(self, params: Any) -> Any:
        return i.PingResult(status="ok", instance_id=self._instance.instance_id, uptime=self._publisher.uptime())

    async def _info(self, params: Any) -> Any:
        pub, rpc = self._endpoints
        return i.InstanceInfo(
            instance_id=self._instance.instance_id,
            project_id=self._project_id,
            role=self._instance.role,
            version=__version__,
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=Time.from_us(self._instance.started_at),
            uptime=self._publisher.uptime(),
            active_session_id=self._publisher.active_session_id,
            session_count=await self._publisher.session_count(),
            pub_endpoint=pub,
            rpc_endpoint=rpc,
            http_url=self._instance.http_url,
            capabilities=i.CAPABILITIES,
        )

    async def _message_list(self, params: i.MessageListParams) -> Any:
        """The newest that fit, oldest first."""
        messages: list[i.MessagePayload] = []
        size, before = 0, None
        while True:
            page = await self._chats.page(params.session_id, before_id=before, limit=PAGE_MAX)
            for entry in reversed(page.messages):
                fact = entry.fact
                if not isinstance(fact, MessageAppended) or fact.role is Role.TOOL:
                    continue
                content = text_content(decode_content(entry.content or b"[]"))
                at = Time.from_us(entry.recorded.at)
                message = i.MessagePayload(id=str(entry.seq), role=fact.role.value, content=content, created_at=at)
                size += len(encode(message)) + 1
                if size > LIST_BYTES_MAX:
                    return tuple(reversed(messages))
                messages.append(message)
            if not page.has_more:
                return tuple(reversed(messages))
            before = page.messages[0].seq

    # --- ours

    async def _session_create(self, params: i.SessionCreateParams) -> Any:
        chat_id = None
        if params.id:
            try:
                chat_id = str(uuid.UUID(params.id))
            except ValueError as error:
                raise Invalid("id", "a UUID") from error
        done = await self._chats.create(chat_id=chat_id, content=params.content, title=params.title)
        return await self._publisher.payload_of(done.chat_id, done.chat)

    async def _read(self, params: i.ReadParams) -> Any:
        """The stream's events after a cursor, as far as there are any now; without a cursor the state."""
        limit = READ_EVENTS_MAX if params.limit is None else params.limit
        if limit < 1:
            raise Invalid("limit", "at least 1")
        await self._chats.get(params.session_id)
        after = parse_cursor(params.after) if params.after else None
        events: list[msgspec.Raw] = []
        cursor, size = params.after or "0", 0
        async with self._instance.watch.open_watcher(
            params.session_id, after, owner_id=self._chats.owner_id, reads_all=params.reads_all
        ) as watcher:
            while True:
                for frame in (await watcher.next_batch()).frames:
                    if frame.type in ("caught_up", "bye"):
                        return i.ReadResult(events=tuple(events), cursor=cursor, caught_up=True)
                    if frame.seq is None:
                        continue
                    cursor = f"{frame.seq}.{frame.position}"
                    events.append(msgspec.Raw(b'{"cursor":"%b",%b' % (cursor.encode(), frame.data[1:])))
                    size += len(frame.data)
                    if len(events) >= min(limit, READ_EVENTS_MAX) or size >= READ_BYTES_MAX:
                        return i.ReadResult(events=tuple(events), cursor=cursor, caught_up=False)

    async def _request(self, params: i.RequestParams) -> Any:
        """The HTTP API by another way: what the admin would be answered there."""
        body = encode(params.body) if params.body is not None else b""
        answer = await self._http.request(params.method, params.path, params.query or {}, body)
        return i.RequestResult(
            status=answer.status_code, body=msgspec.Raw(bytes(answer.body)) if answer.body else None
        )

    async def _command(self, params: dict[str, Any]) -> Any:
        given = dict(params)
        session_id, name = given.pop("session_id", None), given.pop("command", None)
        if not isinstance(session_id, str) or not isinstance(name, str):
            raise PeerError("session_id and command are strings")
        method, path, body = request_of(name, session_id, given)
        response = await self._http.dispatch(method, API + path, {}, body)
        return msgspec.Raw(bytes(response.body)) if response.body else None


def _id_of(item: jsonrpc.Request | jsonrpc.Refusal) -> msgspec.Raw:
    return item.id if item.id is not None else jsonrpc.NULL


def _refusal(error: Exception, echoed: msgspec.Raw) -> jsonrpc.Refusal:
    if isinstance(error, PeerError):
        return jsonrpc.Refusal(code=jsonrpc.INVALID_PARAMS, message=str(error), id=echoed)
    if isinstance(error, Invalid | CursorInvalid | ProjectMismatch):
        detail = {"code": error.code, **error.fields()}
        return jsonrpc.Refusal(code=jsonrpc.INVALID_PARAMS, message=str(error), data=detail, id=echoed)
    if isinstance(error, AntiphonError):
        return jsonrpc.refusal_of(error, echoed)
    error_id = uuid.uuid4().hex
    log.error("call_failed", id=error_id, exception=traceback_of(error))
    message = "Something went wrong here; the server's log has it under this id."
    return jsonrpc.Refusal(
        code=jsonrpc.REFUSED, message=message, data={"code": "internal", "id": error_id}, id=echoed
    )
