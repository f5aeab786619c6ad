"""Configuration over HTTP: what each kind of user can read, and that a secret is never returned."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from antiphon import Turn
from antiphon.models.secret_box import make_key
from antiphon.testing.model_server import FakeModelServer, Fault

from .api_client import ApiClient, open_api, random_chat_id

pytestmark = pytest.mark.anyio

CANARY = "sk-canary-9876543210"
PROVIDER = {"name": "acme", "kind": "openai", "base_url": "https://models.example.com/v1"}


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ApiClient]:
    """One of a fresh instance, that has a key; its owner is no admin."""
    monkeypatch.setenv("ANTIPHON_SECRET_KEY", make_key())
    monkeypatch.setenv("ACME_KEY", CANARY)
    async with open_api(data=tmp_path / "data", allow_outbound=("127.0.0.1",)) as opened:
        yield opened


async def as_admin(api: ApiClient, method: str, path: str, body: Any = None) -> Any:
    answer = await api.ask(method, path, body, token=api.admin_token)
    assert answer.status in (200, 201, 204), answer.body
    return answer.json if answer.body else None


async def test_a_provider_is_returned_without_its_secret_and_to_non_admins_without_its_url(api: ApiClient) -> None:
    made = await as_admin(api, "POST", "/providers", PROVIDER | {"secret": CANARY})
    assert made["has_secret"] is True
    assert made["secret_reference"] == ""
    assert made["base_url"] == PROVIDER["base_url"]
    by_variable = await as_admin(api, "PATCH", f"/providers/{made['id']}", {"secret": "env:ACME_KEY"})
    assert by_variable["secret_reference"] == "env:ACME_KEY"
    other = await api.as_owner("beth")
    (seen,) = (await other.ask("GET", "/providers")).json["providers"]
    assert seen == (await other.ask("GET", f"/providers/{made['id']}")).json
    assert seen.keys() == {"id", "name", "kind", "has_secret", "is_enabled", "created_at", "updated_at"}
    moved = await as_admin(api, "PATCH", f"/providers/{made['id']}", {"base_url": "https://other.example.com"})
    assert moved["has_secret"] is False


async def test_another_owner_changes_nothing(api: ApiClient) -> None:
    made = await as_admin(api, "POST", "/providers", PROVIDER)
    other = await api.as_owner("beth")
    for method, path, body in (
        ("POST", "/providers", PROVIDER | {"name": "b"}),
        ("PATCH", f"/providers/{made['id']}", {"name": "b"}),
        ("DELETE", f"/providers/{made['id']}", None),
        ("POST", "/model-configs", {"name": "m", "model": "rehearsal"}),
    ):
        assert (await other.ask(method, path, body)).code == "forbidden"
    assert (await as_admin(api, "GET", "/providers"))["providers"] == [made]


async def test_refusals_say_what_is_wrong(api: ApiClient) -> None:
    await as_admin(api, "POST", "/providers", PROVIDER)
    for body, field in (
        (PROVIDER, "name"),
        (PROVIDER | {"name": "b", "kind": "later"}, "kind"),
        (PROVIDER | {"name": "b", "base_url": "https://127.0.0.2/v1"}, "base_url"),
        (PROVIDER | {"name": "b", "secret": f"{CANARY} and more"}, "secret"),
    ):
        answer = await api.ask("POST", "/providers", body, token=api.admin_token)
        assert (answer.status, answer.json["error"]["field"]) == (422, field)
        assert CANARY not in answer.body.decode()
    for path in (f"/providers/{random_chat_id()}", f"/model-configs/{random_chat_id()}", "/providers/x"):
        for method in ("GET", "PATCH", "DELETE"):
            body = {} if method == "PATCH" else None
            assert (await api.ask(method, path, body, token=api.admin_token)).code == "not_found"
    too_large = {"name": "m", "model": "rehearsal", "parameters": {"x": "y" * 20_000}}
    assert (await api.ask("POST", "/model-configs", too_large, token=api.admin_token)).code == "too_large"


async def test_a_model_configuration_is_written_and_read(api: ApiClient) -> None:
    first = await as_admin(
        api,
        "POST",
        "/model-configs",
        {"name": "Usual", "model": "acme:small", "parameters": {"temperature": 0.5}, "is_default": True},
    )
    second = await as_admin(api, "POST", "/model-configs", {"name": "Other", "model": "rehearsal"})
    changed = await as_admin(api, "PATCH", f"/model-configs/{second['id']}", {"is_default": True})
    listed = (await api.ask("GET", "/model-configs")).json["model_configs"]
    assert listed == [first | {"is_default": False}, changed]
    await as_admin(api, "DELETE", f"/model-configs/{first['id']}")
    assert (await api.ask("GET", f"/model-configs/{first['id']}")).code == "not_found"


async def test_a_prompt_is_ones_own(api: ApiClient) -> None:
    other = await api.as_owner("beth")
    assert (await api.ask("GET", "/me/prompt")).json == {"prompt": "", "updated_at": None}
    kept = (await api.ask("PUT", "/me/prompt", {"prompt": "Be brief."})).json
    assert kept["prompt"] == "Be brief."
    assert kept["updated_at"]
    assert (await api.ask("GET", "/me/prompt")).json == kept
    assert (await other.ask("GET", "/me/prompt")).json["prompt"] == ""
    assert (await other.ask("PUT", "/me/prompt", {"prompt": "x" * (256 * 1024 + 1)})).code == "too_large"
    assert (await other.ask("PUT", "/me/prompt", {"prompt": "x" * (256 * 1024)})).status == 200
    assert (await api.ask("DELETE", "/me/prompt")).status == 204
    assert (await api.ask("GET", "/me/prompt")).json["prompt"] == ""


async def test_configuration_is_only_available_over_http(api: ApiClient) -> None:
    for path in ("/providers", "/model-configs", "/providers/x"):
        answer = await api.instance.asgi.request("GET", "/api/v1" + path, {}, b"")
        assert answer.status_code == 403


async def test_the_secret_is_in_the_outbound_header_and_nowhere_else(api: ApiClient, tmp_path: Path) -> None:
    """Whatever is asked and whatever the provider answers; logs, metrics and what lies on the disk included."""
    shown: list[bytes] = []
    with structlog.testing.capture_logs() as logged:
        async with FakeModelServer() as server:
            leaks = f"Incorrect API key provided: {CANARY}"
            server.plan(*(Fault(status=status, message=leaks, code=CANARY) for status in (401, 400, 404)))
            place = PROVIDER | {"base_url": server.base_url}
            made = await as_admin(api, "POST", "/providers", place | {"secret": CANARY})
            for _ in range(3):
                chat_id = await api.make_chat("hello", model="acme:small")
                assert (await api.rested(chat_id))["status"] == "error"
                stream = await api.events(f"/chats/{chat_id}/stream?after=0&until=idle")
                shown.append(json.dumps(stream, default=str).encode())
                shown += [(await api.ask("GET", f"/chats/{chat_id}{more}")).body for more in ("", "/messages")]
            assert [seen.headers["authorization"] for seen in server.requests] == [f"Bearer {CANARY}"] * 3
        for path in ("/providers", f"/providers/{made['id']}", "/model-configs", "/me/prompt", "//openapi.json"):
            shown.append((await api.ask("GET", path, token=api.admin_token)).body)
        for path in ("//metrics", "//readyz", "//healthz"):
            shown.append((await api.ask("GET", path, token=api.admin_token)).body)
        for body in (
            {"secret": CANARY, "kind": "later"},
            {"secret": CANARY, "name": CANARY + ":"},
            {"secret": [CANARY]},
        ):
            shown.append((await api.ask("PATCH", f"/providers/{made['id']}", body, token=api.admin_token)).body)
    files = [file.read_bytes() for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert any(made["id"].encode() in data for data in files)
    for text in (*shown, repr(logged).encode(), *files):
        assert CANARY.encode() not in text


async def test_a_check_asks_the_provider_for_its_models(api: ApiClient) -> None:
    async with FakeModelServer() as server:
        provider = PROVIDER | {"base_url": server.base_url, "secret": "env:ACME_KEY"}
        made = await as_admin(api, "POST", "/providers", provider)
        checked = await as_admin(api, "POST", f"/providers/{made['id']}/check")
        assert checked == {"ok": True, "models": ["any"], "error": None}
    checked = await as_admin(api, "POST", f"/providers/{made['id']}/check")
    assert (checked["ok"], checked["error"]["kind"]) == (False, "network")
    assert CANARY not in json.dumps(checked)
    assert (await (await api.as_owner("beth")).ask("POST", f"/providers/{made['id']}/check")).code == "forbidden"


async def test_a_check_says_what_is_wrong_with_a_provider(api: ApiClient) -> None:
    without = await as_admin(api, "POST", "/providers", {"name": "b", "kind": "anthropic"})
    checked = await as_admin(api, "POST", f"/providers/{without['id']}/check")
    assert checked["error"] == {"kind": "invalid", "message": "the provider 'b' has no secret; give it one."}
    missing = await api.ask("POST", "/providers/x/check", token=api.admin_token)
    assert missing.code == "not_found"


async def test_the_models_that_a_chat_may_name_begin_with_the_default(api: ApiClient) -> None:
    demo = {"name": "rehearsal", "model": "rehearsal", "is_demo": True}
    assert (await api.ask("GET", "/models")).json == {"default": "rehearsal", "models": [demo | {"is_default": True}]}
    await as_admin(api, "POST", "/providers", PROVIDER)
    for name, is_enabled in (("small", True), ("best", True), ("off", False)):
        config = {"name": name, "model": f"acme:{name}", "is_default": name == "small", "is_enabled": is_enabled}
        await as_admin(api, "POST", "/model-configs", config)
    listed = (await api.ask("GET", "/models")).json
    assert listed["default"] == "small"
    assert [(m["name"], m["model"], m["is_default"], m["is_demo"]) for m in listed["models"]] == [
        ("small", "acme:small", True, False),
        ("best", "acme:best", False, False),
        ("rehearsal", "rehearsal", False, True),
    ]


async def no_model(turn: Turn) -> AsyncIterator[str]:
    yield "hello"


async def test_an_agent_that_is_a_function_is_not_the_demo_model() -> None:
    async with open_api(agent=no_model) as api:
        assert (await api.ask("GET", "/models")).json == {"default": "", "models": []}
        await as_admin(api, "POST", "/model-configs", {"name": "small", "model": "rehearsal", "is_default": True})
        listed = (await api.ask("GET", "/models")).json
        assert (listed["default"], [m["name"] for m in listed["models"]]) == ("small", ["small"])
