"""`GET /streams?chat=…&chat=…`: the events of several chats on one connection, as server-sent events.

The `id` of an event has a cursor for each chat, in the order of the request (`57.12,3.0`), so an EventSource resumes
all of them. The JSON of each event has its `chat_id`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon.api.http.connection import EXTENSION, Connection
from antiphon.api.http.shapes import chats as s
from antiphon.api.http.sse import HEADERS, LAST, DirectWriter, LiveAnswer, in_pieces, write_until_left
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.api.named_chats import chats_of
from antiphon.errors import CursorInvalid, Invalid, NotFound
from antiphon.watch.batch import Batch
from antiphon.watch.watcher_group import WatcherGroup
from antiphon.wire.cursor import parse_cursor
from antiphon.wire.ids import canonical_id
from antiphon.wire.stream import PING, Frame, bye_frame
from antiphon.wire.websocket import event_json

CHATS_MAX = 100
"""Maximum number of chats of one stream."""

Cursor = tuple[int, int] | None


class _Chunk:
    """Events to write."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def chunked(self) -> bytes:
        return b"%x\r\n%b\r\n" % (len(self.data), self.data)


class _Events:
    """Server-sent events whose ids have the cursors of all chats."""

    def __init__(self, chats: Sequence[tuple[str, Cursor]]) -> None:
        self._places = {chat_id: number for number, (chat_id, _) in enumerate(chats)}
        self._cursors = [b"%d.%d" % cursor if cursor else b"" for _, cursor in chats]

    def batch(self, chat_id: str, batch: Batch) -> _Chunk:
        return _Chunk(b"".join(self._event(chat_id, frame) for frame in batch.frames))

    def _event(self, chat_id: str, frame: Frame) -> bytes:
        id_line = b""
        if frame.seq is not None:
            self._cursors[self._places[chat_id]] = b"%d.%d" % (frame.seq, frame.position)
            id_line = b"id: %b\n" % b",".join(self._cursors)
        data = event_json(chat_id, frame, has_cursor=False)
        return b"%bevent: %b\ndata: %b\n\n" % (id_line, frame.type.encode(), data)

    def ended(self, chat_id: str, reason: str) -> _Chunk:
        frame = Frame(None, 0, "ended", b'{"type":"ended","reason":"%b"}' % reason.encode())
        return _Chunk(self._event(chat_id, frame))

    def ping(self) -> _Chunk:
        return _Chunk(PING.sse)

    def bye(self, reason: str, retry_ms: int | None) -> _Chunk:
        return _Chunk(bye_frame(reason, retry_ms).sse)


class ManyChatsStream(LiveAnswer):
    """The stream of several chats. It closes their watchers in any case."""

    def __init__(self, group: WatcherGroup[_Chunk], opened: AsyncExitStack) -> None:
        super().__init__()
        self._group = group
        self._opened = opened

    async def head(self) -> Response:
        await self._opened.aclose()
        answer = Response()
        answer.raw_headers = list(HEADERS)
        return answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            connection = scope.get("extensions", {}).get(EXTENSION)
            if isinstance(connection, Connection) and scope["http_version"] == "1.1":
                await DirectWriter(connection, self._group).run()
                if self._group.is_closed:
                    await send(LAST)
            else:
                await write_until_left(self._write(send), receive, self._group, connection)
        finally:
            await self._opened.aclose()

    async def _write(self, send: Send) -> None:
        while (chunk := await self._group.next_batch()) is not None:
            await in_pieces(chunk.data, send, self._group)
        await send(LAST)


async def stream_many(call: Call) -> Response:
    query: s.StreamsQuery = call.query
    if query.commit not in ("", "ref"):
        raise Invalid("commit", "only `ref` is known")
    chat_ids = [canonical_id(name) for name in query.chat]
    if not 1 <= len(chat_ids) <= CHATS_MAX or len(set(chat_ids)) < len(chat_ids):
        raise Invalid("chat", f"give 1 to {CHATS_MAX} different chats")
    resumed = call.request.headers.get("last-event-id", "")
    place = resumed or query.after
    chats = list(zip(chat_ids, _cursors(place, len(chat_ids)), strict=True))
    assert call.token is not None
    async with AsyncExitStack() as stack:
        encoder = _Events(chats)
        group = WatcherGroup(encoder, owner_id=call.owner_id, token_id=call.token.token_id)
        stack.push_async_callback(group.aclose)
        await stack.enter_async_context(call.instance.watch.supervise(group))
        for chat_id, cursor in chats:
            if not await _exists(call, chat_id, is_resumed=bool(resumed)):
                group.put([encoder.ended(chat_id, "deleted")])
                continue
            opened = call.instance.watch.open_watcher(
                chat_id,
                cursor,
                token_id=call.token.token_id,
                owner_id=call.owner_id,
                by_ref=query.commit == "ref",
            )
            await group.add(chat_id, opened)
        if not len(group):
            raise NotFound
        return ManyChatsStream(group, stack.pop_all())
    raise AssertionError("the block above returns or raises")


async def _exists(call: Call, chat_id: str, *, is_resumed: bool) -> bool:
    """Raises `NotFound`, unless the stream is resumed: an error would stop a browser's EventSource for good."""
    try:
        await chats_of(call).get(chat_id)
    except NotFound:
        if not is_resumed:
            raise
        return False
    return True


def _cursors(text: str, count: int) -> list[Cursor]:
    """One cursor for each chat. An empty one starts now, with a `resync`."""
    if not text:
        return [None] * count
    pieces = text.split(",")
    if len(pieces) != count:
        raise CursorInvalid(text)
    return [parse_cursor(piece) if piece else None for piece in pieces]


ROUTES: tuple[Operation, ...] = (
    route("GET", "/streams", stream_many, Policy.OWNER, "Follow several chats (server-sent events).",
          (200, None), query=s.StreamsQuery, repeated=("chat",), is_stream=True),
)  # fmt: skip
