"""`antiphon.command`: which fields it accepts, and that every command is a request of the HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antiphon.api.http.app import HTTP_ONLY
from antiphon.api.http.operations import OPERATIONS
from antiphon.api.http.routing import Router
from antiphon.api.http.table import API
from antiphon.api.zmq.commands import ROUTES, request_of
from antiphon.core.facts import MessageQueued

from .peers import Peer, open_endpoint

pytestmark = pytest.mark.anyio

INVALID_PARAMS, REFUSED = -32602, -32000
FIELDS: dict[str, Any] = {
    "message_id": 1,
    "queued_id": 2,
    "title": "t",
    "labels": {},
    "pin_order": None,
    "model": "m",
    "system": "s",
    "tools": [],
    "mcp_server_ids": [],
}


@pytest.mark.parametrize("name", ROUTES)
def test_each_command_is_a_request_that_a_route_of_the_http_api_handles(name: str) -> None:
    method, path, _ = request_of(name, "one", FIELDS)
    operation, values = Router(OPERATIONS).match(method, API + path)
    assert operation is not None, f"{method} {path}"
    assert (operation.method, values["chat_id"]) == (method, "one")
    assert not operation.is_stream
    assert not operation.path.startswith(HTTP_ONLY)
    ids = {field: values[field] for field in ("message_id", "queued_id") if "{" + field + "}" in ROUTES[name].path}
    assert all(ids[field] == str(FIELDS[field]) for field in ids)


async def test_a_property_that_is_missing_or_null_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        session_id = (await peer.ask("session.create", {"title": "kept"}))["id"]
        labels = {"session_id": session_id, "command": "set_labels", "labels": {"a": "b"}}
        before = await peer.ask("antiphon.command", labels)
        for command, field in (
            ("rename", "title"),
            ("set_labels", "labels"),
            ("set_model", "model"),
            ("set_system", "system"),
        ):
            for given in ({field: None}, {}):
                params = {"session_id": session_id, "command": command, **given}
                error = (await peer.call("antiphon.command", params))["error"]
                assert (error["code"], error["message"]) == (INVALID_PARAMS, f"{command} needs {field}")
        unpinned = {"session_id": session_id, "command": "set_pin", "pin_order": None}
        after = await peer.ask("antiphon.command", unpinned)
        assert (after["title"], after["labels"]) == (before["title"], before["labels"]) == ("kept", {"a": "b"})


async def test_messages_with_an_empty_client_message_id_are_sent_as_those_without_one(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint) as peer:
        instance.worker.pause()
        session_id = (await peer.ask("session.create", {"content": "go"}))["id"]
        message = {"session_id": session_id, "command": "send_message", "content": "same"}
        for given in ({}, {"client_message_id": ""}, {"client_message_id": ""}, {"client_message_id": None}):
            await peer.ask("antiphon.command", message | given)
        for _ in range(2):
            await peer.ask("antiphon.command", message | {"client_message_id": "mine"})
        entries = await instance.store.read_entries(session_id, 0, limit=100, bytes_max=1 << 20)
        queued = [entry for entry in entries if isinstance(entry.fact, MessageQueued)]
        assert len(queued) == 5, "four without an id, one with an id"


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ("edit_message", "message_id"),
        ("edit_queued", "queued_id"),
        ("delete_queued", "queued_id"),
        ("move_queued", "queued_id"),
        ("promote_queued", "queued_id"),
    ],
)
async def test_the_id_of_a_message_is_refused_unless_it_is_a_number(command: str, field: str, tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        session_id = (await peer.ask("session.create", {}))["id"]
        for value in ("2", 2.0, True, None, [2], "../2"):
            params = {"session_id": session_id, "command": command, field: value, "content": "x"}
            error = (await peer.call("antiphon.command", params))["error"]
            assert (error["code"], error["message"]) == (INVALID_PARAMS, f"{command} needs {field}, a number"), value
        missing = {"session_id": session_id, "command": command, "content": "x"}
        error = (await peer.call("antiphon.command", missing))["error"]
        assert (error["code"], error["message"]) == (INVALID_PARAMS, f"{command} needs {field}")


async def test_an_unknown_command_and_an_unknown_or_empty_session_are_not_found(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), Peer(endpoint) as peer:
        session_id = (await peer.ask("session.create", {}))["id"]
        unknown = "00000000-0000-4000-8000-00000000000f"
        for given, command in ((session_id, "fly"), ("", "archive"), ("", "delete"), (unknown, "archive")):
            error = (await peer.call("antiphon.command", {"session_id": given, "command": command}))["error"]
            assert (error["code"], error["data"]["code"]) == (REFUSED, "not_found"), (given, command)
        assert [one["id"] for one in await peer.ask("session.list")] == [session_id]
