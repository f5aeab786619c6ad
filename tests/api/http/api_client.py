"""An instance in this process behind a real socket, and a client of its HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

from antiphon.api.http.table import API
from antiphon.chats.tokens import NewToken
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance, open_server
from support.waiting import DEADLINE_S

from .schema import check_answer
from .wire import Answer, Stream, Wire, close_wires, make_request

_chat_numbers = itertools.count(1)


class ApiClient:
    """Asks as its owner unless another token is given. Every answer is held against /openapi.json."""

    def __init__(self, instance: Instance, port: int, made: NewToken, *, admin_token: str) -> None:
        self.instance = instance
        self.port = port
        self.token = made.secret
        self.token_id = made.token.token_id
        self.owner_id = made.token.owner_id
        self.admin_token = admin_token
        self._idle: list[Wire] = []
        self._others: list[ApiClient] = []

    async def as_owner(self, name: str) -> ApiClient:
        """A client of the same instance, with a token of another owner."""
        made = await self.instance.tokens.create(name)
        await self.instance.owners.refresh_count()
        other = ApiClient(self.instance, self.port, made, admin_token=self.admin_token)
        self._others.append(other)
        return other

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "",
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request below the API's prefix (`//path`: outside of it). `data` are a body's very bytes."""
        path = path[1:] if path.startswith("//") else API + path
        if data is None:
            data = b"" if body is None else json.dumps(body).encode()
        secret = self.token if token == "" else token
        self._idle = [wire for wire in self._idle if not wire.writer.is_closing()]
        wire = self._idle.pop() if self._idle else await Wire.open(self.port)
        try:
            wire.send(make_request(method, path, token=secret, body=data, headers=headers))
            answer = await wire.read_answer(method)
        except BaseException:
            await wire.close()
            raise
        if answer.headers.get("connection") == "close":
            await wire.close()
        else:
            self._idle.append(wire)
        if method != "HEAD":
            check_answer(method, path, answer)
        return answer

    async def stream(
        self,
        path: str,
        *,
        token: str | None = "",
        cursor: str = "",
        receive_bytes: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Stream:
        """Open a stream that is given. `cursor` goes into Last-Event-ID."""
        wire = await Wire.open(self.port, receive_bytes=receive_bytes)
        more = ({"last-event-id": cursor} if cursor else {}) | (headers or {})
        wire.send(make_request("GET", API + path, token=self.token if token == "" else token, headers=more))
        try:
            async with asyncio.timeout(DEADLINE_S):
                status, answered = await wire.read_head()
        except BaseException:
            await wire.close()
            raise
        if status != 200:
            body = await wire.reader.readexactly(int(answered["content-length"]))
            await wire.close()
            raise AssertionError(f"no stream: {status} {body!r}")
        return Stream(wire, answered)

    async def events(self, path: str, **options: Any) -> list[Any]:
        """All events of a stream that ends by itself."""
        stream = await self.stream(path, **options)
        try:
            return await stream.rest()
        finally:
            await stream.close()

    # --- chats

    async def make_chat(self, content: str | None = None, **fields: Any) -> str:
        """A chat's id; with content its first turn has started."""
        body = fields | ({"content": content} if content is not None else {})
        token = body.pop("token", "")
        answer = await self.ask("POST", "/chats", body, token=token)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    async def send(self, chat_id: str, content: Any, **fields: Any) -> Answer:
        token = fields.pop("token", "")
        return await self.ask("POST", f"/chats/{chat_id}/messages", {"content": content, **fields}, token=token)

    async def chat(self, chat_id: str) -> Any:
        answer = await self.ask("GET", f"/chats/{chat_id}")
        assert answer.status == 200, answer.body
        return answer.json

    async def rested(self, chat_id: str, *, token: str = "") -> Any:
        """The chat as soon as it waits, is in error or requires action."""
        await self.events(f"/chats/{chat_id}/stream?until=idle", token=token)
        return (await self.ask("GET", f"/chats/{chat_id}", token=token)).json

    async def texts(self, chat_id: str) -> list[str]:
        """The history: `user: …`, `assistant: …`."""
        messages = (await self.ask("GET", f"/chats/{chat_id}/messages?limit=1000")).json["messages"]
        return [f"{message['role']}: {_text_of(message.get('content', []))}" for message in messages]

    async def queued(self, chat_id: str) -> list[str]:
        queued = (await self.ask("GET", f"/chats/{chat_id}/messages")).json["queued_messages"]
        return [_text_of(item["content"]) for item in queued]

    # --- the end

    async def close_connections(self) -> None:
        """Close the idle connections, also those of the clients of other owners."""
        while self._idle:
            await self._idle.pop().close()
        while self._others:
            await self._others.pop().close_connections()


def _text_of(content: list[Any]) -> str:
    return "".join(part["text"] for part in content if part["type"] == "text")


@contextlib.asynccontextmanager
async def open_api(**options: Any) -> AsyncIterator[ApiClient]:
    async with (
        open_instance(**{"port": 0, "drain_s": 0.0} | options) as instance,
        open_server(instance) as url,
    ):
        made = await instance.tokens.create("admin", is_admin=True)
        api = ApiClient(instance, int(url.rsplit(":", 1)[1]), made, admin_token=made.secret)
        try:
            yield api
        finally:
            await api.close_connections()
            await close_wires()


def random_chat_id() -> str:
    return f"0badc0de-0000-4000-8000-{next(_chat_numbers):012d}"
