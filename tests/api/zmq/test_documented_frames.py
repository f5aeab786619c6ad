"""The frames that docs/instance-protocol.md shows can be read back, and look like those of a running instance."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from antiphon import Agent, tool
from antiphon.wire import instance as i
from antiphon.wire import jsonrpc
from antiphon.wire.codec import convert, decode, encode
from support.waiting import DEADLINE_S

from .peers import Peer, open_endpoint

PAGE = Path(__file__).parents[3] / "docs" / "instance-protocol.md"
SHOWN = re.search(r"<!-- made: frames -->\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
assert SHOWN is not None
FRAMES = [line.encode().replace(rb"\0", b"\0", 1) for line in re.findall(r"^[a-z.]+\\0.*", SHOWN[1], re.MULTILINE)]
CALLS = re.findall(r"^→ (.*)\n← (.*)", SHOWN[1], re.MULTILINE)

PARAMS = {
    i.METHOD_STATE_SYNC: i.StateSyncParams,
    i.METHOD_SESSION_GET: i.SessionGetParams,
    i.METHOD_SESSION_ACTIVATE: i.SessionActivateParams,
    i.METHOD_MESSAGE_SEND: i.MessageSendParams,
    i.METHOD_SESSION_INTERRUPT: i.SessionInterruptParams,
    i.METHOD_MESSAGE_LIST: i.MessageListParams,
    i.METHOD_READ: i.ReadParams,
    i.METHOD_SESSION_CREATE: i.SessionCreateParams,
}
RESULTS = {
    i.METHOD_STATE_SYNC: i.StateSyncResult,
    i.METHOD_SESSION_LIST: tuple[i.SessionPayload, ...],
    i.METHOD_SESSION_GET: i.SessionPayload,
    i.METHOD_SESSION_ACTIVATE: i.OKResult,
    i.METHOD_MESSAGE_SEND: i.OKResult,
    i.METHOD_SESSION_INTERRUPT: i.OKResult,
    i.METHOD_INSTANCE_PING: i.PingResult,
    i.METHOD_INSTANCE_INFO: i.InstanceInfo,
    i.METHOD_MESSAGE_LIST: tuple[i.MessagePayload, ...],
    i.METHOD_READ: i.ReadResult,
    i.METHOD_SESSION_CREATE: i.SessionPayload,
}


def constants(beginning: str) -> set[str]:
    return {value for name, value in vars(i).items() if name.startswith(beginning)}


def shape(value: Any) -> Any:
    """What a value looks like, whatever it says: names in their order, kinds, and one of a list's items."""
    if isinstance(value, dict):
        return [(name, shape(inner)) for name, inner in value.items()]
    return [shape(inner) for inner in value[:1]] if isinstance(value, list) else type(value).__name__


def test_every_topic_is_shown_once_and_reads_back() -> None:
    envelopes = [i.decode_frame(frame) for frame in FRAMES]
    assert sorted(envelope.topic for envelope in envelopes) == sorted(constants("TOPIC_"))
    for frame, envelope in zip(FRAMES, envelopes, strict=True):
        payload = i.read_payload(envelope)
        head = i.frame_head(envelope.topic, envelope.instance_id, envelope.project_id, envelope.session_id)
        assert i.encode_frame(head, envelope.timestamp.us, payload) == frame


def test_every_method_is_shown_once_and_reads_back() -> None:
    asked = []
    for number, (request, response) in enumerate(CALLS, start=1):
        (item,) = jsonrpc.parse(request.encode()).items
        assert isinstance(item, jsonrpc.Request)
        assert jsonrpc.encode_request(item.method, item.params, number) == request.encode()
        if kind := PARAMS.get(item.method):
            assert json.loads(encode(convert(item.params, kind))) == item.params
        answer = jsonrpc.decode_answer(response.encode())
        assert answer.id == number
        if result := RESULTS.get(item.method):
            assert encode(decode(bytes(answer.result), result)) == bytes(answer.result)
        asked.append(item.method)
    assert sorted(asked[:-1]) == sorted(constants("METHOD_"))
    assert asked[-1] not in constants("METHOD_")
    assert answer.error_code == jsonrpc.METHOD_NOT_FOUND


@tool
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


SESSION_ID = "5a3c4f0e-6a53-4c0c-9c1d-0d5f0c2b6a11"
SCRIPT = '/say Let me see.\n/call add {"a": 1, "b": 2}\n/say Three.\n/stall 60'


@pytest.mark.anyio
async def test_a_running_instance_sends_what_is_shown(tmp_path: Path) -> None:
    """Asked of a session that is in the middle of its answer; a message goes to one that rests."""
    data, agent = tmp_path / "data", Agent(model="rehearsal", tools=[add])
    async with (
        asyncio.timeout(DEADLINE_S),
        open_endpoint(data, agent=agent) as (instance, endpoint),
        Peer(endpoint, "", i.TOPIC_APPEND) as peer,
    ):
        await instance.serve_at("http://127.0.0.1:8000")
        await peer.wait_subscribed(endpoint)
        session_id = (await peer.ask("session.create", {"title": "Sums"}))["id"]
        await peer.ask("session.activate", {"session_id": session_id})
        await peer.ask("message.send", {"session_id": session_id, "content": SCRIPT})
        draft = (await peer.until("llm.token", token="Three."))["payload"]["draft"]
        values = {"session_id": session_id, "after": f"{draft}.1", "project_id": str(tmp_path), "id": SESSION_ID}
        for request, response in CALLS:
            await check_call(peer, json.loads(request), json.loads(response), values)
        await peer.until("message.append", session_id=session_id, content="Three.")
        await endpoint.publisher.publish_heartbeat()
        await peer.ask("antiphon.command", {"session_id": SESSION_ID, "command": "delete"})
        await peer.until("session.deleted", id=SESSION_ID)
        await peer.until("session.list")
        endpoint.publisher.publish_shutdown("stopped")
        await peer.until("instance.shutdown")
    check_events(peer.seen)


async def check_call(peer: Peer, request: Any, response: Any, values: dict[str, Any]) -> None:
    method, params = request["method"], request["params"]
    params = params | {name: value for name, value in values.items() if name in params}
    if method in (i.METHOD_MESSAGE_SEND, i.METHOD_COMMAND):
        params["session_id"] = (await peer.ask("session.create", {}))["id"]
    answer = await peer.call(method, params)
    assert shape(answer) == shape(response | {"id": "one"}), method


def check_events(seen: list[dict[str, Any]]) -> None:
    """Every shown frame looks like one that was sent."""
    for frame in FRAMES:
        topic, _, envelope = frame.partition(b"\0")
        sent = [shape(event) for event in seen if event["topic"] == topic.decode()]
        assert shape(json.loads(envelope)) in sent, topic
