"""WebSockets where another ASGI server runs the app: mounted in an application, under any server."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.api.http.auth import ASGI_SOCKET
from antiphon.api.websocket.session import CLOSE_CODES, CLOSED_NORMALLY, MESSAGE_BYTES_MAX, Session

TOO_LARGE, REFUSED = 1009, 1008
REASON_BYTES_MAX = 123
"""Maximum length of the reason of a close (RFC 6455, section 5.5)."""


class AsgiSocket:
    """The WebSocket of one client, whose handshake is not answered yet."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def run(self, session: Session, protocol: str) -> None:
        """Accept the handshake, then send and receive until the end."""
        await self._send({"type": "websocket.accept", "subprotocol": protocol or None})
        writing = asyncio.create_task(self._write(session))
        tasks = {writing, asyncio.create_task(self._read(session))}
        session.group.stop_sending = writing.cancel
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():  # the client is slow
                    await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, session: Session) -> None:
        loop, group = asyncio.get_running_loop(), session.group
        while (messages := await group.next_batch()) is not None:
            for text in messages.texts:
                group.sending_since = loop.time()
                await self._send({"type": "websocket.send", "text": text.decode()})
            group.sending_since = 0.0
            session.on_room()
        code = CLOSE_CODES.get(group.end_reason, CLOSED_NORMALLY)
        await self._send({"type": "websocket.close", "code": code, "reason": group.end_reason})

    async def _read(self, session: Session) -> None:
        has_room = asyncio.Event()
        session.on_room = has_room.set
        while (message := await self._receive())["type"] == "websocket.receive":
            text = message.get("text")
            data: bytes = text.encode("utf-8", "replace") if text is not None else message.get("bytes") or b""
            if len(data) > MESSAGE_BYTES_MAX:
                await self._send({"type": "websocket.close", "code": TOO_LARGE})
                return
            session.receive(data)
            while session.is_full:
                has_room.clear()
                await has_room.wait()


async def serve_websocket(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Handle a WebSocket as the request that it began with. A refusal is the answer to the handshake where the server
    supports that, and else a close."""
    await receive()
    extensions = dict(scope.get("extensions") or {})
    may_answer = "websocket.http.response" in extensions

    async def refuse(message: Message) -> None:
        if may_answer:
            await send({**message, "type": message["type"].replace("http.", "websocket.http.", 1)})
        elif message["type"] == "http.response.body":
            await send({"type": "websocket.close", "code": REFUSED, "reason": _reason_in(message["body"])})

    socket = AsgiSocket(receive, send)
    request = {**scope, "type": "http", "method": "GET", "extensions": {**extensions, ASGI_SOCKET: socket}}
    await app(request, _no_body, refuse)


def _reason_in(body: bytes) -> str:
    """The sentence of an error."""
    try:
        error = msgspec.json.decode(body)["error"]
        return str(error["message"]).encode()[:REASON_BYTES_MAX].decode(errors="ignore")
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
