"""Web pages on other origins: the listed ones may use the API, with credentials; others get no headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.api.http.table import API
from antiphon.errors import Invalid
from antiphon.options import Options

from .api_client import ApiClient, open_api
from .wire import Wire, make_request

pytestmark = pytest.mark.anyio

LISTED = "https://app.example"
WITH_PORT = "http://localhost:3000"
UNLISTED = (
    "https://evil.example",
    "http://app.example",
    "https://app.example:444",
    "https://app.example.evil.example",
    "https://sub.app.example",
    "http://localhost:3001",
    "null",
    "*",
)


@pytest.fixture(scope="module")
async def shared(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    async with open_api(
        data=tmp_path_factory.mktemp("cors") / "data", allow_origin=(LISTED + ":443", "HTTP://LocalHost:3000")
    ) as api:
        yield api


def shared_with(headers: dict[str, str]) -> str | None:
    return headers.get("access-control-allow-origin")


@pytest.mark.parametrize("origin", [LISTED, WITH_PORT])
@pytest.mark.parametrize("path", ["/chats", "/session", "/chats/x/stream", "/feed", "//healthz", "/no/such/route"])
async def test_a_preflight_of_a_listed_origin_is_answered_without_a_token(
    shared: ApiClient, origin: str, path: str
) -> None:
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
        "access-control-request-private-network": "true",
        "sec-fetch-site": "cross-site",
    }
    answer = await shared.ask("OPTIONS", path, token=None, headers=asked)
    assert (answer.status, answer.body) == (204, b"")
    assert shared_with(answer.headers) == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert {"POST", "PATCH", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert {"Authorization", "Content-Type"} <= set(answer.headers["access-control-allow-headers"].split(", "))
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "origin" in answer.headers["vary"].lower()


async def test_a_listed_origin_may_send_the_headers_of_its_client_library(shared: ApiClient) -> None:
    asked = {
        "origin": LISTED,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-stainless-lang,antiphon-chat-id, bad name, x:y",
    }
    answer = await shared.ask("OPTIONS", "//v1/responses", token=None, headers=asked)
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"x-stainless-lang", "antiphon-chat-id"} <= set(allowed)
    assert not {"bad name", "x:y"} & set(allowed)


@pytest.mark.parametrize("origin", UNLISTED)
async def test_an_unlisted_origin_is_refused_without_cors_headers(shared: ApiClient, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    for method in ("OPTIONS", "GET", "POST"):
        answer = await shared.ask(method, "/chats", headers=asked)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_answers_and_refusals_can_be_read_by_a_listed_origin(shared: ApiClient) -> None:
    headers = {"origin": LISTED, "sec-fetch-site": "cross-site"}
    for method, path, token, status in (
        ("GET", "/chats", "", 200),
        ("POST", "/chats", "", 201),
        ("GET", "/chats", None, 401),
        ("GET", "/chats/none", "", 404),
        ("GET", "/nowhere", "", 404),
        ("PUT", "/chats", "", 405),
    ):
        body = {} if method == "POST" else None
        answer = await shared.ask(method, path, body, token=token, headers=headers)
        assert (answer.status, shared_with(answer.headers)) == (status, LISTED)
        assert answer.headers["access-control-allow-credentials"] == "true"


async def test_streams_can_be_read_by_a_listed_origin(shared: ApiClient) -> None:
    for path in (f"/chats/{await shared.make_chat()}/stream", "/feed"):
        wire = await Wire.open(shared.port)
        wire.send(make_request("GET", API + path, token=shared.token, headers={"origin": WITH_PORT}))
        head = await wire.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert f"access-control-allow-origin: {WITH_PORT}\r\n".encode() in head.lower()
        await wire.close()


async def test_a_listed_origin_does_not_open_a_foreign_host(shared: ApiClient) -> None:
    answer = await shared.ask("GET", "/chats", headers={"origin": LISTED, "host": "evil.example"})
    assert answer.status == 403


async def test_a_request_without_an_origin_gets_only_a_vary_header(shared: ApiClient) -> None:
    answer = await shared.ask("GET", "/chats")
    assert shared_with(answer.headers) is None
    assert "origin" in answer.headers["vary"].lower()


async def test_without_listed_origins_an_answer_says_nothing_of_them(tmp_path: Path) -> None:
    async with open_api() as api:
        answer = await api.ask("GET", "/chats", headers={"origin": f"http://127.0.0.1:{api.port}"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        asked = {"origin": LISTED, "access-control-request-method": "GET"}
        assert (await api.ask("OPTIONS", "/chats", headers=asked)).status == 403


@pytest.mark.parametrize(
    "text",
    ["*", "null", "", "app.example", "https://*.example", "https://app.example/", "https://a b", "https://u@h"],
)
def test_what_is_no_exact_origin_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(Invalid, match="--allow-origin"):
        Options.make({"allow_origin": [text]})
