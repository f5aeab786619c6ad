"""Revisions and headers, schemas, addresses and transcripts of MCP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import pytest
from mcp.shared.inbound import decode_header_value, encode_header_value
from mcp_types import METHOD_NOT_FOUND
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core.chat import advance
from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.parts import Data, Reasoning, Role, Text, ToolCall, ToolResult
from antiphon.errors import NotFound, Unavailable
from antiphon.mcp_settings import DEPTH_LABEL, depth_below
from antiphon.wire import jsonrpc
from antiphon.wire.codec import encode, encode_content
from antiphon.wire.jsonrpc import RpcRefused
from antiphon.wire.mcp_server import messages as m
from antiphon.wire.mcp_server import revisions as r
from antiphon.wire.mcp_server.errors import error_of
from antiphon.wire.mcp_server.listening import Subscription
from antiphon.wire.mcp_server.tools import TOOLS, tools_json
from antiphon.wire.mcp_server.transcript import transcript
from antiphon.wire.mcp_server.uris import Form, json_uri, parse_uri, transcript_uri
from antiphon.wire.stream import Frame

from .protocols import CHAT_ID, T0, recordings

NEW = r.WITHOUT_INITIALIZE[0]
META = {r.VERSION_KEY: NEW, r.CAPABILITIES_KEY: {}}


def request(method: str = "tools/list", **params: Any) -> jsonrpc.Request:
    (item,) = jsonrpc.parse_value({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).items
    assert isinstance(item, jsonrpc.Request)
    return item


def headers(version: str = NEW, method: str = "tools/list", name: str = "") -> dict[str, str]:
    found = {r.VERSION_HEADER: version, r.METHOD_HEADER: method}
    return found | ({r.NAME_HEADER: name} if name else {})


def test_all_revisions_of_the_official_sdk_are_supported() -> None:
    assert set(r.WITH_INITIALIZE) == set(HANDSHAKE_PROTOCOL_VERSIONS)
    assert set(r.WITHOUT_INITIALIZE) == set(MODERN_PROTOCOL_VERSIONS)
    for revision in r.WITH_INITIALIZE:
        assert m.initialize_result(revision)["protocolVersion"] == revision
        assert r.revision_of(request(), {r.VERSION_HEADER: revision}) == revision
    assert m.initialize_result("1999-01-01")["protocolVersion"] == HANDSHAKE_PROTOCOL_VERSIONS[-1]
    assert r.revision_of(request(), {}) == r.UNNAMED
    assert r.revision_of(request("initialize"), {r.VERSION_HEADER: "1999-01-01"}) == r.WITH_INITIALIZE[0]
    assert r.revision_of(request(_meta=META), headers()) == NEW


@pytest.mark.parametrize(
    ("asked", "given", "code"),
    [
        (request(), {r.VERSION_HEADER: "1999-01-01"}, -32022),
        (request(), {r.VERSION_HEADER: NEW}, -32602),
        (request(_meta={r.VERSION_KEY: NEW}), headers(), -32602),
        (request(_meta={r.VERSION_KEY: 5, r.CAPABILITIES_KEY: {}}), headers(), -32602),
        (request(_meta=META), {}, -32020),
        (request(_meta=META), headers("2025-11-25"), -32020),
        (request(_meta=META), headers(method="tools/call"), -32020),
        (request(_meta=META | {r.VERSION_KEY: "2099-01-01"}), headers("2099-01-01"), -32022),
        (request("tools/call", _meta=META, name="a"), headers(method="tools/call"), -32020),
        (request("tools/call", _meta=META, name="a"), headers(method="tools/call", name="b"), -32020),
        (request("tools/call", _meta=META, name="é"), headers(method="tools/call", name="=?base64?é?="), -32020),
        (request("resources/read", _meta=META, uri="a"), headers(method="resources/read", name="b"), -32020),
    ],
)
def test_headers_that_contradict_the_body_are_refused(
    asked: jsonrpc.Request, given: Mapping[str, str], code: int
) -> None:
    with pytest.raises(RpcRefused) as refused:
        r.revision_of(asked, given)
    assert (refused.value.rpc_code, refused.value.status) == (code, 400)
    if code == -32022:
        assert refused.value.data["supported"] == list(r.REVISIONS)


@pytest.mark.parametrize("text", ["plain", "", " padded ", "é", "a\nb", "=?base64?x?=", "antiphon://chats/x", "\x7f"])
def test_headers_are_encoded_as_the_official_sdk_does(text: str) -> None:
    assert decode_header_value(r.encoded_header(text)) == text
    assert r.decoded_header(encode_header_value(text)) == text
    given = headers(method="tools/call") | {r.NAME_HEADER: encode_header_value(text)}
    assert r.revision_of(request("tools/call", _meta=META, name=text), given) == NEW


def test_results_have_the_fields_of_their_revision() -> None:
    assert m.in_revision("tools/list", {"tools": []}, "2025-11-25") == {"tools": []}
    found = m.in_revision("tools/list", {"tools": []}, NEW)
    assert found == {"resultType": "complete", "tools": [], "ttlMs": m.TTL_MS, "cacheScope": "public"}
    assert m.in_revision("resources/read", {}, NEW)["cacheScope"] == "private"
    assert m.in_revision("tools/call", {}, NEW) == {"resultType": "complete"}


def test_errors_of_this_server_have_codes_outside_of_the_reserved_ones() -> None:
    assert error_of(503, {"code": "unavailable", "message": "m"})["code"] == 503
    assert error_of(405, {"code": "invalid", "message": "m"})["code"] == METHOD_NOT_FOUND
    assert error_of(422, {"code": "invalid", "message": "m", "field": "token"})["code"] == jsonrpc.INVALID_REQUEST
    assert error_of(422, {"code": "invalid", "message": "m"})["code"] == jsonrpc.PARSE_ERROR
    failed = m.failed_result(NotFound())
    assert failed["isError"]
    assert failed["_meta"]["antiphon/error"] == {"code": "not_found", "what": "chat"}
    assert m.failed_result(Unavailable())["_meta"]["antiphon/error"]["retry_after_ms"] == 1000


def test_schemas_are_valid_and_have_no_references() -> None:
    for shown, tool in zip(tools_json(), TOOLS, strict=True):
        for name in ("inputSchema", "outputSchema"):
            jsonschema_rs.meta.validate(shown[name])
            assert shown[name]["type"] == "object"
            assert "$ref" not in str(shown[name])
        assert shown["annotations"]["readOnlyHint"] is tool.hints["readOnlyHint"]
        for described in shown["inputSchema"]["properties"].values():
            assert described.get("description") or "type" in described or "enum" in described


def test_addresses_of_chats() -> None:
    assert parse_uri(transcript_uri(CHAT_ID)) == (CHAT_ID, Form.TRANSCRIPT)
    assert parse_uri(json_uri(CHAT_ID.upper())) == (CHAT_ID, Form.JSON)
    for uri in ("", "antiphon://chats/", "antiphon://chats/x", f"antiphon://chats/{CHAT_ID}/", f"file://{CHAT_ID}",
                f"antiphon://chats/{CHAT_ID}/messages/1", "antiphon://chats/" + "x" * 10_000):  # fmt: skip
        assert parse_uri(uri) is None


# --- subscriptions


def chat_event(kind: str, chat_id: str = CHAT_ID) -> Frame:
    return Frame(None, 0, "chat", encode({"type": "chat", "kind": kind, "chat": {"id": chat_id}}))


def test_a_subscription_has_the_changes_that_it_names() -> None:
    uris = [transcript_uri(CHAT_ID), json_uri(CHAT_ID), "antiphon://files/x", "x"]
    wanted = {"resourceSubscriptions": [*uris, uris[0]], "resourcesListChanged": True, "toolsListChanged": True}
    made = Subscription.of(jsonrpc.NULL, {"notifications": wanted})
    assert json.loads(made.acknowledged())["params"]["notifications"] == {
        "resourceSubscriptions": uris[:2],
        "resourcesListChanged": True,
    }

    def shown(frame: Frame) -> list[str]:
        found = [json.loads(data) for data in made.notifications(frame)]
        return [one["params"].get("uri", one["method"]) for one in found]

    changed = "notifications/resources/list_changed"
    assert shown(chat_event("status_change")) == uris[:2]
    assert shown(chat_event("created", CHAT_ID[:-1] + "2")) == [changed]
    assert shown(Frame(None, 0, "resync", b"")) == [changed, *uris[:2]]
    assert shown(Frame(None, 0, "inbox", b"")) == []
    silent = Subscription.of(jsonrpc.NULL, {"notifications": {}})
    assert silent.notifications(chat_event("created")) == []


@pytest.mark.parametrize(
    "params",
    [{}, {"notifications": 5}, {"notifications": {"resourceSubscriptions": "x"}},
     {"notifications": {"resourceSubscriptions": [5]}}, {"notifications": {"resourceSubscriptions": ["x"] * 1_001}}],
)  # fmt: skip
def test_a_subscription_that_cannot_be_right_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(RpcRefused):
        Subscription.of(jsonrpc.NULL, params)


# --- transcripts


def entry(seq: int, role: Role, *parts: Any) -> Entry:
    """A message of the history."""
    found = recordings(1)[0].entries[0]
    recorded = replace(found.recorded, seq=seq, fact=MessageAppended(role=role, turn_id=2, content_size=0))
    return replace(found, recorded=recorded, content=encode_content(parts))


def test_a_transcript_has_every_part_and_no_text_breaks_out_of_its_block() -> None:
    chat, _ = advance(None, c.CreateChat(owner_id="o", title="a\nb"), at=T0)
    answer = (Reasoning("a\nb"), Text("hello"), ToolCall("c", "t", {"a": "```"}), Data(data={"x": 1}))
    result = ToolResult("c", "t", "```\n# no heading", is_error=True)
    entries = [entry(2, Role.USER, Text("hi")), entry(4, Role.ASSISTANT, *answer), entry(6, Role.TOOL, result)]
    text = transcript(CHAT_ID, chat, entries, has_more=True)
    assert "before_id 2" in text
    blocks = ('````\nt {"a":"```"}\n````', '{"type":"data","data":{"x":1}}', "````\n```\n# no heading\n````")
    for piece in ("# a b", "## User", "## Assistant", "> a\n> b", "hello", "Error of t:", *blocks):
        assert piece in text, piece
    long = [entry(n, Role.USER, Text("x" * 400_000)) for n in range(2, 12)]
    cut = transcript(CHAT_ID, chat, long, has_more=False)
    assert len(cut) < 1_000_000
    assert "before_id 10" in cut


# --- depth


def test_the_depth_of_chats_is_counted_in_labels() -> None:
    assert depth_below({}) == 1
    assert depth_below({DEPTH_LABEL: "3"}) == 4
    assert depth_below({DEPTH_LABEL: "x"}) == 1
    assert depth_below({DEPTH_LABEL: "9" * 5_000}) == 1
