"""Requests as they are: the agent card, versions, and everything that is wrong, which is never a 500."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from random import Random
from typing import Any

import pytest

from antiphon.api.a2a.card import PATH as CARD
from antiphon.api.a2a.methods import METHODS, VERSION_HEADER
from antiphon.api.a2a.protocol import HTTP_ROUTES
from antiphon.api.http.table import Operation
from antiphon.wire.a2a import errors as e
from antiphon.wire.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, REFUSED

from ..http.api_client import ApiClient, open_api
from ..http.invalid_requests import BROKEN_JSON, WRONG_VALUES, random_value
from ..http.wire import Answer

pytestmark = pytest.mark.anyio

URL = "//a2a"
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "use-a2a.md"
(TOML,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
FUZZED = 300
TASK = "task_" + "0" * 32 + "_2"
STRINGS = (*METHODS, "2.0", "x", "", "\ud800", "\x00", TASK, "ROLE_USER", "/say hi", "aGk=", "1", "approved")
KEYS = (
    *("message", "messageId", "message_id", "role", "parts", "text", "raw", "url", "data", "mediaType", "filename"),
    *("contextId", "taskId", "id", "configuration", "returnImmediately", "historyLength", "metadata", "antiphon"),
    *("pageSize", "pageToken", "status", "toolCallId", "approved", "result", "tools", "name", "labels", "whenBusy"),
)


def said(text: str = "/say hi", **fields: Any) -> dict[str, Any]:
    return {"messageId": f"m {Random().random()}", "role": "ROLE_USER", "parts": [{"text": text}], **fields}


def sending(**fields: Any) -> dict[str, Any]:
    return {"message": said(), "configuration": {"returnImmediately": True}, **fields}


async def post(api: ApiClient, method: Any, params: Any = None, version: str = "1.0", **more: Any) -> Answer:
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params, **more}
    return await api.ask("POST", URL, body, headers={VERSION_HEADER: version} if version else None)


def error_of(answer: Answer) -> dict[str, Any]:
    error: dict[str, Any] = answer.json["error"]
    assert answer.json["jsonrpc"] == "2.0"
    assert isinstance(error["code"], int)
    assert error["message"]
    assert all(item["@type"].startswith("type.googleapis.com/") for item in error.get("data", ()))
    return error


async def code_of(api: ApiClient, method: Any, params: Any = None, **more: Any) -> int:
    answer = await post(api, method, params, **more)
    assert (answer.status, answer.json["id"]) == (200, 7)
    return int(error_of(answer)["code"])


async def test_the_card_names_the_address_of_the_request_and_may_be_cached(api: ApiClient) -> None:
    answer = await api.ask("GET", f"/{CARD}", token=None)
    found = {one["protocolBinding"]: one["url"] for one in answer.json["supportedInterfaces"]}
    assert found == {"JSONRPC": "http://127.0.0.1/a2a", "HTTP+JSON": "http://127.0.0.1/a2a/v1"}
    assert answer.json["capabilities"] == {"streaming": True, "pushNotifications": False, "extendedAgentCard": False}
    assert "max-age" in answer.headers["cache-control"]
    same = await api.ask("GET", f"/{CARD}", token=None, headers={"if-none-match": answer.headers["etag"]})
    assert (same.status, same.body) == (304, b"")


@pytest.mark.parametrize("given", [tomllib.loads(TOML)["config"], {"agent_card": {"skills": 5}}])
async def test_the_operator_names_the_agent_and_its_skills(tmp_path: Path, given: dict[str, Any]) -> None:
    async with open_api(data=tmp_path / "data", config=given) as opened:
        answer = await opened.ask("GET", f"/{CARD}", token=None)
        if answer.status == 200:
            assert (answer.json["name"], answer.json["skills"][0]["id"]) == ("Librarian", "find")
            assert answer.json["skills"][0]["tags"] == ["books"]
        else:
            assert error_of(answer)["message"].startswith("config.agent_card: ")


async def test_only_version_1_0_is_spoken(api: ApiClient) -> None:
    for version in ("1.0", "1.0.3"):
        assert (await post(api, "ListTasks", {}, version=version)).json["result"]["tasks"] == []
    assert "result" in (await api.ask("POST", f"{URL}?A2A-Version=1.0", {
        "jsonrpc": "2.0", "id": 1, "method": "ListTasks"})).json  # fmt: skip
    for version in ("", "0.3", "1.1", "2.0", "x"):
        assert await code_of(api, "ListTasks", {}, version=version) == e.VERSION_NOT_SUPPORTED


async def test_a_request_without_a_good_token_is_refused_in_the_shape_of_the_protocol(api: ApiClient) -> None:
    for token in (None, "wrong"):
        answer = await api.ask("POST", URL, {"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}, token=token)
        assert (answer.status, error_of(answer)["code"]) == (401, REFUSED)
        assert answer.headers["www-authenticate"] == "Bearer"
    answer = await api.ask("GET", URL)
    assert (answer.status, error_of(answer)["code"]) == (405, INVALID_REQUEST)


async def test_what_is_no_request_is_an_error_of_json_rpc(api: ApiClient) -> None:
    for what, data in BROKEN_JSON.items():
        answer = await api.ask("POST", URL, data=data)
        assert error_of(answer)["code"] in (PARSE_ERROR, INVALID_REQUEST), what
    bodies: list[Any] = [{}, [], [{"jsonrpc": "2.0"}], {"jsonrpc": "1.0", "id": 1, "method": "GetTask"}]
    bodies += [{"jsonrpc": "2.0", "method": "GetTask"}, {"jsonrpc": "2.0", "id": [], "method": "GetTask"}]
    for body in bodies:
        assert error_of(await api.ask("POST", URL, body))["code"] == INVALID_REQUEST
    for method in ("", "message/send", "x"):
        assert await code_of(api, method, {}) == METHOD_NOT_FOUND
    for name in METHODS:
        for params in ([], [1]):
            assert await code_of(api, name, params) in (INVALID_PARAMS, e.PUSH_NOT_SUPPORTED, e.UNSUPPORTED_OPERATION)


async def test_each_wrong_parameter_is_named(api: ApiClient) -> None:
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("SendMessage", {}, ""),
        ("SendMessage", {"message": {}}, "message"),
        ("SendMessage", {"message": said(parts=[])}, "message.parts"),
        ("SendMessage", {"message": said(role="ROLE_AGENT")}, "message.role"),
        ("SendMessage", {"message": said(messageId="")}, "message.messageId"),
        ("SendMessage", {"message": said(parts=[{"text": "x", "raw": "eA=="}])}, "message.parts[0]"),
        ("SendMessage", {"message": said(parts=[{"raw": "?"}])}, "message.parts[0]"),
        ("SendMessage", {"message": said(parts=[{"data": {"toolCallId": "c", "result": 1}}])}, "message.taskId"),
        ("SendMessage", {"message": said(contextId="x" * 300)}, "message.contextId"),
        ("SendMessage", sending(configuration={"historyLength": -1}), "configuration.historyLength"),
        ("SendMessage", sending(metadata={"antiphon": {"whenBusy": "x"}}), "metadata.antiphon.whenBusy"),
        ("GetTask", {}, ""),
        ("GetTask", {"id": TASK, "historyLength": -1}, "historyLength"),
        ("ListTasks", {"pageSize": 0}, "pageSize"),
        ("ListTasks", {"page_size": 101}, "pageSize"),
        ("ListTasks", {"status": "TASK_STATE_RUNNING"}, "status"),
        ("ListTasks", {"pageToken": "x"}, "pageToken"),
        ("ListTasks", {"statusTimestampAfter": "yesterday"}, "statusTimestampAfter"),
    ]
    for method, params, field in wrong:
        error = error_of(await post(api, method, params))
        assert error["code"] == INVALID_PARAMS, (method, params)
        places = [v["field"] for item in error["data"] for v in item.get("fieldViolations", ())]
        assert places == ([field] if field else []), (method, params, error)


async def test_push_notifications_and_another_card_are_refused_as_the_protocol_says(api: ApiClient) -> None:
    for method in METHODS:
        if "Push" in method:
            assert await code_of(api, method, {"taskId": TASK}) == e.PUSH_NOT_SUPPORTED
    pushed = sending(configuration={"taskPushNotificationConfig": {"url": "https://example.org"}})
    assert await code_of(api, "SendMessage", pushed) == e.PUSH_NOT_SUPPORTED
    assert await code_of(api, "GetExtendedAgentCard") == e.UNSUPPORTED_OPERATION


async def test_wrong_values_of_every_field_are_errors_of_the_protocol(api: ApiClient) -> None:
    for value in WRONG_VALUES:
        for field in ("messageId", "role", "parts", "contextId", "taskId", "metadata"):
            await check(api, "SendMessage", sending(message=said(**{field: value})))
        for field in ("message", "configuration", "metadata"):
            await check(api, "SendMessage", sending() | {field: value})
        for field in ("text", "raw", "url", "data", "mediaType", "filename"):
            await check(api, "SendMessage", sending(message=said(parts=[{"text": "/say x", field: value}])))
        for field in ("id", "historyLength"):
            await check(api, "GetTask", {"id": TASK, field: value})
        for field in ("contextId", "status", "pageSize", "pageToken", "statusTimestampAfter", "includeArtifacts"):
            await check(api, "ListTasks", {field: value})


async def test_random_requests_are_answered_in_the_shape_of_the_protocol(api: ApiClient) -> None:
    random = Random(11)
    for _ in range(FUZZED):
        method = random.choice([name for name in METHODS if name not in ("SendStreamingMessage", "SubscribeToTask")])
        params = random_value(random, 4, STRINGS, KEYS)
        if method == "SendMessage" and random.random() < 0.7:
            part = {random.choice(KEYS): random_value(random, 2, STRINGS, KEYS)}
            params = sending(message=said(parts=[{"text": "/say x"}, part]))
            params["message"] |= {random.choice(KEYS): random_value(random, 2, STRINGS, KEYS)}
        await check(api, method, params)


async def check(api: ApiClient, method: str, params: Any) -> None:
    answer = await post(api, method, params)
    assert answer.status == 200, (method, params, answer.body)
    assert "result" in answer.json or error_of(answer), (method, params)
    assert answer.json.get("error", {}).get("code") != -32603, (method, params, answer.body)
    assert len(answer.body) < 100_000


# --- the HTTP+JSON binding


def path_of(operation: Operation, name: str = TASK) -> str:
    return "/" + operation.full_path.replace("{id}", name).replace("{config_id}", "c")


def status_of(answer: Answer) -> str:
    """The name of the error's status in Google's error model."""
    error = answer.json["error"]
    assert error["code"] == answer.status
    assert error["message"]
    return str(error["status"])


@pytest.mark.parametrize("operation", HTTP_ROUTES, ids=lambda operation: operation.name)
async def test_each_route_of_the_http_binding_refuses_in_its_own_shape(api: ApiClient, operation: Operation) -> None:
    path, method = path_of(operation), operation.method
    refused = await api.ask(method, path, {} if operation.body is not None else None, token="wrong")
    assert (refused.status, status_of(refused)) == (401, "UNAUTHENTICATED")
    old = await api.ask(method, path_of(operation, f"{TASK}:cancel" if method == "POST" else TASK),
                        {} if operation.body is not None else None)  # fmt: skip
    assert (old.status, status_of(old)) == (400, "FAILED_PRECONDITION"), "a request of version 0.3"
    if operation.body is None:
        return
    for what, data in BROKEN_JSON.items():
        if data or not operation.is_body_optional:
            answer = await api.ask(method, path, data=data, headers={VERSION_HEADER: "1.0"})
            assert 400 <= answer.status < 500, what
            assert status_of(answer), what


async def test_tasks_have_addresses_with_verbs(api: ApiClient) -> None:
    version = {VERSION_HEADER: "1.0"}
    for method, name, status in (
        ("GET", TASK, 404), ("GET", f"{TASK}:subscribe", 404), ("POST", f"{TASK}:cancel", 404),
        ("POST", TASK, 404), ("POST", f"{TASK}:x", 404), ("GET", f"{TASK}:cancel", 404), ("GET", "x" * 5_000, 400),
    ):  # fmt: skip
        answer = await api.ask(method, f"//a2a/v1/tasks/{name}", headers=version)
        assert (answer.status, status_of(answer)[:4]) == (status, "NOT_" if status == 404 else "INVA"), name
    for query in (
        "pageSize=0",
        "pageSize=x",
        "status=x",
        "historyLength=-1",
        "includeArtifacts=maybe",
        "pageToken=x",
    ):
        answer = await api.ask("GET", f"//a2a/v1/tasks?{query}", headers=version)
        assert (answer.status, status_of(answer)) == (400, "INVALID_ARGUMENT"), query
    answer = await api.ask("GET", "//a2a/v1/tasks?pageSize=5&includeArtifacts=true", headers=version)
    assert (answer.json["pageSize"], answer.headers["content-type"]) == (5, "application/a2a+json")
