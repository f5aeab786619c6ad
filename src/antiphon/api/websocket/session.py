"""One WebSocket connection: what its client asks for, and what it is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from antiphon.api.http.answers import error_answer
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chats_of
from antiphon.api.websocket import operations as o
from antiphon.core.depth import VALUES_MAX, has_too_many_values
from antiphon.errors import Invalid, TooLarge
from antiphon.watch.batch import Batch
from antiphon.watch.watcher_group import WatcherGroup
from antiphon.wire.cursor import parse_cursor
from antiphon.wire.ids import canonical_id
from antiphon.wire.stream import bye_frame
from antiphon.wire.websocket import Messages

MESSAGE_BYTES_MAX = 64 * 1024
"""Maximum size of a message of a client, in bytes. What is larger goes over HTTP, where bodies above this size are
counted for each owner; here the number of connections bounds them."""
CLOSE_CODES = {"revoked": 1008, "shutdown": 1012}
"""How a connection is closed, by the reason of its `bye` (RFC 6455, section 7.4); else normally."""
CLOSED_NORMALLY = 1000
PING = Messages([b'{"type":"ping"}'])


class Encoder:
    """Events as messages; those of a batch are encoded once for all connections."""

    def batch(self, chat_id: str, batch: Batch) -> Messages:
        return batch.messages(chat_id)

    def ended(self, chat_id: str, reason: str) -> Messages:
        return _message({"type": "ended", "chat_id": chat_id, "reason": reason})

    def ping(self) -> Messages:
        return PING

    def bye(self, reason: str, retry_ms: int | None) -> Messages:
        return Messages([bye_frame(reason, retry_ms).data])


class Session:
    """Runs the operations of a client, one after another. Its events are in `group`. Close it with `aclose`."""

    def __init__(self, call: Call) -> None:
        assert call.token is not None
        self._call = call
        self._token_id = call.token.token_id
        self.group: WatcherGroup[Messages] = WatcherGroup(Encoder(), owner_id=call.owner_id, token_id=self._token_id)
        self._waiting: deque[bytes] = deque()
        """Messages that were received with the one that is handled: as many as one read from the socket has."""
        self._running: asyncio.Task[None] | None = None
        self._opened = AsyncExitStack()
        self.on_room: Callable[[], None] = lambda: None
        """Called when messages may be read again."""

    async def open(self) -> None:
        """Raises `TooMany` if the maximum number of streams is reached."""
        self._opened.push_async_callback(self.group.aclose)
        await self._opened.enter_async_context(self._call.instance.watch.supervise(self.group))

    async def aclose(self) -> None:
        self._waiting.clear()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        await self._opened.aclose()

    @property
    def is_full(self) -> bool:
        """Whether no more messages should be read: one is handled, or its answer is not sent yet."""
        return self._running is not None or self.group.has_own

    def receive(self, text: bytes) -> None:
        """Handle an operation after those before it. Its answer is a message with its id."""
        self._waiting.append(text)
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._handle(self._waiting.popleft())
        finally:
            self._running = None
        self.on_room()

    async def _handle(self, text: bytes) -> None:
        number: Any = None
        try:
            operation = _decoded(text)
            number = operation.id
            answer = await self._answer(operation)
            if not answer:
                return
        except Exception as error:
            number = _id_in(text) if number is None else number
            refused = bytes(error_answer(error).body)
            answer = b'{"type":"error","id":%b,%b' % (msgspec.json.encode(number), refused[1:])
        self.group.put((Messages([answer]),))

    async def _answer(self, operation: o.Operation) -> bytes:
        """The message to answer with; empty: it was given before the events."""
        match operation:
            case o.Watch():
                first = _message({"type": "watching", "id": operation.id, "chat_id": operation.chat_id})
                by_ref = operation.commit == "ref"
                await self.watch(operation.chat_id, operation.cursor, by_ref=by_ref, first=first)
                return b""
            case o.Unwatch():
                if not await self.group.remove(canonical_id(operation.chat_id)):
                    raise Invalid("chat_id", "this connection does not watch the chat")
                return msgspec.json.encode({"type": "unwatched", "id": operation.id, "chat_id": operation.chat_id})
            case o.Request():
                path, _, query = operation.path.partition("?")
                assert self._call.dispatch is not None, "the app gives it to each call"
                body = bytes(operation.body)
                answer = await self._call.dispatch(self._call.request, operation.method, path, query, body)
                body_json = bytes(answer.body) or b"null"
                head = b'{"type":"response","id":%d,"status":%d,"body":' % (operation.id, answer.status_code)
                return head + body_json + b"}"

    async def watch(self, chat_id: str, cursor: str, *, by_ref: bool, first: Messages | None = None) -> None:
        """Give the events of a chat, after `first`. Raises `NotFound`, `CursorInvalid`, `TooMany`, or `Invalid` if it
        is watched already."""
        chat_id = canonical_id(chat_id)
        await chats_of(self._call).get(chat_id)
        opened = self._call.instance.watch.open_watcher(
            chat_id,
            parse_cursor(cursor) if cursor else None,
            token_id=self._token_id,
            owner_id=self._call.owner_id,
            by_ref=by_ref,
        )
        await self.group.add(chat_id, opened, first=first)


def _decoded(text: bytes) -> o.Operation:
    if has_too_many_values(text):
        raise TooLarge("message (in JSON values)", VALUES_MAX)
    try:
        return o.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Invalid("", f"not an operation: {error}"[:200]) from error


def _id_in(text: bytes) -> int | None:
    """The id of an operation that is refused, where it can be found."""
    try:
        found = msgspec.json.decode(text, type=o.Given).id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return found if isinstance(found, int) and 0 <= found < 2**53 else None


def _message(shown: dict[str, Any]) -> Messages:
    return Messages([msgspec.json.encode(shown)])
