"""A chat's stream in another protocol: as server-sent events, or as one JSON value when it has ended.

The translation is pure. Here are the connection, the watcher and their limits, the same for every protocol.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.api.http.sse import HEADERS, LAST, DirectWriter, LiveAnswer, WatchStream, disconnected, in_pieces
from antiphon.core.events import Bye, Delta, Event
from antiphon.errors import TooMany, Unauthenticated
from antiphon.watch.watch import HELD_TEXT_MAX
from antiphon.watch.watcher import Watcher
from antiphon.wire.stream import Frame

PING = b": ping\n\n"
"""A comment: it keeps the connection open, and clients ignore it."""
LARGE_BYTES = 256 * 1024
"""Size of an answer from which its facts are translated piece by piece, in bytes."""

Opened = AbstractAsyncContextManager[Watcher]
Finally = Callable[[], Awaitable[None]]


class Translation(ABC):
    """The events of a chat as bytes of another protocol's stream."""

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether the last bytes were given: the stream ends."""

    @property
    def holds_text(self) -> bool:
        """Whether it keeps the text of the answer; most protocols repeat it at the end."""
        return True

    @abstractmethod
    def begin(self) -> bytes:
        """The first bytes."""

    @abstractmethod
    def apply(self, event: Event) -> bytes:
        """The bytes for an event; empty if the protocol has none."""

    def pieces(self, event: Event) -> Iterator[bytes]:
        """The same bytes in pieces, each made when it is sent. Used for the facts of a long answer, which a protocol
        may repeat several times. The next event is applied after the last piece."""
        yield self.apply(event)

    @abstractmethod
    def cut_off(self, reason: str) -> bytes:
        """The last bytes of a stream that the server ends before the chat is done: it stops, or the client is
        slow."""


class _Chunk:
    """Translated bytes to write."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def chunked(self) -> bytes:
        return b"%x\r\n%b\r\n" % (len(self.data), self.data)


class TextCount:
    """Counts the text that a translation holds, by the events that it has taken."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._in_draft = 0
        self.size = 0
        """In code points."""

    def add_delta(self, event: Delta) -> None:
        size = event.to - event.from_
        self._in_draft += size
        self.size += size
        self._watcher.hold_text(size)

    def add(self, frame: Frame) -> None:
        if type(event := frame.event) is Delta:
            self.add_delta(event)
            return
        if frame.type == "message_appended":
            size = max(len(frame.data) - self._in_draft, 0)
            self._in_draft = 0
        else:
            return
        self.size += size
        self._watcher.hold_text(size)

    def clear(self) -> None:
        """The text is not held any more."""
        self.size = self._in_draft = 0
        self._watcher.release_text()


class TranslatedWatcher:
    """A watcher whose batches are translated; those without bytes are skipped."""

    def __init__(self, watcher: Watcher, translation: Translation) -> None:
        self._watcher = watcher
        self._translation = translation
        self._first: bytes | None = translation.begin()
        self._frames: deque[Frame] = deque()
        """Events that are not translated yet."""
        self._pieces: Iterator[bytes] | None = None
        """What is left of a large event."""
        self._text = TextCount(watcher)

    @property
    def _has_more(self) -> bool:
        """Whether there are bytes before the next batch."""
        return self._first is not None or self._pieces is not None or bool(self._frames)

    @property
    def is_closed(self) -> bool:
        return not self._has_more and (self._translation.is_complete or self._watcher.is_closed)

    @property
    def is_behind(self) -> bool:
        return not self._has_more and self._watcher.is_behind

    @property
    def sending_since(self) -> float:
        return self._watcher.sending_since

    @sending_since.setter
    def sending_since(self, since: float) -> None:
        self._watcher.sending_since = since

    @property
    def stop_sending(self) -> Callable[[], object] | None:
        return self._watcher.stop_sending

    @stop_sending.setter
    def stop_sending(self, stop: Callable[[], object] | None) -> None:
        self._watcher.stop_sending = stop

    @property
    def on_wake(self) -> Callable[[], None] | None:
        return self._watcher.on_wake

    @on_wake.setter
    def on_wake(self, wake: Callable[[], None] | None) -> None:
        self._watcher.on_wake = wake

    def next_batch_nowait(self) -> _Chunk | None:
        """The next bytes; None if there are none yet."""
        while True:
            if self._has_more:
                if data := self._take():
                    return _Chunk(data)
                continue
            watcher, translation = self._watcher, self._translation
            if translation.is_complete or watcher.is_closed or watcher.is_behind:
                return None
            batch = watcher.next_batch_nowait()
            if batch is None:
                return None
            frames = batch.frames
            if len(frames) == 1 and type(event := frames[0].event) is Delta:  # the common case
                if translation.holds_text:
                    self._text.add_delta(event)
                if data := translation.apply(event):
                    return _Chunk(data)
            else:
                self._frames.extend(frames)

    async def next_old_batch(self) -> _Chunk | None:
        """The bytes for the next events of the store; None if there are none."""
        batch = await self._watcher.next_old_batch()
        self._frames.extend(batch.frames if batch is not None else ())
        data = self._take()
        return _Chunk(data) if data else None

    async def next_bytes(self) -> bytes:
        """Wait for the next bytes; empty for events that have none."""
        if not self._has_more:
            self._frames.extend(await next_frames(self._watcher))
        return self._take()

    def _take(self) -> bytes:
        """The bytes of the pending events up to the next large one, or a piece of that one."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._pieces is not None:
            piece = next(self._pieces, None)
            if piece is not None:
                return piece
            self._pieces = None
        pieces: list[bytes] = []
        while self._frames and not self._translation.is_complete:
            frame = self._frames.popleft()
            if self._translation.holds_text:
                self._text.add(frame)
            elif self._text.size:
                self._text.clear()
            if frame.type != "delta" and max(self._text.size, len(frame.data)) > LARGE_BYTES:
                self._pieces = self._pieces_of(frame)
                return b"".join(pieces)
            pieces.append(self._bytes_of(frame))
        if self._translation.is_complete:
            self._frames.clear()
        return b"".join(pieces)

    def _pieces_of(self, frame: Frame) -> Iterator[bytes]:
        if frame.type in ("ping", "bye"):
            return iter((self._bytes_of(frame),))
        return self._translation.pieces(frame.event)

    def _bytes_of(self, frame: Frame) -> bytes:
        if frame.type == "ping":
            return PING
        event = frame.event
        return self._translation.cut_off(event.reason) if isinstance(event, Bye) else self._translation.apply(event)


