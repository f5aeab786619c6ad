"""The routes by which the admin of one instance observes and controls the others of this machine's user."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.shapes import instances as s
from antiphon.api.http.sse import open_stream
from antiphon.api.http.table import SMALL_BODY_MAX, Call, Operation, Policy, route
from antiphon.client.local import Endpoints
from antiphon.client.zmq import RemoteInstance
from antiphon.errors import AntiphonError, Invalid, NotFound, Unavailable
from antiphon.instance import Instance
from antiphon.local.discovery import Announcement, announced
from antiphon.ports import InstanceRecord
from antiphon.watch.plain_stream import PlainStream
from antiphon.wire.codec import encode
from antiphon.wire.gotime import format_time_us
from antiphon.wire.instance import PAYLOAD_TYPES
from antiphon.wire.stream import Frame


class InstanceEvents(PlainStream):
    """The events that another instance publishes, live. If the client reads too slowly the oldest are dropped; an
    event `left_out` has their number."""

    def __init__(self, owner_id: str, *, token_id: str, limits: HttpLimits) -> None:
        super().__init__(owner_id, token_id=token_id)
        self._limits = limits
        self._waiting: deque[Frame] = deque()
        self._bytes = 0
        self._left_out = 0

    async def listen(self, remote: RemoteInstance, topics: Sequence[str]) -> None:
        """Receive the events, until cancelled."""
        try:
            async with aclosing(remote.events(topics)) as events:
                async for envelope in events:
                    self.put(_frame(envelope.topic, msgspec.json.decode(encode(envelope))))
        finally:
            self.end("shutdown", 1000)

    def put(self, frame: Frame) -> None:
        self._waiting.append(frame)
        self._bytes += len(frame.data)
        while self._is_overfull:
            self._bytes -= len(self._waiting.popleft().data)
            self._left_out += 1
        self.wake()

    @property
    def _is_overfull(self) -> bool:
        count, limits = len(self._waiting), self._limits
        return count > limits.events_max or (self._bytes > limits.events_bytes_max and count > 1)

    async def _frames(self) -> list[Frame]:
        left_out = [_frame("left_out", {"count": self._left_out})] if self._left_out else []
        frames = [*left_out, *self._waiting]
        self._waiting.clear()
        self._bytes = self._left_out = 0
        return frames


@asynccontextmanager
async def open_events(
    instance: Instance,
    found: Announcement,
    topics: Sequence[str],
    *,
    owner_id: str,
    token_id: str,
    limits: HttpLimits,
) -> AsyncIterator[PlainStream]:
    """The events of another instance, as one of this instance's streams. Raises `Unavailable` if it is silent."""
    async with _remote(found, limits.instance_command_s, limits) as remote:
        await remote.ping()
        stream = InstanceEvents(owner_id, token_id=token_id, limits=limits)
        listening = asyncio.create_task(stream.listen(remote, topics))
        checking = asyncio.create_task(_end_when_silent(stream, remote, found.instance_id, limits))
        try:
            async with instance.watch.supervise(stream):
                yield stream
        finally:
            listening.cancel()
            checking.cancel()
            await asyncio.wait({listening, checking})


async def _end_when_silent(
    stream: InstanceEvents, remote: RemoteInstance, instance_id: str, limits: HttpLimits
) -> None:
    """End the stream when several liveness checks have failed, or another instance responds at the same address."""
    missed = 0
    while missed < limits.instance_checks_missed_max:
        await asyncio.sleep(limits.instance_check_s)
        try:
            is_same = (await remote.ping()).instance_id == instance_id
        except AntiphonError:
            missed += 1
            continue
        missed = 0 if is_same else limits.instance_checks_missed_max
    stream.end("shutdown", 1000)


def _frame(kind: str, data: dict[str, Any]) -> Frame:
    return Frame(None, 0, kind, encode({"type": kind, **data}))


# --- handlers


async def list_instances(call: Call) -> Response:
    """The instances of this machine's user, and all replicas on this instance's store."""
    announcements: list[dict[str, Any]] = await asyncio.gather(*(_shown(call, item) for item in announced()))
    cluster = call.instance.cluster
    replicas = {record.instance_id: _replica(record) for record in cluster.shown()} if cluster is not None else {}
    shown = [
        item | {k: v for k, v in replicas.pop(item["instance_id"], {}).items() if k in LOAD} for item in announcements
    ]
    return JsonAnswer({"instances": [*shown, *replicas.values()]})


LOAD = ("host", "running", "capacity", "is_draining")


def _replica(record: InstanceRecord) -> dict[str, Any]:
    """A replica, as its membership row describes it."""
    return {
        "instance_id": record.instance_id,
        "pid": record.pid,
        "role": "replica",
        "version": record.version,
        "project_id": "",
        "data": "",
        "started_at": format_time_us(record.started_at),
        "http_url": record.http_url,
        "rpc_endpoint": "",
        "is_self": False,
        "is_silent": not record.is_present,
        **{name: getattr(record, name) for name in LOAD},
    }


