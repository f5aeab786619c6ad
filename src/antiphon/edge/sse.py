"""Server-sent events: a watcher's batches, or a feed's frames, written to the connection as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from antiphon.chats.feed import Feed
from antiphon.chats.watch import Watcher
from antiphon.edge.connection import EXTENSION, Connection

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
LAST: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class WatchStream(Response):
    """The stream of one chat, or of an owner's feed. Opened watchers are closed here, however it ends."""

    def __init__(self, opened: AbstractAsyncContextManager[Watcher | Feed], watcher: Watcher | Feed) -> None:
        super().__init__()
        self._opened = opened
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = self._watcher
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            connection = scope.get("extensions", {}).get(EXTENSION)
            if isinstance(connection, Connection) and isinstance(watcher, Watcher) and scope["http_version"] == "1.1":
                await _Direct(connection, watcher).run()
                if watcher.is_over:
                    await send(LAST)
            else:
                await self._write_until_left(receive, send)
        finally:
            await self._opened.__aexit__(None, None, None)

    async def _write_until_left(self, receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_disconnected(receive))
        self._watcher.stop_sending = writing.cancel
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and not writing.cancelled():
                await writing
        finally:
            writing.cancel()
            leaving.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        watcher = self._watcher
        while not watcher.is_over:
            if isinstance(watcher, Feed):
                data = b"".join(frame.sse for frame in await watcher.take())
            else:
                data = (await watcher.take()).data
            watcher.sending_since = loop.time()
            await send({"type": "http.response.body", "body": data, "more_body": True})
            watcher.sending_since = 0.0
        await send(LAST)


class _Direct:
    """Writes a watcher's batches to its socket in the very moment the watcher is woken."""

    def __init__(self, connection: Connection, watcher: Watcher) -> None:
        self._connection = connection
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._is_lost = False
        self._turn: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Until the watcher's good-bye is written or the peer is gone."""
        watcher, connection = self._watcher, self._connection
        connection.sink = self
        watcher.stop_sending = connection.abort
        self._is_lost = connection.transport.is_closing()
        try:
            while not (self._is_lost or watcher.is_over):
                if watcher.is_behind and connection.is_writable:
                    batch = await watcher.take_old()
                    if batch is not None:
                        connection.write(batch.chunked)
                    continue
                self._turn = self._loop.create_future()
                watcher.on_wake = self.pump
                self.pump()
                await self._turn
        finally:
            watcher.on_wake = None
            connection.sink = None

    def pump(self) -> None:
        """Write what there is for as long as the socket takes it."""
        watcher, connection = self._watcher, self._connection
        while connection.is_writable:
            if watcher.is_behind:
                self._give_turn()
                return
            batch = watcher.take_nowait()
            if batch is None:
                return
            connection.write(batch.chunked)
            watcher.sending_since = 0.0
            if watcher.is_over:
                self._give_turn()
                return
        if not watcher.sending_since:
            watcher.sending_since = self._loop.time()

    def on_lost(self) -> None:
        self._is_lost = True
        self._give_turn()

    def _give_turn(self) -> None:
        """Let `run` go on: the stream is over, or the store has to be read."""
        self._watcher.on_wake = None
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


async def _disconnected(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def open_stream(opened: AbstractAsyncContextManager[Watcher | Feed]) -> WatchStream:
    """Open the watcher now, so that a refusal is still an ordinary answer."""
    return WatchStream(opened, await opened.__aenter__())
