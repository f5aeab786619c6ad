"""The document: valid, whole, and true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import openapi_spec_validator
import pytest

from antiphon.api.http.operations import OPERATIONS
from antiphon.api.http.table import Policy
from antiphon.api.protocols import PROTOCOLS
from support.waiting import wait_until

from .api_client import ApiClient, random_chat_id
from .neighbour import open_neighbour
from .schema import ALL, DOCUMENT, check_answer, seen
from .wire import Answer

pytestmark = pytest.mark.anyio

MADE = [(path, method, described) for path, item in DOCUMENT["paths"].items() for method, described in item.items()]


def _iter_schemas(value: Any) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for below in value.values():
            yield from _iter_schemas(below)
    elif isinstance(value, list):
        for below in value:
            yield from _iter_schemas(below)


def test_it_has_every_route_and_no_other() -> None:
    assert {(method.upper(), path) for path, method, _ in MADE} == {(o.method, o.full_path) for o in ALL}


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert set(DOCUMENT) <= {"openapi", "info", "paths", "components", "servers", "tags", "security"}
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    names = [described["operationId"] for _, _, described in MADE]
    assert len(set(names)) == len(names)
    for path, method, described in MADE:
        assert path.startswith("/")
        assert method in ("get", "post", "put", "patch", "delete")
        assert set(described) <= {
            "operationId",
            "summary",
            "x-policy",
            "parameters",
            "responses",
            "security",
            "requestBody",
        }
        assert described["responses"]
        for status, answer in described["responses"].items():
            assert re.fullmatch("[1-5][0-9][0-9]", status)
            assert answer["description"]
        for parameter in described["parameters"]:
            assert {"name", "in", "required", "schema"} <= parameter.keys()
            assert parameter["in"] in ("path", "query", "header")
            assert parameter["required"] or parameter["in"] != "path"
        in_path = [parameter["name"] for parameter in described["parameters"] if parameter["in"] == "path"]
        assert in_path == re.findall(r"\{(\w+)\}", path)


def test_it_is_valid_by_the_official_validator() -> None:
    openapi_spec_validator.validate(DOCUMENT)


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    referred = {reference.removeprefix("#/components/schemas/") for reference in _iter_schemas(DOCUMENT)}
    assert referred <= schemas.keys()
    assert schemas.keys() <= referred, "nothing is described in vain"
    for name, schema in schemas.items():
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
        jsonschema_rs.meta.validate(schema)


OTHERS = tuple(prefix for protocol in PROTOCOLS for prefix in protocol.prefixes)


def test_it_says_who_may() -> None:
    policies = {(o.method, o.full_path): o.policy for o in ALL}
    for path, method, described in MADE:
        policy = policies[method.upper(), path]
        assert described["x-policy"] == policy
        assert ("security" in described) == (policy is not Policy.OPEN)
        if policy is not Policy.OPEN:
            by_cookie = [] if policy is Policy.SHARE else [{"cookie": []}]
            assert described["security"] == [{"bearer": []}, *by_cookie]
            assert {"401", "403", "404", "400" if path.startswith(OTHERS) else "422"} <= described["responses"].keys()
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"bearer", "cookie"}


def test_what_does_not_fit_is_noticed() -> None:
    """The other tests hold every answer they see against the document by `check_answer`."""
    whole = {"interrupted": True, "seq": 3}
    path = f"/api/v1/chats/{random_chat_id()}/interrupt"
    headers = {"content-type": "application/json"}
    check_answer("POST", path, Answer(200, headers, json.dumps(whole).encode()))
    for wrong in ({"interrupted": True}, whole | {"seq": "3"}, [], None):
        with pytest.raises(jsonschema_rs.ValidationError):
            check_answer("POST", path, Answer(200, headers, json.dumps(wrong).encode()))
    with pytest.raises(AssertionError):
        check_answer("POST", path, Answer(299, headers, b"{}"))


async def test_every_good_answer_of_every_route_fits(
    api: ApiClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One scene that gets each status the table promises (but the streams' and readiness's 503)."""
    seen.clear()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with open_neighbour(tmp_path / "neighbour") as (instance_id, session_id):
        await api.ask("GET", "/instances", token=api.admin_token)
        await api.ask("GET", f"/instances/{instance_id}", token=api.admin_token)
        for verb, body in (("activate", {}), ("messages", {"content": "/stall 600"}), ("interrupt", {})):
            path = f"/instances/{instance_id}/{verb}"
            await api.ask("POST", path, {"session_id": session_id, **body}, token=api.admin_token)
    chat_id = await api.make_chat("/think hm\n/call nothing {}\n/say done\n/fail auth", labels={"a": "b"})
    failed = await api.rested(chat_id)
    assert failed["last_error"]
    await api.ask("POST", f"/chats/{chat_id}/retry", {"turn_id": 2})
    await api.rested(chat_id)
    await api.send(chat_id, "/stall 600")
    turn_id = (await api.chat(chat_id))["turn_id"]
    queued = [(await api.send(chat_id, f"/stall 600\n{n}", client_message_id=str(n))).json["seq"] for n in range(4)]
    await api.ask("PATCH", f"/chats/{chat_id}/queue/{queued[0]}", {"content": "x"})
    await api.ask("POST", f"/chats/{chat_id}/queue/{queued[1]}/move", {"before": queued[0]})
    await api.ask("DELETE", f"/chats/{chat_id}/queue/{queued[2]}")
    await api.ask("POST", f"/chats/{chat_id}/queue/{queued[3]}/promote")
    await api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id})
    asking = await api.make_chat("/call pay {}")
    await wait_until(lambda: _asks(api, asking))
    await api.ask("POST", f"/chats/{asking}/approvals", {"tool_call_id": "call-2-1", "approved": False})
    client_tool = {"name": "pick", "description": "", "parameters": {"type": "object"}}
    for said, answer in (
        ("/call pick {}", ("tool-results", {"result": {"file": "a"}})),
        ('/call ask_person {"question": "q?"}', ("answers", {"answer": True})),
    ):
        waiting = await api.make_chat(said, tools=[client_tool])
        await wait_until(lambda waiting=waiting: _asks(api, waiting))
        await api.ask("POST", f"/chats/{waiting}/{answer[0]}", {"tool_call_id": "call-2-1", **answer[1]})
    await api.ask("PATCH", f"/chats/{chat_id}/messages/2", {"content": "/stall 600"})
    await api.ask("GET", f"/chats/{chat_id}/messages")
    await api.ask("GET", f"/chats/{chat_id}/state")
    await api.ask("GET", f"/chats/{chat_id}/versions")
    await api.ask("GET", f"/chats/{chat_id}/export?format=markdown")
    shown = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]
    await api.ask("POST", f"/chats/{chat_id}/fork", {"message_id": shown[0]["id"]})
    share = (await api.ask("POST", f"/chats/{chat_id}/shares")).json
    await api.ask("GET", f"/chats/{chat_id}/shares")
    await api.ask("GET", "/shared", token=share["secret"])
    await api.ask("PUT", f"/chats/{chat_id}/read")
    await api.ask("PUT", f"/chats/{chat_id}/diff-status", {"url": "https://example.org/1", "additions": 3})
    made = (await api.ask("POST", "/files", data=b"text", headers={"content-type": "text/plain"})).json
    for headers in ({}, {"range": "bytes=1-2"}, {"range": "bytes=9-"}, {"if-none-match": f'"{made["sha256"]}"'}):
        await api.ask("GET", f"/files/{made['file_id']}", headers=headers)
    named = await api.make_chat([{"type": "file-reference", "file_id": made["file_id"]}])
    named_share = (await api.ask("POST", f"/chats/{named}/shares")).json["secret"]
    for headers in ({}, {"range": "bytes=1-2"}, {"if-none-match": f'"{made["sha256"]}"'}):
        await api.ask("GET", f"/shared/files/{made['file_id']}", headers=headers, token=named_share)
    await api.ask("DELETE", f"/chats/{chat_id}/shares/{share['id']}")
    inbox = (await api.ask("GET", "/inbox?unread=true")).json
    await api.ask("PUT", f"/inbox/{inbox['notifications'][0]['id']}/read")
    await api.ask("PUT", "/inbox/read-all")
    await api.ask("PATCH", f"/chats/{chat_id}", {"title": "t", "pin_order": 2})
    await api.ask("GET", "/chats?limit=2")
    await api.ask("DELETE", f"/chats/{chat_id}")
    await api.ask("POST", "/session", {"token": api.token})
    await api.ask("GET", "/session")
    await api.ask("DELETE", "/session")
    for path, first, then in (
        ("providers", {"name": "acme", "kind": "rehearsal"}, {"name": "b"}),
        ("model-configs", {"name": "m", "model": "rehearsal"}, {"parameters": {"a": 1}}),
    ):
        made = (await api.ask("POST", f"/{path}", first, token=api.admin_token)).json
        await api.ask("GET", f"/{path}")
        await api.ask("GET", f"/{path}/{made['id']}")
        await api.ask("PATCH", f"/{path}/{made['id']}", then, token=api.admin_token)
        if path == "providers":
            await api.ask("POST", f"/{path}/{made['id']}/check", token=api.admin_token)
        await api.ask("DELETE", f"/{path}/{made['id']}", token=api.admin_token)
    await api.ask("PUT", "/me/prompt", {"prompt": "x"})
    await api.ask("GET", "/me/prompt")
    await api.ask("DELETE", "/me/prompt")
    made = (await api.ask("POST", "/tokens", {"owner": "x"}, token=api.admin_token)).json
    await api.ask("GET", "/tokens", token=api.admin_token)
    await api.ask("DELETE", f"/tokens/{made['id']}", token=api.admin_token)
    for path in ("healthz", "readyz", "metrics", "openapi.json"):
        await api.ask("GET", f"//{path}", token=api.admin_token)
    await api.ask("GET", "/mcp-servers")
    await api.ask("GET", "/models")
    await api.ask("GET", "/usage?from=2026-11-01&to=2026-11-30")
    routes = [operation for operation in OPERATIONS if not (operation.is_stream or operation.is_websocket)]
    promised = {(o.method, o.full_path, answer.status) for o in routes for answer in o.answers}
    assert promised - seen == {("GET", "/readyz", 503)}


async def _asks(api: ApiClient, chat_id: str) -> bool:
    return bool((await api.chat(chat_id))["status"] == "requires_action")
