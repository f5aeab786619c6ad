"""Server-sent events: a watcher's batches, or a feed's frames, written to the connection as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from antiphon.chats.feed import Feed
from antiphon.chats.watch import Watcher

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class WatchStream(Response):
    """The stream of one chat, or of an owner's feed. Opened watchers are closed here, however it ends."""

    def __init__(self, opened: AbstractAsyncContextManager[Watcher | Feed], watcher: Watcher | Feed) -> None:
        super().__init__()
        self._opened = opened
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            writing = asyncio.create_task(self._write(send))
            leaving = asyncio.create_task(_disconnected(receive))
            self._watcher.stop_sending = writing.cancel
            try:
                await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                writing.cancel()
                leaving.cancel()
                await asyncio.gather(writing, leaving, return_exceptions=True)
        finally:
            await self._opened.__aexit__(None, None, None)

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        if isinstance(self._watcher, Feed):
            await self._write_feed(self._watcher, send)
        else:
            await self._write_chat(self._watcher, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write_chat(self, watcher: Watcher, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while not watcher.is_over:
            batch = None if watcher.is_behind else watcher.take_nowait()
            if batch is None:
                batch = await watcher.take()
            watcher.sending_since = loop.time()
            await send({"type": "http.response.body", "body": batch.data, "more_body": True})
            watcher.sending_since = 0.0

    async def _write_feed(self, feed: Feed, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while not feed.is_over:
            frames = await feed.take()
            feed.sending_since = loop.time()
            data = b"".join(frame.sse for frame in frames)
            await send({"type": "http.response.body", "body": data, "more_body": True})
            feed.sending_since = 0.0


async def _disconnected(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def open_stream(opened: AbstractAsyncContextManager[Watcher | Feed]) -> WatchStream:
    """Open the watcher now, so that a refusal is still an ordinary answer."""
    return WatchStream(opened, await opened.__aenter__())
