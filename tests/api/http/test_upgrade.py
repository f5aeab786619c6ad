"""Requests that ask for another protocol are answered in this one: their bodies are bodies, never requests."""

from __future__ import annotations

import asyncio
import json

import pytest

from antiphon.api.http.table import API
from programs import needs_program

from .api_client import ApiClient
from .wire import Wire, make_request

pytestmark = pytest.mark.anyio

H2C = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"}
WEBSOCKET = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
UPGRADES = pytest.mark.parametrize("upgrade", [H2C, {"connection": "upgrade", "upgrade": "TLS/1.2"}])


def _smuggled(api: ApiClient, title: str) -> bytes:
    body = json.dumps({"title": title}).encode()
    return make_request("POST", API + "/chats", token=api.token, body=body)


async def _titles(api: ApiClient) -> list[str]:
    return [chat["title"] for chat in (await api.ask("GET", "/chats")).json["chats"]]


@UPGRADES
@pytest.mark.parametrize("pieces", ["at once", "head and body apart", "byte by byte"])
async def test_a_body_behind_an_upgrade_is_a_body_and_no_request(
    api: ApiClient, upgrade: dict[str, str], pieces: str
) -> None:
    hidden = _smuggled(api, "smuggled")
    whole = make_request("POST", API + "/chats", token=api.token, body=hidden, headers=upgrade)
    wire = await Wire.open(api.port)
    cuts = {"at once": [whole], "head and body apart": [whole[: -len(hidden)], hidden]}.get(
        pieces, [whole[i : i + 1] for i in range(len(whole))]
    )
    for piece in cuts:
        wire.send(piece)
        await wire.writer.drain()
        await asyncio.sleep(0)
    first = await wire.read_answer("POST")
    wire.send(make_request("GET", API + "/chats", token=api.token))
    second = await wire.read_answer()
    await wire.close()
    assert (first.status, first.code) == (422, "invalid"), "the body is no JSON"
    assert second.json == {"chats": [], "next": None}, "nothing of the body was executed"


@UPGRADES
async def test_a_request_for_an_upgrade_is_answered_and_the_connection_stays_open(
    api: ApiClient, upgrade: dict[str, str]
) -> None:
    wire = await Wire.open(api.port)
    for number in range(3):
        body = json.dumps({"title": f"t{number}"}).encode()
        wire.send(make_request("POST", API + "/chats", token=api.token, body=body, headers=upgrade))
        assert (await wire.read_answer("POST")).status == 201
    wire.send(make_request("GET", "/healthz", headers=upgrade))
    is_handshake = upgrade is WEBSOCKET  # a GET that asks for one: there is none, which is said
    assert (await wire.read_answer()).status == (400 if is_handshake else 200)
    await wire.close()
    assert sorted(await _titles(api)) == ["t0", "t1", "t2"]


@pytest.mark.parametrize("cut", [0, 1, 40])
async def test_the_body_of_a_refused_websocket_request_is_not_executed(api: ApiClient, cut: int) -> None:
    hidden = _smuggled(api, "smuggled")
    whole = make_request("GET", API + "/chats", token=api.token, body=hidden, headers=WEBSOCKET)
    wire = await Wire.open(api.port)
    wire.send(whole[: len(whole) - len(hidden) + cut])
    answer = await wire.read_answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    wire.send(whole[len(whole) - len(hidden) + cut :] + make_request("GET", API + "/chats", token=api.token))
    assert await wire.read_to_end() == b""
    await wire.close()
    assert await _titles(api) == []


async def test_a_chunked_body_behind_an_upgrade_is_read_as_one(api: ApiClient) -> None:
    body = json.dumps({"title": "chunked"}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    headers = {**H2C, "transfer-encoding": "chunked", "content-length": ""}
    wire = await Wire.open(api.port)
    wire.send(make_request("POST", API + "/chats", token=api.token, headers=headers) + chunks)
    assert (await wire.read_answer("POST")).status == 201
    await wire.close()
    assert await _titles(api) == ["chunked"]


async def test_a_thousand_upgrades_in_one_go_are_answered_in_order(api: ApiClient) -> None:
    wire = await Wire.open(api.port)
    wire.send(make_request("GET", "/healthz", headers=H2C) * 1_000)
    for _ in range(1_000):
        assert (await wire.read_answer()).status == 200
    await wire.close()


async def test_what_comes_behind_a_refused_connect_is_not_executed(api: ApiClient) -> None:
    wire = await Wire.open(api.port)
    wire.send(b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + _smuggled(api, "smuggled"))
    answer = await wire.read_to_end()
    await wire.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert await _titles(api) == []


@needs_program("curl")
async def test_curl_posts_with_http2_asked_for(api: ApiClient) -> None:
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--http2", "--max-time", "10", "--noproxy", "*"),
        *("--header", f"Authorization: Bearer {api.token}", "--json", '{"title": "by curl"}'),
        f"http://127.0.0.1:{api.port}{API}/chats",
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["title"] == "by curl"
    assert await _titles(api) == ["by curl"]
