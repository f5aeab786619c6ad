"""`/api/v1/ws` with a client library of its own: watches, commands, access, bounds, ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import Protocol

from antiphon.api.http import connection
from antiphon.api.http.connection import Connection
from antiphon.api.websocket.socket import PIECE_BYTES
from antiphon.options import Timing, WatchTiming
from support.waiting import wait_until

from ..http.api_client import ApiClient, open_api
from ..http.events import check_cursors, fold, merged, shown
from ..http.stock_server import served_by_uvicorn
from .socket_client import Client, connected

pytestmark = pytest.mark.anyio

SCENE = '/rate 2000\n/think hm, well\n/tokens 30\n/call nothing {"a": [1, "é"]}\n/say done 👋'


async def test_events_of_many_chats_are_those_of_their_own_streams(api: ApiClient) -> None:
    chats = [await api.make_chat() for _ in range(12)]
    async with connected(api) as client:
        for chat_id in chats:
            assert (await client.do(op="watch", chat_id=chat_id, cursor="0"))["type"] == "watching"
        for chat_id in chats:
            await api.send(chat_id, SCENE)
        for chat_id in chats:
            if not any(event.type == "turn_ended" for event in client.events(chat_id)):
                await client.until("turn_ended", lambda event, chat_id=chat_id: event["chat_id"] == chat_id)
        for chat_id in chats:
            events = client.events(chat_id)
            check_cursors(events)
            own = await api.events(f"/chats/{chat_id}/stream?after=0&until=idle")
            assert shown(fold(events)) == shown(fold(own))


async def test_a_client_goes_on_from_every_cursor(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    async with connected(api) as client:
        await client.do(op="watch", chat_id=chat_id, cursor="0")
        await api.send(chat_id, SCENE)
        await client.until("turn_ended")
        whole = [event for event in client.events(chat_id) if event.id]
        texts = json.dumps([message for message in client.seen if message["type"] == "message_appended"])
        for event in random.Random(1).sample(whole, 12):
            await client.do(op="unwatch", chat_id=chat_id)
            client.seen.clear()
            await client.do(op="watch", chat_id=chat_id, cursor=event.id)
            await client.until("caught_up")
            rest = [other for other in client.events(chat_id) if other.type not in ("delta", "caught_up")]
            seq = int(event.id.partition(".")[0])
            facts = [other for other in whole if other.type not in ("delta", "caught_up")]
            assert [other.json["seq"] for other in rest] == [o.json["seq"] for o in facts if o.json["seq"] > seq]
            assert all(json.dumps(other.json["message"]) in texts for other in rest if "message" in other.json)


async def test_commands_are_requests_in_the_order_they_are_sent(api: ApiClient) -> None:
    async with connected(api) as client:
        status, chat = await client.ask("POST", "/chats", {"title": "t"})
        assert status == 201
        path = f"/chats/{chat['id']}"
        numbers = [
            await client.send(op="request", method="POST", path=f"{path}/messages", body={"content": f"/say {n}"})
            for n in range(20)
        ]
        answers = [await client.until("response", lambda answer, n=n: answer["id"] == n) for n in numbers]
        seqs = [answer["body"]["seq"] for answer in answers]
        assert seqs == sorted(seqs)
        await api.rested(chat["id"])
        page = (await client.ask("GET", f"{path}/messages?limit=1000"))[1]
        said = [m["content"][0]["text"] for m in page["messages"] if m["role"] == "user"]
        assert said == [f"/say {n}" for n in range(20)]
        assert (await client.ask("GET", f"{path}/messages?limit=1"))[1]["has_more"]
        assert await client.ask("DELETE", path) == (204, None)
        status, refused = await client.ask("GET", path)
        assert (status, refused["error"]["code"]) == (0, "not_found")


async def test_the_watch_of_a_deleted_chat_ends_and_the_connection_goes_on(api: ApiClient) -> None:
    chat_id, other = await api.make_chat(), await api.make_chat()
    async with connected(api) as client:
        await client.do(op="watch", chat_id=chat_id)
        await client.do(op="watch", chat_id=other)
        await api.ask("DELETE", f"/chats/{chat_id}")
        ended = await client.until("ended")
        assert (ended["chat_id"], ended["reason"]) == (chat_id, "deleted")
        assert (await client.do(op="watch", chat_id=chat_id))["error"]["code"] == "not_found"
        await api.send(other, "/say hi")
        assert (await client.until("turn_ended"))["chat_id"] == other
        await wait_until(lambda: len(api.instance.watch) == 2, "the connection and one chat")
    await wait_until(lambda: len(api.instance.watch) == 0)


async def test_a_chats_stream_may_be_a_websocket(api: ApiClient) -> None:
    chat_id = await api.make_chat("/say hi")
    await api.rested(chat_id)
    async with connected(api, f"/chats/{chat_id}/stream?after=0") as client:
        await client.until("caught_up")
        check_cursors(client.events(chat_id))
        own = await api.events(f"/chats/{chat_id}/stream?after=0&until=idle")
        assert merged(own)[:-2], "there are events"
        assert [e.type for e in client.events(chat_id)] == [e.type for e in own if e.type != "bye"]


# --- access


async def test_the_token_may_be_a_subprotocol(api: ApiClient) -> None:
    protocols: Any = ["antiphon.v1", f"antiphon.token.{api.token}"]
    async with connected(api, additional_headers={}, subprotocols=protocols) as client:
        assert client.connection.subprotocol == "antiphon.v1"
        assert (await client.ask("GET", "/chats?limit=1"))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer no"}, 401),
        ({"Sec-WebSocket-Protocol": "antiphon.v1, antiphon.token.no"}, 401),
        ({"Authorization": "mine", "Origin": "https://evil.example"}, 403),
    ],
)
async def test_handshakes_without_access_are_refused(api: ApiClient, headers: dict[str, str], status: int) -> None:
    given = {name: f"Bearer {api.token}" if value == "mine" else value for name, value in headers.items()}
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{api.port}/api/v1/ws", additional_headers=given):
            pass
    assert refused.value.response.status_code == status


async def test_chats_and_routes_of_others_are_not_reached(api: ApiClient) -> None:
    other = await api.as_owner("another")
    theirs = await other.make_chat("/say secret")
    async with connected(api) as client:
        for cursor in ("", "0", "1.0"):
            answer = await client.do(op="watch", chat_id=theirs, cursor=cursor)
            assert answer["error"]["code"] == "not_found"
        assert (await client.ask("GET", f"/chats/{theirs}"))[1]["error"]["code"] == "not_found"
        assert (await client.ask("GET", "/tokens"))[1]["error"]["code"] == "forbidden"
        for path in ("/session", "/feed", f"/chats/{theirs}/stream", "/ws", "/streams"):
            assert "error" in (await client.ask("GET", path))[1]


async def test_a_revoked_token_closes_the_connection_and_takes_no_more_commands(api: ApiClient) -> None:
    other = await api.as_owner("revoked soon")
    chat_id = await other.make_chat()
    async with connected(other) as client:
        await client.do(op="watch", chat_id=chat_id)
        await api.instance.tokens.revoke(other.token_id)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.ask("POST", f"/chats/{chat_id}/messages", {"content": "late"})
        assert client.connection.close_code == 1008
        codes = {message["error"]["code"] for message in client.seen if message["type"] == "error"}
        assert codes <= {"unauthenticated"}
        assert not any(message.get("status") == 201 for message in client.seen)


# --- bounds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"op":"fly"}',
        '{"op":"watch"}',
        '{"op":"watch","chat_id":5}',
        '{"op":"watch","chat_id":"x","cursor":"y","id":1}',
        '{"op":"watch","chat_id":"' + "x" * 5_000 + '"}',
        '{"op":"unwatch","chat_id":"x"}',
        '{"op":"request","id":-1,"method":"GET","path":"/chats"}',
        '{"op":"request","id":1,"method":"GET","path":"' + "/x" * 5_000 + '"}',
        '{"op":"request","id":1,"method":"BREW","path":"/chats"}',
        '{"op":"request","id":1,"method":"POST","path":"/chats","body":5}',
        '{"op":"request","id":1,"method":"POST","path":"/chats"}',
        '{"op":"request","id":1,"method":"GET","path":"/chats?limit=x"}',
        '{"op":"request","id":1,"method":"GET","path":"chats"}',
        '{"op":"request","id":1,"method":"GET","path":"/../../healthz"}',
        "[" * 10_000,
        '{"op":"request","id":1,"method":"POST","path":"/chats","body":' + "[" * 3_000 + "]" * 3_000 + "}",
        '{"op":"watch","chat_id":"\\ud800"}',
    ],
)
async def test_what_is_no_operation_is_refused_and_the_connection_goes_on(api: ApiClient, text: str) -> None:
    async with connected(api) as client:
        await client.connection.send(text)
        answer = await client.next()
        assert answer["type"] == "error"
        assert answer["error"]["code"] in ("invalid", "not_found", "cursor_invalid", "too_large")
        assert (await client.ask("GET", "/chats?limit=1"))[0] == 200


async def test_messages_that_are_too_large_close_the_connection(api: ApiClient) -> None:
    async with connected(api) as client:
        await client.connection.send("x" * (64 * 1024 + 1))
        await client.connection.wait_closed()
        assert client.connection.close_code == 1009
    assert (await api.ask("GET", "/session")).status == 200


async def test_a_flood_of_operations_whose_answers_are_not_read_is_bounded() -> None:
    async with open_api(timing=Timing(watch=WatchTiming(ping_s=0.3, slow_s=1.0))) as api:
        await api.make_chat(labels={f"{n:02}": "x" * 256 for n in range(64)})
        async with connected(api, max_queue=1) as client:
            operation = json.dumps({"op": "request", "id": 1, "method": "GET", "path": "/chats"})
            with contextlib.suppress(ConnectionClosed):
                async with asyncio.timeout(30):
                    for _ in range(100_000):
                        await client.connection.send(operation)
        await wait_until(lambda: len(api.instance.watch) == 0, "the connection was closed as slow")


async def _speak(turn: Any) -> AsyncIterator[Any]:
    for n in range(100):
        yield f"{n:04} " * (64 * 1024 // 5)
        await asyncio.sleep(0.001)


async def test_a_client_that_pauses_gets_everything_in_larger_pieces() -> None:
    async with open_api(agent=_speak) as api:
        chat_id, other = await api.make_chat(), await api.make_chat()
        async with connected(api, max_queue=1) as client:
            await client.do(op="watch", chat_id=chat_id, cursor="0")
            await client.do(op="watch", chat_id=other, cursor="0")
            await api.send(chat_id, "speak")
            await api.rested(chat_id)
            await client.until("turn_ended")
            check_cursors(client.events(chat_id))
            assert len(fold(client.events(chat_id)).messages) == 2


async def _say_much(turn: Any) -> AsyncIterator[Any]:
    for _ in range(20):
        yield "0123456789" * 50_000


async def test_pongs_do_not_come_into_a_large_event() -> None:
    async with open_api(agent=_say_much) as api:
        chat_id = await api.make_chat()
        async with connected(api, max_queue=1) as client:
            await client.do(op="watch", chat_id=chat_id, cursor="0")
            await api.send(chat_id, "speak")
            pongs = []
            for _ in range(20):
                pongs.append(await client.connection.ping())
                await asyncio.sleep(0.01)
            await client.until("turn_ended")
            check_cursors(client.events(chat_id))
            for pong in pongs:
                await pong


async def test_a_chat_that_is_not_in_memory_is_read_from_the_store_beside_others(api: ApiClient) -> None:
    long, other = await api.make_chat(), await api.make_chat()
    for n in range(60):  # more bytes than a reader keeps
        await api.ask("PATCH", f"/chats/{long}", {"labels": {f"{k:02}": f"{n}" + "x" * 250 for k in range(64)}})
    async with connected(api) as client:
        await client.do(op="watch", chat_id=other, cursor="0")
        await client.do(op="watch", chat_id=long, cursor="0")
        await api.send(other, "/say hi")
        await client.until("caught_up", lambda event: event["chat_id"] == long)
        check_cursors(client.events(long))
        if not any(event.type == "turn_ended" for event in client.events(other)):
            await client.until("turn_ended")


# --- the end


async def test_a_server_that_stops_says_so_and_closes(anyio_backend: Any) -> None:
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_api())
        chat_id = await api.make_chat()
        client: Client = await stack.enter_async_context(connected(api))
        await client.do(op="watch", chat_id=chat_id)
        api.instance.watch.end_all("shutdown", 1000)
        bye = await client.until("bye")
        assert (bye["reason"], bye["retry_ms"]) == ("shutdown", 1000)
        await client.connection.wait_closed()
        assert client.connection.close_code == 1012


async def test_an_ordinary_request_must_upgrade(api: ApiClient) -> None:
    answer = await api.ask("GET", "/ws")
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")


async def test_a_handshake_with_more_requests_behind_it_is_closed(api: ApiClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    head = (
        f"GET /api/v1/ws HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {api.token}\r\nconnection: upgrade\r\n"
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    writer.write(head.encode() + b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    answered = await reader.read()
    assert b"antiphon" not in answered
    assert b"instance_id" not in answered, "the second request is not executed"
    writer.close()


@pytest.mark.parametrize("library", ["websockets-sansio"])
async def test_another_asgi_server_serves_websockets_too(api: ApiClient, library: str) -> None:
    async with served_by_uvicorn(api, ws=library) as plain:
        chat_id = await plain.make_chat()
        async with connected(plain) as client:
            await client.do(op="watch", chat_id=chat_id, cursor="0")
            assert (await client.ask("POST", f"/chats/{chat_id}/messages", {"content": SCENE}))[0] == 201
            await client.until("turn_ended")
            check_cursors(client.events(chat_id))
            await client.connection.send("x" * (64 * 1024 + 1))
            await client.connection.wait_closed()
            assert client.connection.close_code == 1009
        async with connected(plain, f"/chats/{chat_id}/stream?after=0") as client:
            await client.until("caught_up")
        await wait_until(lambda: len(api.instance.watch) == 0)
        for headers, status in (({}, 401), ({"Origin": "https://evil.example"}, 403)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://127.0.0.1:{plain.port}/api/v1/ws", additional_headers=headers)
            assert refused.value.response.status_code == status


async def _handshake(api: ApiClient) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    head = (
        f"GET /api/v1/ws HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {api.token}\r\nconnection: upgrade\r\n"
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    writer.write(head.encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def _masked(first: int, data: bytes) -> bytes:
    """A frame of a client, with a mask that changes nothing."""
    return bytes([first, 0x80 | len(data), 0, 0, 0, 0]) + data


@pytest.mark.parametrize("frame", [_masked(0x81, b"{}"), _masked(0x89, b""), _masked(0x81, b"")])
async def test_many_small_messages_at_once_do_not_block_the_event_loop(
    api: ApiClient, frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    receive_data = Protocol.receive_data

    def receive(protocol: Protocol, data: bytes) -> None:
        sizes.append(len(data))
        receive_data(protocol, data)

    monkeypatch.setattr(Protocol, "receive_data", receive)
    reader, writer = await _handshake(api)
    count = 20_000
    writer.write(frame * count + _masked(0x88, b""))
    answered = 0
    while data := await reader.read(65_536):
        answered += len(data)
    assert answered > count * 2, "each is answered"
    assert max(sizes) <= PIECE_BYTES
    writer.close()


async def test_a_client_that_closes_and_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_S", 0.1)
    taken: list[Connection] = []
    take_over = Connection.take_over
    monkeypatch.setattr(Connection, "take_over", lambda self, by: taken.append(self) or take_over(self, by))
    async with open_api() as api:
        _, writer = await _handshake(api)
        transport = taken[0].transport
        for _ in range(2_000):
            if transport.get_write_buffer_size():
                break
            writer.write(_masked(0x89, b"x" * 125) * 200)
            await asyncio.sleep(0.002)
        writer.write(_masked(0x88, b""))
        await wait_until(lambda: taken[0].scope is None, "the connection is lost")
        writer.transport.abort()


@pytest.mark.parametrize("library", ["websockets-sansio"])
async def test_another_asgi_server_closes_a_slow_client_too(library: str) -> None:
    async with (
        open_api(timing=Timing(watch=WatchTiming(ping_s=0.3, slow_s=0.5)), agent=_say_much) as api,
        served_by_uvicorn(api, ws=library) as plain,
    ):
        chat_id = await api.make_chat("speak")
        _, writer = await _handshake(plain)
        watch = json.dumps({"op": "watch", "chat_id": chat_id, "cursor": "0"})
        writer.write(_masked(0x81, watch.encode()))
        await wait_until(lambda: len(api.instance.watch) == 2)
        await wait_until(lambda: len(api.instance.watch) == 0, "the connection was closed as slow")
        writer.transport.abort()
