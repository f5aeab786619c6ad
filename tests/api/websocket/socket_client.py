"""`websockets`' own client for the WebSocket of a server."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from support.waiting import DEADLINE_S

from ..http.api_client import ApiClient
from ..http.wire import SseEvent


class Client:
    """Keeps what it received."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.seen: list[Any] = []
        self._ids = itertools.count(1)

    async def send(self, **operation: Any) -> int:
        number = next(self._ids)
        await self.connection.send(json.dumps({"id": number, **operation}))
        return number

    async def next(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            message = json.loads(await self.connection.recv())
        self.seen.append(message)
        return message

    async def until(self, type: str, where: Callable[[Any], bool] = lambda message: True) -> Any:  # noqa: A002
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    message = await self.next()
                    if message["type"] == type and where(message):
                        return message
        except TimeoutError:
            raise AssertionError(f"no {type} came; the last messages: {self.seen[-5:]}") from None

    async def do(self, **operation: Any) -> Any:
        """The answer to an operation."""
        number = await self.send(**operation)
        while (message := await self.next()).get("id") != number:
            pass
        return message

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        more = {} if body is None else {"body": body}
        answer = await self.do(op="request", method=method, path=path, **more)
        return answer.get("status", 0), answer.get("body", answer)

    def events(self, chat_id: str) -> list[SseEvent]:
        """The events of a chat as those of its own stream."""
        found = [dict(message) for message in self.seen if message.get("chat_id") == chat_id]
        return [
            SseEvent(event.pop("cursor", ""), event["type"], json.dumps(_own(event)).encode(), b"")
            for event in found
            if event["type"] not in ("watching", "unwatched", "ended")
        ]


def _own(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "chat_id"}


@asynccontextmanager
async def connected(api: ApiClient, path: str = "/ws", **options: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {api.token}"}
    options = {"additional_headers": headers, "max_size": None, **options}
    async with connect(f"ws://127.0.0.1:{api.port}/api/v1{path}", **options) as connection:
        yield Client(connection)
