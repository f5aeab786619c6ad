"""`/api/v1/ws`, and a chat's stream as a WebSocket."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon.api.http.auth import ASGI_SOCKET, SOCKET_PROTOCOL, is_websocket, offered_protocols
from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.api.http.sse import LiveAnswer
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.api.websocket.session import Session


class SocketAnswer(LiveAnswer):
    """Turns the connection of a request into a WebSocket."""

    def __init__(self, session: Session, key: str, *, protocol: str) -> None:
        super().__init__()
        self._session = session
        self._key = key
        self._protocol = protocol

    async def head(self) -> Response:
        raise AssertionError("HEAD is no handshake")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from antiphon.api.websocket.socket import DirectSocket

        try:
            if (other := scope["extensions"].get(ASGI_SOCKET)) is not None:
                await other.run(self._session, self._protocol)
            else:
                await DirectSocket(scope["extensions"][EXTENSION], self._session).run(self._head())
        finally:
            await self._session.aclose()

    def _head(self) -> bytes:
        chosen = f"sec-websocket-protocol: {self._protocol}\r\n" if self._protocol else ""
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            f"sec-websocket-accept: {self._key}\r\n{chosen}\r\n"
        )
        return head.encode()


async def open_socket(call: Call, *, chat_id: str = "", cursor: str = "", by_ref: bool = False) -> SocketAnswer:
    """Open the session, and watch `chat_id`, now, so that a refusal is an ordinary answer.

    Raises:
        HTTPException: The request is no WebSocket handshake.
        NotFound, CursorInvalid, TooMany: The chat cannot be watched.
    """
    from antiphon.api.websocket.socket import accepted_key  # only an instance with WebSockets pays for the import

    if not is_websocket(call.request):
        raise HTTPException(426, "This address is a WebSocket.", {"upgrade": "websocket", "connection": "upgrade"})
    extensions = call.request.scope.get("extensions", {})
    if ASGI_SOCKET not in extensions and not isinstance(extensions.get(EXTENSION), Connection):
        raise HTTPException(400, "The server that runs this app passes a WebSocket on as an ordinary request.")
    key = accepted_key(call.request) if ASGI_SOCKET not in extensions else ""
    protocol = SOCKET_PROTOCOL if SOCKET_PROTOCOL in offered_protocols(call.request) else ""
    session = Session(call)
    try:
        await session.open()
        if chat_id:
            await session.watch(chat_id, cursor, by_ref=by_ref)
    except BaseException:
        await session.aclose()
        raise
    return SocketAnswer(session, key, protocol=protocol)


async def ws(call: Call) -> Response:
    return await open_socket(call)


ROUTES: tuple[Operation, ...] = (
    route("GET", "/ws", ws, Policy.OWNER, "A WebSocket: follow chats and send commands on one connection.",
          (101, None), is_websocket=True),
)  # fmt: skip
