"""How each protocol follows a turn: the requests of the benchmarks."""

from __future__ import annotations

from typing import NamedTuple


class Way(NamedTuple):
    """The head of a request, its body, and what is sent when the stream has begun. `{chat}` is the chat's id, `{hex}`
    the same without dashes; the turn is the first of its chat."""

    name: str
    method: str
    path: str
    begun: bytes
    headers: str = ""
    body: str = ""

    def request(self, chat_id: str, *, host: str, token: str) -> bytes:
        path, body = self.path, self.body
        for name, value in {"chat": chat_id, "hex": chat_id.replace("-", "")}.items():
            path, body = path.replace(f"{{{name}}}", value), body.replace(f"{{{name}}}", value)
        return (
            f"{self.method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Length: {len(body)}\r\n{self.headers}\r\n{body}"
        ).encode()


UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
OWN = Way("its own stream", "GET", "/api/v1/chats/{chat}/stream?after=1", b"caught_up")
OTHERS = (
    Way("a WebSocket", "GET", "/api/v1/chats/{chat}/stream?after=1", b"caught_up", UPGRADE),
    Way("a stream of many chats", "GET", "/api/v1/streams?chat={chat}&after=1", b"caught_up"),
    Way("OpenAI's Responses", "GET", "/v1/responses/resp_{hex}_2?stream=true", b"response.in_progress"),
    Way("the AI SDK's UI message stream", "GET", "/api/ui/chat/{chat}/stream", b'"start"'),
    Way("AG-UI", "GET", "/agui/{chat}", b"RUN_STARTED"),
    Way("A2A", "POST", "/a2a/v1/tasks/task_{hex}_2:subscribe", b'"task"', "A2A-Version: 1.0\r\n"),
)
