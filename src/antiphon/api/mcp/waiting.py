"""Waits for the answer to a message: within a response of JSON, or in a stream with reports of progress.

A wait belongs to its request alone. It ends when the client leaves or cancels it, and the answer goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.sse import HEADERS, LAST, PIECE_BYTES, LiveAnswer, disconnected
from antiphon.api.http.table import Call
from antiphon.api.http.translated import PING, TextCount, next_frames
from antiphon.api.named_chats import chats_of
from antiphon.core.events import Bye
from antiphon.core.values import Value
from antiphon.errors import NotFound, TooMany, Unauthenticated, WatchEnded
from antiphon.wire.mcp_server.answer import AnswerFollower
from antiphon.wire.mcp_server.messages import progress, sse
from antiphon.wire.mcp_server.tools import AnswerResult, AnswerStatus

STORED_WAIT_S = 30.0
"""Maximum time in which the stored facts after a message are read, in seconds. The answer is known up to there."""
REPORT_S = 1.0
"""Minimum time between two reports of progress, in seconds."""
HEARTBEAT_S = 10.0
"""Time after which a report is repeated, so that clients and proxies do not give up, in seconds."""
SEND_S = 30.0
"""How long a client may accept nothing, in seconds. Then its stream is closed."""


class Target(Value):
    """The message to follow; `turn_id` 0: it waits in the queue."""

    chat_id: str
    message_id: int
    turn_id: int
    wait_s: float
    is_started: bool = True
    """Whether this call has started something, so that it must not fail any more."""


class AnswerWait:
    """One wait. `activity` says what is happening."""

    def __init__(self, call: Call, target: Target, wait_s: float) -> None:
        """`wait_s` is the maximum time, in seconds."""
        self.wait_s = wait_s
        self._call = call
        self._target = target
        self._follower = AnswerFollower(target.message_id, turn_id=target.turn_id)

    @property
    def activity(self) -> str:
        return self._follower.activity

    async def result(self) -> AnswerResult:
        """Wait until the message needs no further wait, or the time is up."""
        target = self._target
        try:
            await self._watch()
        except TooMany:  # all watchers are in use: the caller waits with another call
            if not target.is_started:
                raise
        chats = chats_of(self._call)
        try:
            open_calls = await chats.open_calls(target.chat_id)
        except NotFound:
            return AnswerResult(chat_id=target.chat_id, status=AnswerStatus.DELETED, message_id=target.message_id)
        return self._follower.result(target.chat_id, open_calls)

    async def _watch(self) -> None:
        token = self._call.token
        assert token is not None
        opened = self._call.instance.watch.open_watcher(
            self._target.chat_id,
            (self._target.message_id - 1, 0),
            token_id=token.token_id,
            owner_id=token.owner_id,
            reads_all=True,
        )
        loop = asyncio.get_running_loop()
        deadline, stored_deadline = loop.time() + self.wait_s, loop.time() + STORED_WAIT_S
        async with opened as watcher:
            text, has_stored = TextCount(watcher), False
            while not watcher.is_closed:
                try:
                    async with asyncio.timeout_at(deadline if has_stored else max(deadline, stored_deadline)):
                        frames = await next_frames(watcher)
                except TimeoutError:
                    return
                for frame in frames:
                    text.add(frame)
                    event = frame.event
                    if isinstance(event, Bye):
                        if event.reason == "revoked":
                            raise Unauthenticated
                        return
                    if self._follower.apply(event):
                        return
                    has_stored = has_stored or frame.type == "caught_up"
                if has_stored and loop.time() >= deadline:
                    return


Respond = Callable[[], Coroutine[Any, Any, bytes]]
"""Makes the response of JSON-RPC. It raises nothing."""


class WaitingAnswer(LiveAnswer):
    """The response to a call that waits. `cancelled` ends it, and so does a client that leaves."""

    def __init__(
        self, wait: AnswerWait, respond: Respond, *, call: Call, key: tuple[str, ...], is_stream: bool, token: Any
    ) -> None:
        """`token` is that of progress; None: the client wants no reports."""
        super().__init__()
        self._wait = wait
        self._respond = respond
        self._call = call
        self._key = key
        self._is_stream = is_stream
        self._token = token

    async def head(self) -> Response:
        return JsonAnswer(b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._call.cancellable.running(self._key) as cancelled:
            working = asyncio.create_task(self._respond())
            leaving = asyncio.create_task(_either(disconnected(receive), cancelled.wait()))
            try:
                if self._is_stream:
                    await self._stream(working, leaving, send)
                else:
                    await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
                    answer = JsonAnswer(working.result()) if working.done() else Response(status_code=202)
                    await answer(scope, receive, send)
            finally:
                working.cancel()
                leaving.cancel()
                await asyncio.gather(working, leaving, return_exceptions=True)

    async def _stream(self, working: asyncio.Task[bytes], leaving: asyncio.Task[None], send: Send) -> None:
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        started = sent_at = loop.time()
        shown = ""
        while not working.done() and not leaving.done():
            await asyncio.wait({working, leaving}, timeout=REPORT_S, return_when=asyncio.FIRST_COMPLETED)
            now, activity = loop.time(), self._wait.activity
            if working.done() or leaving.done() or (activity == shown and now - sent_at < HEARTBEAT_S):
                continue
            if self._token is not None:
                report = sse(progress(self._token, now - started, self._wait.wait_s, activity))
                await _send_in_time(send, report)
                shown, sent_at = activity, now
            elif now - sent_at >= HEARTBEAT_S:
                await _send_in_time(send, PING)
                sent_at = now
        if working.done():
            await _send_in_time(send, sse(working.result()))
        await send(LAST)


async def _either(*waits: Awaitable[Any]) -> None:
    """Return when one of them has returned."""
    tasks = {asyncio.ensure_future(wait) for wait in waits}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _send_in_time(send: Send, data: bytes) -> None:
    """Raises `WatchEnded` for a client that does not read."""
    try:
        for start in range(0, len(data), PIECE_BYTES):
            async with asyncio.timeout(SEND_S):
                piece = data[start : start + PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError as error:
        raise WatchEnded("slow") from error
