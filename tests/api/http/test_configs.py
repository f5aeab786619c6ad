"""Configuration over HTTP: what is told to whom, and that a secret goes in and never comes out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from antiphon.models.secret_box import make_key
from antiphon.testing.model_server import FakeModelServer, Fault

from .door import Door, open_door, random_chat_id

pytestmark = pytest.mark.anyio

CANARY = "sk-canary-9876543210"
PROVIDER = {"name": "acme", "kind": "openai", "base_url": "https://models.example.com/v1"}


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Door]:
    """One of a fresh instance, that has a key; its owner is no admin."""
    monkeypatch.setenv("ANTIPHON_SECRET_KEY", make_key())
    monkeypatch.setenv("ACME_KEY", CANARY)
    async with open_door(data=tmp_path / "data", allow_outbound=("127.0.0.1",)) as opened:
        yield opened


async def as_admin(door: Door, method: str, path: str, body: Any = None) -> Any:
    answer = await door.ask(method, path, body, token=door.admin_token)
    assert answer.status in (200, 201, 204), answer.body
    return answer.json if answer.body else None


async def test_a_provider_is_told_without_its_secret_and_to_others_without_its_place(door: Door) -> None:
    made = await as_admin(door, "POST", "/providers", PROVIDER | {"secret": CANARY})
    assert made["has_secret"] is True
    assert made["secret_reference"] == ""
    assert made["base_url"] == PROVIDER["base_url"]
    by_variable = await as_admin(door, "PATCH", f"/providers/{made['id']}", {"secret": "env:ACME_KEY"})
    assert by_variable["secret_reference"] == "env:ACME_KEY"
    other = await door.as_owner("beth")
    (seen,) = (await other.ask("GET", "/providers")).json["providers"]
    assert seen == (await other.ask("GET", f"/providers/{made['id']}")).json
    assert seen.keys() == {"id", "name", "kind", "has_secret", "is_enabled", "created_at", "updated_at"}
    moved = await as_admin(door, "PATCH", f"/providers/{made['id']}", {"base_url": "https://other.example.com"})
    assert moved["has_secret"] is False


async def test_another_owner_changes_nothing(door: Door) -> None:
    made = await as_admin(door, "POST", "/providers", PROVIDER)
    other = await door.as_owner("beth")
    for method, path, body in (
        ("POST", "/providers", PROVIDER | {"name": "b"}),
        ("PATCH", f"/providers/{made['id']}", {"name": "b"}),
        ("DELETE", f"/providers/{made['id']}", None),
        ("POST", "/model-configs", {"name": "m", "model": "rehearsal"}),
    ):
        assert (await other.ask(method, path, body)).code == "forbidden"
    assert (await as_admin(door, "GET", "/providers"))["providers"] == [made]


async def test_refusals_say_what_is_wrong(door: Door) -> None:
    await as_admin(door, "POST", "/providers", PROVIDER)
    for body, field in (
        (PROVIDER, "name"),
        (PROVIDER | {"name": "b", "kind": "later"}, "kind"),
        (PROVIDER | {"name": "b", "base_url": "https://127.0.0.2/v1"}, "base_url"),
        (PROVIDER | {"name": "b", "secret": f"{CANARY} and more"}, "secret"),
    ):
        answer = await door.ask("POST", "/providers", body, token=door.admin_token)
        assert (answer.status, answer.json["error"]["field"]) == (422, field)
        assert CANARY not in answer.body.decode()
    for path in (f"/providers/{random_chat_id()}", f"/model-configs/{random_chat_id()}", "/providers/x"):
        for method in ("GET", "PATCH", "DELETE"):
            body = {} if method == "PATCH" else None
            assert (await door.ask(method, path, body, token=door.admin_token)).code == "not_found"
    too_large = {"name": "m", "model": "rehearsal", "parameters": {"x": "y" * 20_000}}
    assert (await door.ask("POST", "/model-configs", too_large, token=door.admin_token)).code == "too_large"


async def test_a_model_configuration_is_written_and_read(door: Door) -> None:
    first = await as_admin(
        door,
        "POST",
        "/model-configs",
        {"name": "Usual", "model": "acme:small", "parameters": {"temperature": 0.5}, "is_default": True},
    )
    second = await as_admin(door, "POST", "/model-configs", {"name": "Other", "model": "rehearsal"})
    changed = await as_admin(door, "PATCH", f"/model-configs/{second['id']}", {"is_default": True})
    listed = (await door.ask("GET", "/model-configs")).json["model_configs"]
    assert listed == [first | {"is_default": False}, changed]
    await as_admin(door, "DELETE", f"/model-configs/{first['id']}")
    assert (await door.ask("GET", f"/model-configs/{first['id']}")).code == "not_found"


async def test_a_prompt_is_ones_own(door: Door) -> None:
    other = await door.as_owner("beth")
    assert (await door.ask("GET", "/me/prompt")).json == {"prompt": "", "updated_at": None}
    kept = (await door.ask("PUT", "/me/prompt", {"prompt": "Be brief."})).json
    assert kept["prompt"] == "Be brief."
    assert kept["updated_at"]
    assert (await door.ask("GET", "/me/prompt")).json == kept
    assert (await other.ask("GET", "/me/prompt")).json["prompt"] == ""
    assert (await other.ask("PUT", "/me/prompt", {"prompt": "x" * (256 * 1024 + 1)})).code == "too_large"
    assert (await other.ask("PUT", "/me/prompt", {"prompt": "x" * (256 * 1024)})).status == 200
    assert (await door.ask("DELETE", "/me/prompt")).status == 204
    assert (await door.ask("GET", "/me/prompt")).json["prompt"] == ""


async def test_configuration_is_not_to_be_had_by_another_door(door: Door) -> None:
    for path in ("/providers", "/model-configs", "/providers/x"):
        answer = await door.instance.asgi.request("GET", "/api/v1" + path, {}, b"")
        assert answer.status_code == 403


async def test_the_secret_is_in_the_outbound_header_and_nowhere_else(door: Door, tmp_path: Path) -> None:
    """Whatever is asked and whatever the provider answers; logs, metrics and what lies on the disk included."""
    shown: list[bytes] = []
    with structlog.testing.capture_logs() as logged:
        async with FakeModelServer() as server:
            leaks = f"Incorrect API key provided: {CANARY}"
            server.plan(*(Fault(status=status, message=leaks, code=CANARY) for status in (401, 400, 404)))
            place = PROVIDER | {"base_url": server.base_url}
            made = await as_admin(door, "POST", "/providers", place | {"secret": CANARY})
            for _ in range(3):
                chat_id = await door.make_chat("hello", model="acme:small")
                assert (await door.rested(chat_id))["status"] == "error"
                stream = await door.events(f"/chats/{chat_id}/stream?after=0&until=idle")
                shown.append(json.dumps(stream, default=str).encode())
                shown += [(await door.ask("GET", f"/chats/{chat_id}{more}")).body for more in ("", "/messages")]
            assert [seen.headers["authorization"] for seen in server.requests] == [f"Bearer {CANARY}"] * 3
        for path in ("/providers", f"/providers/{made['id']}", "/model-configs", "/me/prompt", "//openapi.json"):
            shown.append((await door.ask("GET", path, token=door.admin_token)).body)
        for path in ("//metrics", "//readyz", "//healthz"):
            shown.append((await door.ask("GET", path, token=door.admin_token)).body)
        for body in (
            {"secret": CANARY, "kind": "later"},
            {"secret": CANARY, "name": CANARY + ":"},
            {"secret": [CANARY]},
        ):
            shown.append((await door.ask("PATCH", f"/providers/{made['id']}", body, token=door.admin_token)).body)
    files = [file.read_bytes() for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert any(made["id"].encode() in data for data in files)
    for text in (*shown, repr(logged).encode(), *files):
        assert CANARY.encode() not in text
