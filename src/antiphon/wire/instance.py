"""The instance protocol's values, under the reference's names: calls, topics and event frames.

Fields are in wire order; `always(…)` fields are always encoded, the others are omitted when they have their default.
`session_id` is the chat's UUID, a message's id is its seq in decimal, `uptime` is Go's duration text.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar, overload

import msgspec

from antiphon.core.parts import DeltaPart, Part
from antiphon.core.values import Value
from antiphon.errors import PeerError
from antiphon.wire.codec import Int64, always, convert, decode, encode
from antiphon.wire.gotime import ZERO_TIME, Time, format_time_us
from antiphon.wire.instance_ports import default_ports as default_ports

METHOD_STATE_SYNC = "state.sync"
METHOD_SESSION_LIST = "session.list"
METHOD_SESSION_GET = "session.get"
METHOD_SESSION_ACTIVATE = "session.activate"
METHOD_MESSAGE_SEND = "message.send"
METHOD_SESSION_INTERRUPT = "session.interrupt"
METHOD_INSTANCE_PING = "instance.ping"
METHOD_INSTANCE_INFO = "instance.info"
METHOD_MESSAGE_LIST = "message.list"

# Antiphon's additions to the reference protocol.
METHOD_SESSION_CREATE = "session.create"
METHOD_READ = "antiphon.read"
METHOD_COMMAND = "antiphon.command"
METHOD_REQUEST = "antiphon.request"
CAPABILITIES = (METHOD_READ, METHOD_COMMAND, METHOD_REQUEST, METHOD_SESSION_CREATE)

TOPIC_SESSION_LIST = "session.list"
TOPIC_SESSION_UPDATE = "session.update"
TOPIC_SESSION_ACTIVATED = "session.activated"
TOPIC_SESSION_DELETED = "session.deleted"
TOPIC_LLM_TOKEN = "llm.token"
TOPIC_LLM_START = "llm.start"
TOPIC_LLM_END = "llm.end"
TOPIC_TOOL_START = "tool.start"
TOPIC_TOOL_END = "tool.end"
TOPIC_INSTANCE_HEARTBEAT = "instance.heartbeat"
TOPIC_INSTANCE_SHUTDOWN = "instance.shutdown"
TOPIC_MESSAGE_APPEND = "message.append"

# Antiphon's addition: published only while a client subscribes to it by name.
TOPIC_APPEND = "antiphon.append"


# Calls: parameters and results.


class SessionPayload(Value):
    """The summary of a chat; `message_count` counts the visible user and assistant messages."""

    id: str = always("")
    title: str = always("")
    updated_at: Time = always(ZERO_TIME)
    message_count: Int64 = always(0)


class MessagePayload(Value):
    """A user's or assistant's message as text: its text parts, joined by newlines."""

    id: str = always("")
    role: str = always("")
    content: str = always("")
    created_at: Time = always(ZERO_TIME)


class StateSyncParams(Value):
    """With a `project_id`, an instance of another project refuses the call."""

    project_id: str = ""


class StateSyncResult(Value):
    """Everything a new subscriber needs, newest session first."""

    sessions: tuple[SessionPayload, ...] | None = always(None)
    active_session_id: str = ""
    instance_id: str = always("")
    antiphon: SyncedMore | None = None


class SyncedMore(Value):
    """Antiphon's addition to `state.sync`: the tool calls that are waiting for a client, by session id."""

    open_calls: dict[str, tuple[Any, ...]] = always({})


class SessionGetParams(Value):
    session_id: str = always("")


class SessionActivateParams(Value):
    session_id: str = always("")


class SessionInterruptParams(Value):
    session_id: str = always("")


class MessageListParams(Value):
    session_id: str = always("")


class MessageSendParams(Value):
    session_id: str = always("")
    content: str = always("")


class OKResult(Value):
    ok: bool = always(False)


class PingResult(Value):
    status: str = always("")
    instance_id: str = always("")
    uptime: str = always("")


