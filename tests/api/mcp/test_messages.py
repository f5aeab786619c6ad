"""Messages of JSON-RPC as they are: each revision, batches, cancellation, and everything that is wrong."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from antiphon.api.http.answers import ANSWER_BYTES_MAX
from antiphon.api.mcp.protocol import PATH
from antiphon.api.mcp.resources import FILE_BYTES_MAX
from antiphon.observe.metrics import METRICS
from antiphon.wire.mcp_server.revisions import (
    CAPABILITIES_KEY,
    VERSION_KEY,
    WITH_BATCHES,
    WITH_INITIALIZE,
    WITHOUT_INITIALIZE,
)
from antiphon.wire.mcp_server.tools import TOOLS
from support.waiting import wait_until

from ..http.api_client import ApiClient
from ..http.invalid_requests import BROKEN_JSON, WRONG_VALUES, random_value
from ..http.wire import Answer

pytestmark = pytest.mark.anyio

NEW = WITHOUT_INITIALIZE[0]
URL = f"/{PATH}"
FUZZED = 500
METHODS = (
    *("initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/templates/list"),
    *("resources/read", "server/discover", "notifications/initialized", "notifications/cancelled", "", "x"),
)
STRINGS = (*(tool.name for tool in TOOLS), *METHODS, "2.0", "x", "\ud800", "antiphon://chats/x", NEW, "0")
KEYS = (
    *("jsonrpc", "id", "method", "params", "name", "arguments", "uri", "cursor", "_meta", "text", "chat_id"),
    *("wait_s", "limit", "labels", "progressToken", "requestId", "protocolVersion", VERSION_KEY, CAPABILITIES_KEY),
)


def message(method: str, params: Any = None, echoed: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": echoed, "method": method, "params": {} if params is None else params}


async def post(api: ApiClient, body: Any, revision: str = "", **headers: str) -> Answer:
    given = {"mcp-protocol-version": revision} if revision else {}
    return await api.ask("POST", URL, body, headers=given | headers)


async def result(api: ApiClient, method: str, params: Any = None, revision: str = "") -> dict[str, Any]:
    answer = await post(api, message(method, params), revision)
    assert answer.status == 200, answer.body
    assert (answer.json["jsonrpc"], answer.json["id"]) == ("2.0", 1)
    found: dict[str, Any] = answer.json["result"]
    return found


def error_of(answer: Answer) -> dict[str, Any]:
    """The error of JSON-RPC."""
    assert answer.json["jsonrpc"] == "2.0"
    error: dict[str, Any] = answer.json["error"]
    assert isinstance(error["code"], int)
    assert error["message"]
    return error


# --- revisions


@pytest.mark.parametrize("revision", WITH_INITIALIZE)
async def test_a_client_of_each_revision_initializes_and_lists(api: ApiClient, revision: str) -> None:
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    answer = await post(api, message("initialize", params))
    assert answer.json["result"]["protocolVersion"] == revision
    assert answer.json["result"]["serverInfo"]["name"] == "antiphon"
    session = {"mcp-session-id": answer.headers["mcp-session-id"]}
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    accepted = await post(api, initialized, revision, **session)
    assert (accepted.status, accepted.body) == (202, b"")
    assert len((await result(api, "tools/list", revision=revision))["tools"]) == len(TOOLS)
    assert await result(api, "ping", revision=revision) == {}


async def test_a_client_without_initialize_says_everything_in_each_request(api: ApiClient) -> None:
    meta = {"_meta": {VERSION_KEY: NEW, CAPABILITIES_KEY: {}}}
    named = {"mcp-method": "server/discover"}
    answer = await post(api, message("server/discover", meta), NEW, **named)
    assert NEW in answer.json["result"]["supportedVersions"]
    assert answer.json["result"]["resultType"] == "complete"
    for method, status, code in (("ping", 404, -32601), ("initialize", 404, -32601), ("x", 404, -32601)):
        answer = await post(api, message(method, meta), NEW, **{"mcp-method": method})
        assert (answer.status, error_of(answer)["code"]) == (status, code)
    answer = await post(api, message("server/discover", meta), NEW, **{"mcp-method": "ping"})
    assert (answer.status, error_of(answer)["code"]) == (400, -32020)
    answer = await post(api, message("tools/list"), "1999-01-01")
    assert (answer.status, error_of(answer)["code"]) == (400, -32022)
    assert error_of(await post(api, message("server/discover")))["code"] == -32601


@pytest.mark.parametrize("revision", ["", *WITH_INITIALIZE])
async def test_batches_belong_to_the_revisions_that_have_them(api: ApiClient, revision: str) -> None:
    start = {"name": "start_chat", "arguments": {"text": "/stall 60", "wait_s": 500}}
    batch = [message("ping", echoed="a"), {"jsonrpc": "2.0", "method": "x"}, 5, message("tools/call", start, 7),
             message("initialize", {"protocolVersion": "2025-03-26"}, 8), message("nope", echoed=9)]  # fmt: skip
    answer = await post(api, batch, revision)
    if revision and revision not in WITH_BATCHES:
        assert (answer.status, error_of(answer)["code"]) == (400, -32600)
        return
    assert [one["id"] for one in answer.json] == ["a", None, 7, 8, 9]
    assert [one.get("error", {}).get("code") for one in answer.json] == [None, -32600, None, -32600, -32601]
    assert answer.json[2]["result"]["structuredContent"]["status"] == "running"
    stop = {"chat_id": answer.json[2]["result"]["structuredContent"]["chat_id"]}
    await result(api, "tools/call", {"name": "stop", "arguments": stop})
    assert (await post(api, [{"jsonrpc": "2.0", "method": "x"}], revision)).status == 202
    assert (await post(api, [], revision)).status == 400


async def test_each_request_of_a_batch_has_its_own_idempotency_key(api: ApiClient) -> None:
    calls = [{"name": "start_chat", "arguments": {"text": text}} for text in ("/say a", "/say a", "/say b")]
    batch = [message("tools/call", one, number) for number, one in enumerate(calls)]
    answers = [await post(api, batch, "2025-03-26", **{"idempotency-key": "é" * 200}) for _ in range(2)]
    first, again = ([one["result"]["structuredContent"]["chat_id"] for one in answer.json] for answer in answers)
    assert len(set(first)) == 3
    assert first == again
    for text in ("/say c", "/say c"):  # a key may be longer than the id of a message
        sent = {"name": "send_message", "arguments": {"chat_id": first[0], "text": text}}
        done = await post(api, message("tools/call", sent), "", **{"idempotency-key": "k" * 200})
        assert done.json["result"]["structuredContent"]["answer"] == "c"
    assert len((await api.ask("GET", f"/chats/{first[0]}/messages")).json["messages"]) == 4


async def test_the_responses_to_a_batch_have_a_maximum_size(api: ApiClient) -> None:
    headers = {"content-type": "application/x-any"}
    uploaded = await api.ask("POST", "/files", data=bytes(FILE_BYTES_MAX), headers=headers)
    uri = f"antiphon://files/{uploaded.json['file_id']}"
    answer = await post(api, [message("resources/read", {"uri": uri}, n) for n in range(10)])
    codes = [one.get("error", {}).get("code") for one in answer.json]
    assert codes == [None] * 3 + [413] * 7
    assert len(answer.body) < ANSWER_BYTES_MAX + 6 * 1024 * 1024


# --- waiting


async def test_a_notification_ends_the_wait_of_its_client_only(api: ApiClient) -> None:
    begun = await result(api, "tools/call", {"name": "start_chat", "arguments": {"text": "/stall 60", "wait_s": 0}})
    chat = {"chat_id": begun["structuredContent"]["chat_id"]}
    waiting = asyncio.create_task(
        post(
            api,
            message("tools/call", {"name": "wait_for_answer", "arguments": {**chat, "wait_s": 500}}, "w"),
            accept="text/event-stream",
            **{"mcp-session-id": "mine"},
        )
    )
    await wait_until(lambda: METRICS.watchers._value.get() == 1, "the call waits")
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "w"}}
    for session in ("other", "mine"):
        assert METRICS.watchers._value.get() == 1
        answer = await post(api, cancelled, **{"mcp-session-id": session})
        assert answer.status == 202
    assert (await waiting).body == b""
    assert (await api.chat(chat["chat_id"]))["status"] == "running"
    await result(api, "tools/call", {"name": "stop", "arguments": chat})


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_wait_ends_when_its_token_is_revoked(api: ApiClient, accept: str) -> None:
    other = await api.as_owner("short-lived")
    start = {"name": "start_chat", "arguments": {"text": "/say secret\n/stall 60", "wait_s": 500}}
    waiting = asyncio.create_task(post(other, message("tools/call", start), accept=accept))
    await wait_until(lambda: METRICS.watchers._value.get() == 1, "the call waits")
    await api.instance.tokens.revoke(other.token_id)
    answer = (await waiting).body
    assert b'"isError":true' in answer
    assert b'"code":"unauthenticated"' in answer
    assert b'"answer"' not in answer


async def test_a_client_that_accepts_no_stream_waits_for_json(api: ApiClient) -> None:
    given = {"name": "start_chat", "arguments": {"text": "/say a"}}
    answer = await post(api, message("tools/call", given), accept="application/json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["result"]["structuredContent"]["answer"] == "a"
    answer = await post(api, message("tools/call", given), accept="application/json, text/event-stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.startswith(b'event: message\ndata: {"jsonrpc":"2.0","result":')


# --- what is wrong


async def test_errors_before_a_message_is_read_have_the_shape_of_the_protocol(api: ApiClient) -> None:
    for token in (None, "wrong"):
        answer = await api.ask("POST", URL, message("ping"), token=token)
        assert (answer.status, error_of(answer)["code"]) == (401, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    answer = await api.ask("POST", URL, message("ping"), headers={"origin": "https://evil.example"})
    assert (answer.status, error_of(answer)["code"]) == (403, 403)
    for method in ("GET", "DELETE", "PUT"):
        answer = await api.ask(method, URL)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        error_of(answer)
    answer = await api.ask("POST", f"{URL}?token=x", message("ping"))
    assert (answer.status, error_of(answer)["code"]) == (400, -32600)


async def test_a_body_that_is_no_message_is_an_error_of_the_protocol(api: ApiClient) -> None:
    for what, data in BROKEN_JSON.items():
        answer = await api.ask("POST", URL, data=data)
        if what == "a list":  # a batch of messages that are none
            assert [one["error"]["code"] for one in answer.json] == [-32600, -32600]
            continue
        assert answer.status in (400, 413), what
        assert error_of(answer)["code"] in (-32700, -32600, 413), what
        assert len(answer.body) < 2_000, what


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, -32600),
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, -32600),
        (message("ping", echoed=None), -32600),
        (message("ping", echoed=1.5), -32600),
        (message("ping", echoed=[1]), -32600),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, -32600),
        (message("ping", [1]), -32602),
        (message("initialize"), -32602),
        (message("tools/call"), -32602),
        (message("tools/call", {"name": "stop", "arguments": []}), -32602),
        (message("tools/list", {"cursor": "x"}), -32602),
        (message("resources/list", {"cursor": "?"}), -32602),
        (message("resources/list", {"cursor": 5}), -32602),
        (message("resources/read"), -32602),
        (message("resources/read", {"uri": "file:///etc/passwd"}), -32002),
        (message("prompts/list"), -32601),
        (message("logging/setLevel", {"level": "info"}), -32601),
        (message("resources/subscribe", {"uri": "x"}), -32601),
    ],
)
async def test_a_message_that_cannot_be_answered_says_why(api: ApiClient, body: Any, code: int) -> None:
    assert error_of(await post(api, body))["code"] == code


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
async def test_wrong_arguments_are_results_that_a_model_can_read(api: ApiClient, tool: Any) -> None:
    for field in tool.arguments.__struct_fields__:
        for value in WRONG_VALUES:
            given: dict[str, Any] = {"text": "/say a", "chat_id": "x", "tool_call_id": "c", "wait_s": 0}
            known = {name: given[name] for name in given if name in tool.arguments.__struct_fields__}
            found = await result(api, "tools/call", {"name": tool.name, "arguments": known | {field: value}})
            assert found.get("isError") or found["structuredContent"], (field, value)


async def test_fuzzed_messages_are_answered_or_refused(api: ApiClient) -> None:
    random = Random(7)
    for _ in range(FUZZED):
        body: Any = message(random.choice(METHODS), random_value(random, 4, STRINGS, KEYS), random.choice((1, "x")))
        if random.random() < 0.5 and isinstance(body["params"], dict):
            arguments = random_value(random, 2, STRINGS, KEYS)
            body["params"] |= {"name": random.choice(TOOLS).name, "arguments": arguments}
        body[random.choice(KEYS)] = random_value(random, 2, STRINGS, KEYS)
        revision = random.choice(("", *WITH_INITIALIZE, NEW, "x"))
        answer = await post(api, body if random.random() < 0.8 else [body, body], revision)
        assert answer.status in (200, 202, 400, 404), (body, answer.body)
        if answer.status >= 400:
            error_of(answer)
