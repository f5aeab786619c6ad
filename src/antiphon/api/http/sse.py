"""Server-sent events: writes the batches of a watcher, or the frames of a feed, to the connection."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.watch.plain_stream import PlainStream
from antiphon.watch.watcher import Watcher

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
PIECE_BYTES = 64 * 1024
"""Maximum size of one write. With the socket's high-water mark it bounds the memory for a client that does not read,
however large one event is."""

Stream = Watcher | PlainStream

LAST: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class LiveAnswer(Response, ABC):
    """A response that follows a chat: it takes as long as the chat does."""

    @abstractmethod
    async def head(self) -> Response:
        """The response to HEAD: releases what was opened."""


class WatchStream(LiveAnswer):
    """The stream of one chat, or of an owner's feed. It closes the watcher in any case."""

    def __init__(self, opened: AbstractAsyncContextManager[Stream], watcher: Stream) -> None:
        super().__init__()
        self._opened = opened
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = self._watcher
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            connection = scope.get("extensions", {}).get(EXTENSION)
            if isinstance(connection, Connection) and isinstance(watcher, Watcher) and scope["http_version"] == "1.1":
                await DirectWriter(connection, watcher).run()
                if watcher.is_closed:
                    await send(LAST)
            else:
                await self._write_until_left(receive, send, connection)
        finally:
            await self._opened.__aexit__(None, None, None)

    async def head(self) -> Response:
        """The response to HEAD: closes the watcher."""
        await self._opened.__aexit__(None, None, None)
        answer = Response()
        answer.raw_headers = list(HEADERS)
        return answer

    async def _write_until_left(self, receive: Receive, send: Send, connection: object) -> None:
        await write_until_left(self._write(send), receive, self._watcher, connection)

    async def _write(self, send: Send) -> None:
        watcher = self._watcher
        while not watcher.is_closed:
            await in_pieces(await _next_bytes(watcher), send, watcher)
        await send(LAST)


class Sender(Protocol):
    """A stream whose client may be slow. See `ports.ChatWatcher`."""

    sending_since: float
    stop_sending: Callable[[], object] | None


async def in_pieces(data: bytes, send: Send, sender: Sender) -> None:
    """Send a part of the body, and note since when the client accepts nothing."""
    loop = asyncio.get_running_loop()
    for start in range(0, len(data), PIECE_BYTES):
        sender.sending_since = loop.time()
        piece = data[start : start + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    sender.sending_since = 0.0


class Chunk(Protocol):
    """Bytes to write, as a chunk of HTTP's chunked coding."""

    @property
    def chunked(self) -> bytes: ...


class DirectSource(Protocol):
    """What `DirectWriter` writes: a watcher, or a translation of one. See `ports.ChatWatcher`."""

    sending_since: float
    stop_sending: Callable[[], object] | None
    on_wake: Callable[[], None] | None

    @property
    def is_closed(self) -> bool: ...

    @property
    def is_behind(self) -> bool: ...

    def next_batch_nowait(self) -> Chunk | None: ...

    async def next_old_batch(self) -> Chunk | None: ...


class DirectWriter:
    """Writes the batches of a watcher to its socket at once when the watcher is woken, without a task switch."""

    def __init__(self, connection: Connection, watcher: DirectSource) -> None:
        self._connection = connection
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._is_lost = False
        self._is_pumping = False
        self._rest: bytes | memoryview = b""
        self._turn: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Run until the last event of the watcher is written or the connection is lost."""
        watcher, connection = self._watcher, self._connection
        connection.sink = self
        watcher.stop_sending = connection.abort
        self._is_lost = connection.transport.is_closing()
        try:
            while not self._is_lost and (self._rest or not watcher.is_closed):
                if watcher.is_behind and connection.is_writable and not self._rest:
                    self._hold(await watcher.next_old_batch())
                    continue
                self._turn = self._loop.create_future()
                watcher.on_wake = self.pump
                self.pump()
                await self._turn
        finally:
            watcher.on_wake = None
            connection.sink = None

    def pump(self) -> None:
        """Write batches until there are none, or the socket is full. A reentrant call does nothing."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            self._pump()
        except Exception as error:  # the caller wakes other streams, too: `run` raises it
            self._fail(error)
        finally:
            self._is_pumping = False

    def _fail(self, error: Exception) -> None:
        self._watcher.on_wake = None
        if self._turn is not None and not self._turn.done():
            self._turn.set_exception(error)

    def _pump(self) -> None:
        watcher, connection = self._watcher, self._connection
        while connection.is_writable:
            if self._rest:
                piece, self._rest = self._rest[:PIECE_BYTES], self._rest[PIECE_BYTES:]
                connection.write(piece)
                watcher.sending_since = 0.0
                continue
            if self._must_stop():
                self._give_turn()
                return
            batch = watcher.next_batch_nowait()
            if batch is None:
                if self._must_stop():  # a translation may skip what it has read
                    self._give_turn()
                return
            self._hold(batch)
        if not watcher.sending_since:
            watcher.sending_since = self._loop.time()

    def _must_stop(self) -> bool:
        """Whether `run` must go on: the stream has ended, or the store must be read."""
        return self._watcher.is_closed or self._watcher.is_behind

    def _hold(self, batch: Chunk | None) -> None:
        """Write `batch`; if it is large, in pieces."""
        if batch is None:
            return
        data = batch.chunked
        if len(data) <= PIECE_BYTES:
            self._connection.write(data)
            self._watcher.sending_since = 0.0
        else:
            self._rest = memoryview(data)

    def on_lost(self) -> None:
        self._is_lost = True
        self._give_turn()

    def _give_turn(self) -> None:
        """Resume `run`: the stream has ended, or the store must be read."""
        self._watcher.on_wake = None
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


async def _next_bytes(watcher: Stream) -> bytes:
    """Wait for the next batch."""
    if isinstance(watcher, PlainStream):
        return b"".join(frame.sse for frame in await watcher.next_batch())
    while watcher.is_behind:  # `next_batch` would wait for a wake-up, though the reader may have caught up already
        batch = await watcher.next_old_batch()
        if batch is not None:
            return batch.data
    return (await watcher.next_batch()).data


async def write_until_left(
    work: Coroutine[Any, Any, None], receive: Receive, sender: Sender, connection: object
) -> None:
    """Do the `work` of writing until it is done, the client has left, or `sender` is stopped as slow."""
    writing = asyncio.create_task(work)
    leaving = asyncio.create_task(disconnected(receive))
    sender.stop_sending = connection.abort if isinstance(connection, Connection) else writing.cancel
    try:
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if writing.done() and not writing.cancelled():
            await writing
    finally:
        writing.cancel()
        leaving.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)


async def disconnected(receive: Callable[[], Awaitable[Message]]) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def open_stream(opened: AbstractAsyncContextManager[Stream]) -> WatchStream:
    """Open the watcher now, so that a refusal is still an ordinary answer."""
    return WatchStream(opened, await opened.__aenter__())