async def get_instance(call: Call) -> Response:
    cluster, instance_id = call.instance.cluster, call.path["instance_id"]
    replicas = [r for r in cluster.shown() if r.instance_id == instance_id] if cluster is not None else []
    if replicas and all(item.instance_id != instance_id for item in announced()):
        return JsonAnswer(_replica(replicas[0]))
    found = _find(call)
    shown = await _shown(call, found)
    sessions: Any = []
    active = ""
    if not shown["is_silent"] and found.rpc_endpoint:
        async with _remote(found, call.limits.instance_command_s, call.limits) as remote:  # it has just responded
            state = await remote.state_sync()
        sessions, active = msgspec.json.decode(encode(state.sessions or ())), state.active_session_id
    return JsonAnswer(shown | {"sessions": sessions, "active_session_id": active or None})


async def instance_events(call: Call) -> Response:
    """The events of an instance, live. An event `left_out` counts those that a slow client has missed."""
    topics = [topic for topic in call.query.topic.split(",") if topic]
    for topic in topics:
        if topic not in PAYLOAD_TYPES:
            raise Invalid("topic", f"there is no {topic[:64]!r}; there are {', '.join(PAYLOAD_TYPES)}")
    assert call.token is not None
    return await open_stream(
        open_events(
            call.instance,
            _find(call),
            topics,
            owner_id=call.owner_id,
            token_id=call.token.token_id,
            limits=call.limits,
        )
    )


async def activate_session(call: Call) -> Response:
    async with _remote(_find(call), call.limits.instance_command_s, call.limits) as remote:
        await remote.activate(call.body.session_id)
    return JsonAnswer({"ok": True})


async def send_to_session(call: Call) -> Response:
    async with _remote(_find(call), call.limits.instance_command_s, call.limits) as remote:
        await remote.send(call.body.session_id, call.body.content)
    return JsonAnswer({"ok": True})


async def interrupt_session(call: Call) -> Response:
    async with _remote(_find(call), call.limits.instance_command_s, call.limits) as remote:
        await remote.interrupt(call.body.session_id)
    return JsonAnswer({"ok": True})


# --- the target instance


def _find(call: Call) -> Announcement:
    """Raises `NotFound`."""
    for item in announced():
        if item.instance_id == call.path["instance_id"]:
            return item
    raise NotFound("instance")


def _remote(found: Announcement, timeout_s: float, limits: HttpLimits) -> RemoteInstance:
    endpoints = Endpoints.of(found.pub_endpoint, found.rpc_endpoint, found.keys)
    if endpoints is None:
        raise Unavailable(f"the instance is a {found.role} and accepts no calls")
    return endpoints.remote(timeout_s=timeout_s, message_bytes_max=limits.instance_message_bytes_max)


async def _shown(call: Call, found: Announcement) -> dict[str, Any]:
    """The announcement of an instance, and the state it reports now. A standby reports none."""
    shown: dict[str, Any] = {name: getattr(found, name) for name in s.InstanceAnswer.__struct_fields__[:9]}
    shown |= {"is_self": found.instance_id == call.instance.instance_id, "is_silent": False}
    if not found.rpc_endpoint:
        return shown
    try:
        async with _remote(found, call.limits.instance_answer_s, call.limits) as remote:
            info = await remote.about()
            active_title = await _title(remote, info.active_session_id)
    except AntiphonError:
        return shown | {"is_silent": True}
    return shown | {
        "uptime": info.uptime,
        "session_count": info.session_count,
        "active_session_id": info.active_session_id or None,
        "active_title": active_title,
    }


async def _title(remote: RemoteInstance, session_id: str) -> str:
    """The title of the active session; empty if there is none."""
    try:
        return (await remote.session(session_id)).title if session_id else ""
    except NotFound:
        return ""


_ADMIN = Policy.ADMIN

ROUTES: tuple[Operation, ...] = (
    route("GET", "/instances", list_instances, _ADMIN, "The instances of this machine and this store.",
          (200, s.InstancesAnswer)),
    route("GET", "/instances/{instance_id}", get_instance, _ADMIN, "One instance, with its sessions.",
          (200, s.InstanceAnswer)),
    route("GET", "/instances/{instance_id}/events", instance_events, _ADMIN,
          "The events that an instance publishes (server-sent events).",
          (200, None), query=s.InstanceEventsQuery, is_stream=True),
    route("POST", "/instances/{instance_id}/activate", activate_session, _ADMIN,
          "Make a session of an instance its active one.",
          (200, s.OkAnswer), body=s.InstanceSessionBody, body_bytes_max=SMALL_BODY_MAX),
    route("POST", "/instances/{instance_id}/messages", send_to_session, _ADMIN,
          "Send a message to a session of an instance.", (200, s.OkAnswer), body=s.InstanceSendBody),
    route("POST", "/instances/{instance_id}/interrupt", interrupt_session, _ADMIN,
          "Stop the turn that a session of an instance is in.",
          (200, s.OkAnswer), body=s.InstanceSessionBody, body_bytes_max=SMALL_BODY_MAX),
)  # fmt: skip
