"""WebSockets through a standby."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support.waiting import DEADLINE_S, wait_until

from .test_standby import Standby, fake_primary, open_standby_app, standby

__all__ = ["standby"]
pytestmark = pytest.mark.anyio


def socket_of(standby: Standby, token: str | None = None, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {standby.token if token is None else token}"}
    return connect(f"ws://127.0.0.1:{standby.port}/api/v1/ws", additional_headers=headers, **options)


async def until(socket: Any, type: str) -> Any:  # noqa: A002
    async with asyncio.timeout(DEADLINE_S):
        while (message := json.loads(await socket.recv()))["type"] != type:
            pass
        return message


async def test_a_websocket_is_forwarded_in_both_directions(standby: Standby) -> None:
    async with socket_of(standby) as socket:
        body = {"content": "/tokens 2000\n/rate 100000"}
        operation = {"op": "request", "id": 1, "method": "POST", "path": "/chats", "body": body}
        await socket.send(json.dumps(operation))
        chat_id = (await until(socket, "response"))["body"]["id"]
        await socket.send(json.dumps({"op": "watch", "chat_id": chat_id, "cursor": "0"}))
        ended = await until(socket, "turn_ended")
        assert ended["outcome"] == "answered"
        large = {"title": "x" * 60_000}
        await socket.send(json.dumps(operation | {"id": 2, "body": large}))
        assert (await until(socket, "error"))["error"]["code"] in ("invalid", "too_large")
    await wait_until(lambda: not standby.app._tunnels)


@pytest.mark.parametrize(("token", "status"), [("no", 401), ("", 401)])
async def test_a_refused_handshake_is_forwarded(standby: Standby, token: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket_of(standby, token):
            pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body or b"")["error"]["code"] == "unauthenticated"


async def test_a_foreign_web_page_is_refused(standby: Standby) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket_of(standby, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_a_lost_primary_closes_the_connection(tmp_path: Path) -> None:
    is_lost = asyncio.Event()

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        from websockets.utils import accept_key

        accepted = accept_key(key.partition(b": ")[2].decode())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: " + accepted.encode() + b"\r\n\r\n"
        )
        await is_lost.wait()

    async with (
        fake_primary(tmp_path / "data", behave),
        open_standby_app(tmp_path / "data", token="t") as opened,
        socket_of(opened) as socket,
    ):
        is_lost.set()
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_stopping_standby_closes_its_websockets(standby: Standby) -> None:
    async with socket_of(standby) as socket:
        standby.app.stop()
        with contextlib.suppress(ConnectionClosed):
            await until(socket, "never")
        assert socket.close_code is not None


HANDSHAKE = b"GET /api/v1/ws HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


async def test_a_handshake_that_waits_for_a_primary_is_handled_by_the_standby_that_becomes_it(tmp_path: Path) -> None:
    async def successor(scope: Any, receive: Any, send: Any) -> None:
        await Response(f"{scope['path']} of the next primary")(scope, receive, send)

    (tmp_path / "data").mkdir()
    async with open_standby_app(tmp_path / "data", token="t") as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(HANDSHAKE)
        await wait_until(lambda: len(opened.app._tunnels) == 1)
        opened.app.succeed(successor)
        assert (await reader.readuntil(b"primary")).endswith(b"/api/v1/ws of the next primary")
        writer.close()


async def test_a_client_that_does_not_read_is_disconnected(tmp_path: Path) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()

    async with (
        fake_primary(tmp_path / "data", behave),
        open_standby_app(tmp_path / "data", token="t", slow_reader_s=0.3) as opened,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port, limit=1024)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        await wait_until(lambda: len(opened.app._tunnels) == 1)
        await wait_until(lambda: not opened.app._tunnels)
        writer.transport.abort()
