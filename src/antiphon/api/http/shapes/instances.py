"""The bodies and queries of the routes of other instances."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from antiphon.core.values import Value


class InstanceEventsQuery(Value):
    topic: str = ""
    """The topics, separated by commas; empty: all."""


class InstanceSessionBody(Value):
    session_id: str


class InstanceSendBody(Value):
    session_id: str
    content: str


class OkAnswer(Value):
    ok: bool


class SessionShown(Value):
    id: str
    title: str
    updated_at: str
    message_count: int


class InstanceAnswer(Value):
    """`is_silent`: the instance does not respond (a replica has lost its database session). It has only the fields
    of its announcement then. `host`, `running` turns of `capacity` and `is_draining` are fields of replicas."""

    instance_id: str
    pid: int
    role: str
    version: str
    project_id: str
    data: str
    started_at: str
    http_url: str
    rpc_endpoint: str
    is_self: bool
    is_silent: bool
    uptime: str = ""
    session_count: int = 0
    active_session_id: str | None = None
    active_title: str = ""
    host: str = ""
    running: int = 0
    capacity: int = 0
    is_draining: bool = False
    sessions: list[SessionShown] | UnsetType = UNSET


class InstancesAnswer(Value):
    instances: list[InstanceAnswer]