class InstanceInfo(Value):
    """The identity of an instance and its endpoints."""

    instance_id: str = always("")
    project_id: str = always("")
    role: str = always("")
    version: str = always("")
    pid: Int64 = always(0)
    host: str = always("")
    started_at: Time = always(ZERO_TIME)
    uptime: str = always("")
    active_session_id: str = ""
    session_count: Int64 = always(0)
    pub_endpoint: str = always("")
    rpc_endpoint: str = always("")
    http_url: str = ""
    capabilities: tuple[str, ...] | None = always(None)


class SessionCreateParams(Value):
    """Antiphon's addition. `id` is a UUID chosen by the caller; it makes the call idempotent. With `content` a turn
    starts."""

    id: str = ""
    content: tuple[Part, ...] | str | None = None
    title: str = ""


class ReadParams(Value):
    """Antiphon's addition: read the events of a session after a cursor, at most `limit`. With `reads_all` the result
    has every fact; without it the result may be the whole state if the cursor is too old."""

    session_id: str = always("")
    after: str = always("")
    limit: Int64 | None = None
    reads_all: bool = False


class ReadResult(Value):
    """Antiphon's addition: `events` are those of the stream, as JSON; `cursor` is where to continue; `caught_up`:
    there are no further events now."""

    events: tuple[Any, ...] | None = always(None)
    cursor: str = always("")
    caught_up: bool = always(False)


class RequestParams(Value):
    """Antiphon's addition: a request to the HTTP API; `body` is its JSON, if it has one."""

    method: str = always("")
    path: str = always("")
    query: dict[str, str] | None = None
    body: Any = None


class RequestResult(Value):
    """Antiphon's addition: the status and the JSON body of the HTTP API's response, if it has a body."""

    status: Int64 = always(0)
    body: Any = None


# Events: payloads by topic.


class Placed(Value):
    """The base of events inside a session, with Antiphon's additional fields by which a subscriber detects gaps.

    A fact has a `seq`; a delta advances `draft` from position `from_` to position `to`. Unset fields are omitted; 0
    is encoded.
    """

    seq: Int64 | None = None
    draft: Int64 | None = None
    from_: Int64 | None = msgspec.field(default=None, name="from")
    to: Int64 | None = None


class SessionListPayload(Value):
    sessions: tuple[SessionPayload, ...] | None = always(None)


class AppendPayload(Value):
    """Antiphon's addition: `seq` is the session's last fact; `antiphon.read` returns the facts."""

    session_id: str = always("")
    seq: Int64 = always(0)


class MessageAppendPayload(Placed):
    session_id: str = always("")
    message_id: str = always("")
    role: str = always("")
    content: str = always("")


class LLMStartPayload(Placed):
    session_id: str = always("")


class LLMTokenPayload(Placed):
    """A text delta. A delta that is not text has an empty token and Antiphon's `part`. `part_index` (Antiphon's too)
    is the index of the part in the message being written."""

    session_id: str = always("")
    token: str = always("")
    part: DeltaPart | None = None
    part_index: Int64 | None = None


class LLMEndPayload(Placed):
    """The end of one llm.start, with the usage, or zeros if it is unknown."""

    session_id: str = always("")
    tokens_in: Int64 = always(0)
    tokens_out: Int64 = always(0)


class ToolStartPayload(Placed):
    """`params` is the JSON text of the arguments."""

    session_id: str = always("")
    tool_name: str = always("")
    call_id: str = always("")
    params: str = always("")


class ToolEndPayload(Placed):
    """`result` is a summary of at most TOOL_RESULT_CHARACTERS_MAX characters."""

    session_id: str = always("")
    tool_name: str = always("")
    call_id: str = always("")
    is_error: bool = always(False)
    result: str = always("")


TOOL_RESULT_CHARACTERS_MAX = 512
"""Maximum length of a tool's result in `tool.end`, in characters."""


class HeartbeatPayload(Value):
    instance_id: str = always("")
    active_session_id: str = ""
    session_count: Int64 = always(0)
    uptime: str = always("")
    started_at: Time = always(ZERO_TIME)


class ShutdownPayload(Value):
    instance_id: str = always("")
    reason: str = ""