class TranslatedStream(WatchStream):
    """Server-sent events of another protocol. The watcher is closed in any case."""

    def __init__(
        self,
        opened: Opened,
        watcher: Watcher,
        translation: Translation,
        *,
        headers: Iterable[tuple[str, str]] = (),
        on_complete: Finally | None = None,
    ) -> None:
        """`on_complete` runs after the last bytes were written, unless the client has left before."""
        super().__init__(opened, watcher)
        self._translation = translation
        self._start_headers = [*HEADERS, *((name.encode(), value.encode()) for name, value in headers)]
        self._on_complete = on_complete
        self._source = TranslatedWatcher(watcher, translation)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self._start_headers})
            connection = scope.get("extensions", {}).get(EXTENSION)
            if isinstance(connection, Connection) and scope["http_version"] == "1.1":
                await DirectWriter(connection, self._source).run()
                await self._finish(send)
            else:
                await self._write_until_left(receive, send, connection)
        finally:
            await self._opened.__aexit__(None, None, None)

    async def _write(self, send: Send) -> None:
        source = self._source
        while not source.is_closed:
            await in_pieces(await source.next_bytes(), send, source)
        await self._finish(send)

    async def _finish(self, send: Send) -> None:
        """Everything was written, or the client has left."""
        if not self._source.is_closed:
            return
        await send(LAST)
        if self._translation.is_complete and self._on_complete is not None:
            await self._on_complete()


class TranslatedAnswer(LiveAnswer):
    """One JSON value, sent when the translation has all it needs, when the time is up, or when the server stops.

    Calling it raises, before anything is sent: `Unauthenticated` if the token was revoked meanwhile, `TooMany` if the
    memory for answers is full.
    """

    def __init__(
        self,
        opened: Opened,
        watcher: Watcher,
        *,
        apply: Callable[[Event], bool],
        answer: Callable[[], Any],
        wait_s: float,
        headers: dict[str, str] | None = None,
        on_complete: Finally | None = None,
    ) -> None:
        """`apply` takes the events, until it returns True: nothing more is needed. `answer` makes the value; it may
        be a `Response`."""
        super().__init__()
        self._opened = opened
        self._watcher = watcher
        self._apply = apply
        self._answer = answer
        self._wait_s = wait_s
        self._more_headers = headers
        self._on_complete = on_complete
        self._is_complete = False
        self._text = TextCount(watcher)
        self._ended = ""
        """Why the watcher was closed."""

    async def head(self) -> Response:
        await self._opened.__aexit__(None, None, None)
        return JsonAnswer(b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            is_here = await self._wait(receive)
        finally:
            await self._opened.__aexit__(None, None, None)
        if not is_here:
            return
        if self._ended == "revoked":
            raise Unauthenticated
        if self._ended == "slow":
            raise TooMany("bytes in answers at once", HELD_TEXT_MAX, retry_after_ms=1000)
        answer = self._answer()
        if not isinstance(answer, Response):
            answer = JsonAnswer(answer, 200, self._more_headers)
        await answer(scope, receive, send)
        if self._is_complete and self._on_complete is not None:
            await self._on_complete()

    async def _wait(self, receive: Receive) -> bool:
        """Whether the client is still there."""
        collecting = asyncio.create_task(self._collect())
        leaving = asyncio.create_task(disconnected(receive))
        tasks = {collecting, leaving}
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._wait_s, return_when=asyncio.FIRST_COMPLETED)
            if collecting in done:
                await collecting
            return leaving not in done or collecting in done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _collect(self) -> None:
        while not self._watcher.is_closed:
            for frame in await next_frames(self._watcher):
                self._text.add(frame)
                event = frame.event
                if isinstance(event, Bye):
                    self._ended = event.reason
                if self._apply(event):
                    self._is_complete = True
                    return


async def next_frames(watcher: Watcher) -> list[Frame]:
    """Wait for the next events of a chat."""
    while watcher.is_behind:  # `next_batch` would wait for a wake-up, though the reader may have caught up already
        batch = await watcher.next_old_batch()
        if batch is not None:
            return batch.frames
    return (await watcher.next_batch()).frames
