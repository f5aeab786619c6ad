"""Requests as real clients send them: ids in capitals, HEAD, HTTP/1.0, a WebSocket where there is none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from antiphon.api.http.app import NO_WEBSOCKET
from antiphon.api.http.operations import OPERATIONS
from support.waiting import DEADLINE_S

from .api_client import API, ApiClient

pytestmark = pytest.mark.anyio


async def raw(api: ApiClient, head: str, *lines: str, body: bytes = b"", until: bytes = b"") -> bytes:
    """What comes on a connection of its own, up to its end (or to `until`)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    fields = [head, "host: localhost", f"authorization: Bearer {api.token}", *lines]
    writer.write("\r\n".join(fields).encode() + b"\r\n\r\n" + body)
    received = b""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not until or until not in received:
                piece = await reader.read(65_536)
                if not piece:
                    break
                received += piece
    finally:
        writer.close()
    return received


async def test_an_id_in_capitals_names_the_same_chat_on_every_route(api: ApiClient) -> None:
    chat_id = await api.make_chat(title="t")
    capitals = chat_id.upper()
    assert (await api.ask("GET", f"/chats/{capitals}")).json["id"] == chat_id
    sent = await api.ask("POST", f"/chats/{capitals}/messages", {"content": "/say hi"})
    assert sent.json["message"]["chat_id"] == chat_id
    assert (await api.ask("GET", f"/chats/{capitals}/messages")).status == 200
    stream = await api.stream(f"/chats/{capitals}/stream")
    assert (await stream.until("resync")).json["chat"]["id"] == chat_id
    await stream.close()
    assert (await api.ask("PATCH", f"/chats/{capitals}", {"title": "u"})).json["id"] == chat_id
    assert (await api.ask("DELETE", f"/chats/{capitals}")).status == 204
    assert (await api.ask("GET", f"/chats/{chat_id}")).status == 404


async def test_ids_of_other_things_may_be_in_capitals_too(api: ApiClient) -> None:
    made = (await api.ask("POST", "/tokens", {"owner": "anna"}, token=api.admin_token)).json
    assert (await api.ask("DELETE", f"/tokens/{made['id'].upper()}", token=api.admin_token)).status == 204
    same = "0B0B0B0B-1111-4222-8333-444444444444"
    first = await api.ask("POST", "/chats", {"id": same, "title": "t"})
    again = await api.ask("POST", "/chats", {"id": same.lower(), "title": "t"})
    assert (first.json["id"], again.json["id"]) == (same.lower(), same.lower())


PATHS = sorted(
    {operation.full_path for operation in OPERATIONS if operation.method == "GET"} | {"/", "/assets/main.js"}
)


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_answered_wherever_get_is(api: ApiClient, path: str) -> None:
    chat_id = await api.make_chat(title="t")
    path = path.replace("{chat_id}", chat_id).replace("{instance_id}", api.instance.instance_id)
    got = await raw(api, f"GET {path} HTTP/1.1", "connection: close", until=b"\r\n\r\n")
    headed = await raw(api, f"HEAD {path} HTTP/1.1", "connection: close")
    assert headed.endswith(b"\r\n\r\n"), "a head and no body"
    status, _, fields = headed.partition(b"\r\n")
    assert status == got.partition(b"\r\n")[0]
    kind = next(line for line in got.split(b"\r\n") if line.lower().startswith(b"content-type"))
    assert kind in fields
    assert b"transfer-encoding" not in fields


async def test_head_of_what_is_missing_or_foreign_is_refused_as_get_is(api: ApiClient) -> None:
    assert (await raw(api, f"HEAD {API}/chats/nothing HTTP/1.1", "connection: close")).startswith(b"HTTP/1.1 404 ")
    missing = await raw(api, f"HEAD {API}/chats/nothing/stream HTTP/1.1", "connection: close")
    assert missing.startswith(b"HTTP/1.1 404 ")
    assert missing.endswith(b"\r\n\r\n")
    wrong = await raw(api, f"HEAD {API}/inbox/read-all HTTP/1.1", "connection: close")
    assert wrong.startswith(b"HTTP/1.1 405 ")


async def test_head_of_a_stream_leaves_no_watcher(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    for place in (f"/chats/{chat_id}/stream", "/feed"):
        await raw(api, f"HEAD {API}{place} HTTP/1.1", "connection: close")
    assert len(api.instance.watch) == 0


async def test_a_stream_over_http_1_0_has_no_chunk_sizes_and_ends_with_its_connection(api: ApiClient) -> None:
    chat_id = await api.make_chat("/say hello")
    answer = await raw(api, f"GET {API}/chats/{chat_id}/stream?until=idle&after=0 HTTP/1.0")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body.startswith(b"id: 1.0\nevent: chat_created\n")
    blocks = body.decode().strip().split("\n\n")
    assert all(block.splitlines()[-1].startswith("data: {") for block in blocks)
    assert blocks[-1].startswith("event: bye")


async def test_a_feed_over_http_1_0_has_no_chunk_sizes(api: ApiClient) -> None:
    answer = await raw(api, f"GET {API}/feed HTTP/1.0", until=b'{"type":"resync"}\n\n')
    assert answer.partition(b"\r\n\r\n")[2] == b'event: resync\ndata: {"type":"resync"}\n\n'


async def test_an_ordinary_answer_over_http_1_0_is_whole(api: ApiClient) -> None:
    answer = await raw(api, f"GET {API}/chats HTTP/1.0", "connection: keep-alive")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body) == {"chats": [], "next": None}
    assert f"content-length: {len(body)}".encode() in head.lower()


UPGRADE = ("connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: eA==")


@pytest.mark.parametrize("path", [f"{API}/feed", f"{API}/chats", "/", f"{API}/nothing"])
@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket"])
async def test_a_websocket_where_there_is_none_is_refused_with_a_sentence(
    api: ApiClient, path: str, upgrade: str
) -> None:
    lines = [line.replace("websocket", upgrade) if line.startswith("upgrade") else line for line in UPGRADE]
    answer = await raw(api, f"GET {path} HTTP/1.1", *lines)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"] == {"code": "invalid", "message": NO_WEBSOCKET}


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
async def test_under_another_server_a_websocket_is_refused_too(api: ApiClient, extensions: dict[str, Any]) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/x", "headers": [(b"host", b"localhost")], "query_string": b""}
    await api.instance.asgi({**scope, "extensions": extensions}, receive, send)
    if extensions:
        assert (sent[0]["status"], json.loads(sent[1]["body"])["error"]["message"]) == (400, NO_WEBSOCKET)
    else:
        assert (sent[0]["type"], sent[0]["reason"]) == ("websocket.close", NO_WEBSOCKET)