PAYLOAD_TYPES: Mapping[str, type[Value]] = MappingProxyType(
    {
        TOPIC_SESSION_LIST: SessionListPayload,
        TOPIC_SESSION_UPDATE: SessionPayload,
        TOPIC_SESSION_ACTIVATED: SessionPayload,
        TOPIC_SESSION_DELETED: SessionPayload,
        TOPIC_LLM_TOKEN: LLMTokenPayload,
        TOPIC_LLM_START: LLMStartPayload,
        TOPIC_LLM_END: LLMEndPayload,
        TOPIC_TOOL_START: ToolStartPayload,
        TOPIC_TOOL_END: ToolEndPayload,
        TOPIC_INSTANCE_HEARTBEAT: HeartbeatPayload,
        TOPIC_INSTANCE_SHUTDOWN: ShutdownPayload,
        TOPIC_MESSAGE_APPEND: MessageAppendPayload,
        TOPIC_APPEND: AppendPayload,
    }
)


CALL_BYTES_MAX = 9 * 1024 * 1024
"""Maximum size of a call, in bytes. The instance closes the connection of a peer that sends a longer call."""

# Event frames: `topic` 0x00 `envelope`.


class Envelope(Value, rename="camel"):
    """The body of an event frame. The key order is part of the protocol: subscribers filter by prefix."""

    instance_id: str = always("")
    project_id: str = always("")
    session_id: str = ""
    topic: str = always("")
    timestamp: Time = always(ZERO_TIME)
    payload: Any = always(None)


class BriefEnvelope(Value, rename="camel"):
    """An envelope without the time, which a watch decodes at half the cost."""

    instance_id: str = always("")
    project_id: str = always("")
    session_id: str = ""
    topic: str = always("")
    payload: Any = always(None)


_AFTER_HEAD = b'0001-01-01T00:00:00Z","payload":null}'


def frame_head(topic: str, instance_id: str, project_id: str, session_id: str = "") -> bytes:
    """The part of a frame that is the same for all events of a topic and a session. Cache it for `encode_frame`.

    It is also the subscription prefix for one session's events of this topic (`topic_prefix`: of all sessions).
    """
    envelope = Envelope(instance_id=instance_id, project_id=project_id, session_id=session_id, topic=topic)
    return topic_prefix(topic) + encode(envelope).removesuffix(_AFTER_HEAD)


def topic_prefix(topic: str) -> bytes:
    """The subscription prefix for every event of a topic, of all instances."""
    return topic.encode() + b"\0"


def encode_frame(head: bytes, at_us: int, payload: Any) -> bytes:
    """The frame of one event: `topic`, 0x00 and the envelope, made of `frame_head`, the time and the payload."""
    return b"".join((head, format_time_us(at_us).encode(), b'","payload":', encode(payload), b"}"))


E = TypeVar("E", Envelope, BriefEnvelope)


@overload
def decode_frame(frame: bytes) -> Envelope: ...
@overload
def decode_frame(frame: bytes, kind: type[E]) -> E: ...
def decode_frame(frame: bytes, kind: Any = Envelope) -> Any:
    """The envelope of a frame, with its payload as plain JSON (see `read_payload`). Raises PeerError; the caller then
    counts and skips the frame."""
    topic, separator, body = frame.partition(b"\0")
    if not separator:
        raise PeerError("An event frame without a zero byte after its topic.")
    envelope: Envelope | BriefEnvelope = decode(body, kind)
    if envelope.topic.encode() != topic:
        raise PeerError("An event frame whose envelope names another topic.")
    return envelope


def read_payload(envelope: Envelope | BriefEnvelope) -> Any:
    """The payload as its topic's type; None: the topic is unknown. Raises PeerError."""
    kind = PAYLOAD_TYPES.get(envelope.topic)
    return None if kind is None else convert(envelope.payload, kind)


# The lock file and the ports.


class LockFile(Value):
    """What the primary of a data directory writes into the lock file that it holds; the ports are 0 without TCP."""

    instance_id: str = always("")
    pid: Int64 = always(0)
    pub_port: Int64 = always(0)
    rpc_port: Int64 = always(0)
    pub_endpoint: str = always("")
    rpc_endpoint: str = always("")
    started_at: Time = always(ZERO_TIME)
