"""The frames that docs/instance-protocol.md shows: fixed values, encoded by the code that encodes the real ones.

One scenario: a session is created, a question is asked, a tool is called, the instance is stopped.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon import __version__
from antiphon.api.zmq.calls import METHOD_NOT_FOUND
from antiphon.core.events import Delta
from antiphon.core.facts import Entry, MessageAppended, Recorded
from antiphon.core.model import Status
from antiphon.core.parts import Role, Text
from antiphon.wire import instance as i
from antiphon.wire import jsonrpc
from antiphon.wire.codec import encode
from antiphon.wire.gotime import Time, parse_time_us
from antiphon.wire.stream import delta_frame, new_message_json

INSTANCE = "93f05541-a91b-4f07-8508-f9975c76c89a"
PROJECT = "/home/me/project"
SESSION = "bb79e3e5-f4af-4246-8a66-6fd1cb862b0a"
OWNER = "6c6f24d2-7f6c-444c-858a-38150471b25d"
STARTED_US = parse_time_us("2026-05-05T21:59:55Z")
AT_US = parse_time_us("2026-05-05T22:00:00.25Z")

QUESTION = "What are 1 and 2?"
SUMS = i.SessionPayload(id=SESSION, title="Sums", updated_at=Time.from_us(AT_US), message_count=1)
TEXT_DELTA = Delta(draft=3, from_=1, to=12, part_index=0, part=Text("Let me see."))
PLACE: dict[str, Any] = {"session_id": SESSION}
PUB, RPC = (f"ipc://{PROJECT}/.antiphon/run/{name}.sock" for name in ("pub", "rpc"))

EVENTS: tuple[tuple[str, Any], ...] = (
    (
        i.TOPIC_INSTANCE_HEARTBEAT,
        i.HeartbeatPayload(
            instance_id=INSTANCE,
            active_session_id=SESSION,
            session_count=1,
            uptime="5s",
            started_at=Time.from_us(STARTED_US),
        ),
    ),
    (i.TOPIC_SESSION_LIST, i.SessionListPayload(sessions=(SUMS,))),
    (i.TOPIC_SESSION_UPDATE, SUMS),
    (i.TOPIC_SESSION_ACTIVATED, SUMS),
    (i.TOPIC_LLM_START, i.LLMStartPayload(**PLACE, draft=3, from_=0, to=1)),
    (i.TOPIC_LLM_TOKEN, i.LLMTokenPayload(**PLACE, draft=3, from_=1, to=12, token="Let me see.", part_index=0)),
    (i.TOPIC_LLM_END, i.LLMEndPayload(**PLACE, seq=4, tokens_in=14, tokens_out=9)),
    (
        i.TOPIC_MESSAGE_APPEND,
        i.MessageAppendPayload(
            **PLACE, seq=4, draft=3, to=29, message_id="4", role="assistant", content="Let me see."
        ),
    ),
    (
        i.TOPIC_TOOL_START,
        i.ToolStartPayload(**PLACE, seq=4, tool_name="add", call_id="call-2-1", params='{"a":1,"b":2}'),
    ),
    (
        i.TOPIC_TOOL_END,
        i.ToolEndPayload(**PLACE, seq=5, tool_name="add", call_id="call-2-1", is_error=False, result="3"),
    ),
    (i.TOPIC_APPEND, i.AppendPayload(**PLACE, seq=5)),
    (
        i.TOPIC_SESSION_DELETED,
        i.SessionPayload(id=SESSION, title="Sums", updated_at=Time.from_us(AT_US), message_count=1),
    ),
    (i.TOPIC_INSTANCE_SHUTDOWN, i.ShutdownPayload(instance_id=INSTANCE, reason="stopped")),
)

OK = i.OKResult(ok=True)
CONTENT = encode([Text(QUESTION)])
ASKED = MessageAppended(role=Role.USER, turn_id=2, created_by=OWNER, via="zmq", content_size=len(CONTENT))
SENT = new_message_json(
    SESSION,
    Entry(recorded=Recorded(2, AT_US, ASKED), status=Status.RUNNING, draft=0, content=CONTENT),
)

CALLS: tuple[tuple[str, Any, Any], ...] = (
    (
        i.METHOD_STATE_SYNC,
        i.StateSyncParams(project_id=PROJECT),
        i.StateSyncResult(sessions=(SUMS,), active_session_id=SESSION, instance_id=INSTANCE),
    ),
    (i.METHOD_SESSION_LIST, {}, (SUMS,)),
    (i.METHOD_SESSION_GET, i.SessionGetParams(**PLACE), SUMS),
    (i.METHOD_SESSION_ACTIVATE, i.SessionActivateParams(**PLACE), OK),
    (i.METHOD_MESSAGE_SEND, i.MessageSendParams(**PLACE, content=QUESTION), OK),
    (i.METHOD_INSTANCE_PING, {}, i.PingResult(status="ok", instance_id=INSTANCE, uptime="5s")),
    (
        i.METHOD_INSTANCE_INFO,
        {},
        i.InstanceInfo(
            instance_id=INSTANCE,
            project_id=PROJECT,
            role="primary",
            version=__version__,
            pid=7735,
            host="desk",
            started_at=Time.from_us(STARTED_US),
            uptime="5s",
            active_session_id=SESSION,
            session_count=1,
            pub_endpoint=PUB,
            rpc_endpoint=RPC,
            http_url="http://127.0.0.1:8000",
            capabilities=i.CAPABILITIES,
        ),
    ),
    (
        i.METHOD_MESSAGE_LIST,
        i.MessageListParams(**PLACE),
        (i.MessagePayload(id="2", role="user", content=QUESTION, created_at=Time.from_us(AT_US)),),
    ),
    (
        i.METHOD_SESSION_CREATE,
        i.SessionCreateParams(id=SESSION, content=QUESTION, title="Sums"),
        SUMS,
    ),
    (
        i.METHOD_READ,
        i.ReadParams(**PLACE, after="3.1"),
        i.ReadResult(
            events=({"cursor": "3.12", **msgspec.json.decode(delta_frame(3, TEXT_DELTA).data)},),
            cursor="3.12",
            caught_up=True,
        ),
    ),
    (i.METHOD_SESSION_INTERRUPT, i.SessionInterruptParams(**PLACE), OK),
    (
        i.METHOD_REQUEST,
        i.RequestParams(method="GET", path="/api/v1/chats", query={"archived": "true"}),
        i.RequestResult(status=200, body={"chats": [], "next": None}),
    ),
    (i.METHOD_COMMAND, {**PLACE, "command": "send_message", "content": QUESTION}, SENT),
)


def event_frames() -> list[bytes]:
    """One frame for each topic."""
    return [
        i.encode_frame(i.frame_head(topic, INSTANCE, PROJECT, _session_of(payload)), AT_US, payload)
        for topic, payload in EVENTS
    ]


def _session_of(payload: Any) -> str:
    return SESSION if isinstance(payload, i.Placed | i.SessionPayload | i.AppendPayload) else ""


def call_messages() -> list[tuple[bytes, bytes]]:
    """A request and its response for each method, and for a method there is not."""
    messages = []
    for number, (method, params, result) in enumerate(CALLS, start=1):
        echoed = msgspec.Raw(b"%d" % number)
        messages.append((jsonrpc.encode_request(method, params, number), jsonrpc.encode_result(echoed, result)))
    last = len(CALLS) + 1
    unknown = jsonrpc.Refusal(code=jsonrpc.METHOD_NOT_FOUND, message=METHOD_NOT_FOUND, id=msgspec.Raw(b"%d" % last))
    return [*messages, (jsonrpc.encode_request("moon.rise", {}, last), jsonrpc.encode_refusal(unknown))]


def frames() -> str:
    """The part of the page: every event frame, then every call."""
    events = [frame.replace(b"\0", rb"\0", 1).decode() for frame in event_frames()]
    calls = [f"→ {request.decode()}\n← {response.decode()}" for request, response in call_messages()]
    return f"{_block(events)}\n\n{_block(calls)}"


def _block(items: list[str]) -> str:
    return "```text\n" + "\n\n".join(items) + "\n```"
