"""The instance protocol's values: names, additional fields, frames and ports."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.core.parts import CallStarted, Text, Unknown
from antiphon.errors import PeerError
from antiphon.wire import instance
from antiphon.wire.codec import decode, encode
from antiphon.wire.gotime import Time, parse_time_us
from antiphon.wire.instance import (
    BriefEnvelope,
    Envelope,
    InstanceInfo,
    LLMEndPayload,
    LLMStartPayload,
    LLMTokenPayload,
    MessageAppendPayload,
    PingResult,
    ReadParams,
    SessionCreateParams,
    ToolEndPayload,
    ToolStartPayload,
    decode_frame,
    default_ports,
    encode_frame,
    frame_head,
    read_payload,
    topic_prefix,
)

AT_US = parse_time_us("2026-05-05T22:00:00.25Z")
PLACED = [LLMStartPayload, LLMTokenPayload, LLMEndPayload, ToolStartPayload, ToolEndPayload, MessageAppendPayload]


def test_methods_and_topics_have_the_references_names() -> None:
    words = {name: value for name, value in vars(instance).items() if name.startswith(("METHOD_", "TOPIC_"))}
    ours = {
        "METHOD_READ": "antiphon.read",
        "METHOD_COMMAND": "antiphon.command",
        "METHOD_REQUEST": "antiphon.request",
        "TOPIC_APPEND": "antiphon.append",
    }
    assert words == ours | {
        name: name.split("_", 1)[1].lower().replace("_", ".") for name in words if name not in ours
    }
    assert len([name for name in words if name.startswith("METHOD_")]) == 9 + 4
    assert len([name for name in words if name.startswith("TOPIC_")]) == 12 + 1


def test_every_topic_has_a_payload() -> None:
    topics = {value for name, value in vars(instance).items() if name.startswith("TOPIC_")}
    assert instance.PAYLOAD_TYPES.keys() == topics


@pytest.mark.parametrize("kind", PLACED)
def test_the_additional_fields_are_left_out_when_unset_and_written_when_zero(kind: Any) -> None:
    extra = {"seq", "draft", "from", "to"}
    assert not extra & json.loads(encode(kind())).keys()
    written = json.loads(encode(kind(seq=0, draft=0, from_=0, to=0)))
    assert {name: written[name] for name in extra} == dict.fromkeys(extra, 0)
    assert decode(b'{"seq":9,"draft":8,"from":0,"to":3}', kind) == kind(seq=9, draft=8, from_=0, to=3)


@pytest.mark.parametrize("part", [CallStarted("m", "p", 1), Text(""), Unknown("smell", {"type": "smell", "x": [1]})])
def test_a_delta_that_is_not_text_is_an_empty_token_with_a_part(part: Any) -> None:
    payload = LLMTokenPayload(session_id="s", draft=4, from_=0, to=1, part=part)
    assert json.loads(encode(payload))["token"] == ""
    assert decode(encode(payload), LLMTokenPayload) == payload


def test_a_ping_result_is_written_whole() -> None:
    assert encode(PingResult(status="ok", instance_id="i", uptime="5s")) == (
        b'{"status":"ok","instance_id":"i","uptime":"5s"}'
    )


def test_instance_info_omits_unset_fields() -> None:
    assert list(json.loads(encode(InstanceInfo()))) == [
        *("instance_id", "project_id", "role", "version", "pid", "host", "started_at", "uptime"),
        *("session_count", "pub_endpoint", "rpc_endpoint", "capabilities"),
    ]
    info = InstanceInfo(http_url="http://h", active_session_id="s", capabilities=instance.CAPABILITIES)
    assert decode(encode(info), InstanceInfo) == info


@pytest.mark.parametrize("content", ["hello", [{"type": "text", "text": "hello"}], [{"type": "video"}], None])
def test_a_session_is_created_with_content_of_either_form(content: Any) -> None:
    params = decode(json.dumps({"content": content}).encode(), SessionCreateParams)
    assert json.loads(encode(params)) == ({} if content is None else {"content": content})


def test_a_read_continues_from_a_cursor() -> None:
    assert json.loads(encode(ReadParams(session_id="s", after="57.3"))) == {"session_id": "s", "after": "57.3"}


# Frames


def test_a_frame_is_the_topic_a_zero_byte_and_the_envelope_in_its_order() -> None:
    head = frame_head("llm.token", "i", "/home/<p>", "s")
    assert encode_frame(head, AT_US, LLMTokenPayload(session_id="s", token="x")) == (
        b'llm.token\0{"instanceId":"i","projectId":"/home/<p>","sessionId":"s","topic":"llm.token",'
        b'"timestamp":"2026-05-05T22:00:00.25Z","payload":{"session_id":"s","token":"x"}}'
    )


def test_a_frame_without_a_session_leaves_it_out() -> None:
    assert encode_frame(frame_head("instance.shutdown", "i", "p"), 0, None).startswith(
        b'instance.shutdown\0{"instanceId":"i","projectId":"p","topic":"instance.shutdown","timestamp":'
    )


def test_a_frame_is_what_the_encoder_makes_of_its_envelope() -> None:
    payload = LLMTokenPayload(session_id="s", token="\u2028🚀")
    envelope = Envelope(
        instance_id="i",
        project_id='/p "q"',
        session_id="s",
        topic="t",
        timestamp=Time.from_us(AT_US),
        payload=payload,
    )
    assert encode_frame(frame_head("t", "i", '/p "q"', "s"), AT_US, payload) == b"t\0" + encode(envelope)


def test_a_plain_prefix_filters_by_topic_and_by_session() -> None:
    frame = encode_frame(frame_head("llm.token", "i", "p", "s1"), AT_US, LLMTokenPayload(session_id="s1"))
    assert frame.startswith(topic_prefix("llm.token"))
    assert frame.startswith(frame_head("llm.token", "i", "p", "s1"))
    assert not frame.startswith(topic_prefix("llm"))
    assert not frame.startswith(frame_head("llm.token", "i", "p", "s"))
    assert not frame.startswith(frame_head("llm.token", "i", "p"))


def test_a_frame_is_read_back() -> None:
    payload = LLMTokenPayload(session_id="s", token="x", seq=0, part=Unknown("smell", {"type": "smell"}))
    envelope = decode_frame(encode_frame(frame_head("llm.token", "i", "p", "s"), AT_US, payload))
    assert (envelope.instance_id, envelope.project_id, envelope.session_id) == ("i", "p", "s")
    assert envelope.timestamp.us == AT_US
    assert envelope.payload["token"] == "x"
    assert read_payload(envelope) == payload


def test_a_brief_envelope_gives_a_follower_the_same_payload() -> None:
    payload = LLMTokenPayload(session_id="s", token="x\u2028", seq=0, part=Unknown("smell", {"type": "smell"}))
    brief = decode_frame(encode_frame(frame_head("llm.token", "i", "p", "s"), AT_US, payload), BriefEnvelope)
    assert (brief.instance_id, brief.project_id, brief.session_id, brief.topic) == ("i", "p", "s", "llm.token")
    assert read_payload(brief) == payload
    assert read_payload(decode_frame(b'moon.rise\0{"topic":"moon.rise","payload":{"a":1}}', BriefEnvelope)) is None


@pytest.mark.parametrize("payload", [b'{"token":5}', b'"x"', b"null", b'{"token":"\xff"}', b"[" * 300 + b"]" * 300])
def test_a_brief_envelopes_payload_that_cannot_be_read_is_a_peers_error(payload: bytes) -> None:
    with pytest.raises(PeerError):
        read_payload(decode_frame(b'llm.token\0{"topic":"llm.token","payload":%b}' % payload, BriefEnvelope))


def test_a_brief_envelopes_lone_surrogate_is_mended() -> None:
    frame = b'llm.token\0{"topic":"llm.token","payload":{"session_id":"s","token":"\\ud800"}}'
    assert read_payload(decode_frame(frame, BriefEnvelope)) == read_payload(decode_frame(frame))


def test_a_payload_of_an_unknown_topic_is_skipped() -> None:
    assert read_payload(Envelope(topic="moon.rise", payload={"a": 1})) is None


def test_a_payload_that_does_not_fit_its_topic_is_a_peers_error() -> None:
    with pytest.raises(PeerError, match="Unreadable LLMTokenPayload"):
        read_payload(Envelope(topic="llm.token", payload={"token": 5}))


@pytest.mark.parametrize(
    "frame",
    [b"", b"llm.token", b"llm.token\0", b"llm.token\0{", b'llm.token\0{"topic":"llm.end"}', b'\xff\0{"topic":"x"}'],
)
def test_a_frame_that_cannot_be_read_is_a_peers_error(frame: bytes) -> None:
    with pytest.raises(PeerError):
        decode_frame(frame)
    with pytest.raises(PeerError):
        decode_frame(frame, BriefEnvelope)


@settings(derandomize=True)
@given(st.binary())
def test_bytes_of_any_kind_raise_nothing_but_a_peers_error(frame: bytes) -> None:
    for kind in (Envelope, BriefEnvelope):
        with contextlib.suppress(PeerError):
            read_payload(decode_frame(frame, kind))


def test_a_project_directory_that_is_not_utf_8_still_has_frames_and_ports() -> None:
    project = b"/p\xff".decode(errors="surrogateescape")
    envelope = decode_frame(encode_frame(frame_head("t", "i", project), 0, {}))
    assert envelope.project_id == "/p\ufffd"
    assert default_ports(project) != default_ports("/p")


# Ports


@pytest.mark.parametrize(
    ("project_dir", "port"), [("/", 48254), ("/home/user/project-a", 52077), ("/tmp/workspace", 47481)]
)
def test_the_ports_follow_from_the_project_directory(project_dir: str, port: int) -> None:
    assert default_ports(project_dir) == (port, port + 1)


@settings(derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_ports_stay_in_their_range(project_dir: str) -> None:
    pub, rpc = default_ports(project_dir)
    assert 40_000 <= pub < 60_000
    assert rpc == pub + 1
