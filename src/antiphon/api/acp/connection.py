"""JSON-RPC with an editor: one message a line, in both directions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import msgspec
import structlog

from antiphon.api.acp.limits import AcpLimits
from antiphon.errors import AntiphonError, Invalid
from antiphon.tracebacks import traceback_of
from antiphon.wire import codec
from antiphon.wire.acp.errors import CANCELLED, INTERNAL_ERROR, refusal_of
from antiphon.wire.acp.shapes import CancelRequest, params_of
from antiphon.wire.jsonrpc import (
    INVALID_REQUEST,
    Answer,
    Refusal,
    Request,
    encode_refusal,
    encode_request,
    encode_result,
    parse_message,
)

CANCEL = "$/cancel_request"

log = structlog.get_logger(__name__)


class Streams(Protocol):
    """The two byte streams."""

    async def read(self) -> bytes:
        """The next bytes; empty: the end of the input."""

    async def write(self, data: bytes) -> None:
        """Returns when the reader can get the bytes. Raises `OSError` if there is no reader any more."""


class Call:
    """A request of the editor that is being handled."""

    def __init__(self, request: Request) -> None:
        self.method = request.method
        self.params = request.params
        self._stop: Callable[[], None] | None = None
        self._then: Callable[[], None] | None = None

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """When the editor cancels the request, `stop` is called, and the handler answers. Otherwise the handler is
        cancelled."""
        self._stop = stop

    def after_answer(self, then: Callable[[], None]) -> None:
        """Call `then` when the result was written."""
        self._then = then

    def stop(self) -> bool:
        """Whether the handler was asked to stop by itself."""
        if self._stop is not None:
            self._stop()
        return self._stop is not None

    def answered(self) -> None:
        if self._then is not None:
            self._then()


Handle = Callable[[Call], Awaitable[Any]]


class RequestFailed(Exception):
    """The editor answered a request with an error."""


class Connection:
    """Reads requests and calls `handle` for each, concurrently; sends requests and notifications.

    `handle` returns the result. It raises `AntiphonError`, or `Failed` for an error of its own.
    """

    def __init__(self, streams: Streams, handle: Handle, limits: AcpLimits) -> None:
        self._streams = streams
        self._handle = handle
        self._limits = limits
        self._is_closed = False
        self._writing = asyncio.Lock()
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._running: dict[bytes, tuple[Call, asyncio.Task[None]]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, before_end: Callable[[], Awaitable[None]]) -> None:
        """Serve the editor until the end of its input. Then `before_end` is awaited, and all tasks are cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._read_all()
            await before_end()
            self._is_closed = True
            for task in list(self._tasks):
                task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something until it ends or the connection is closed. An error of the instance, say of a token that was
        revoked, is logged: it must not end the connection."""
        assert self._group is not None
        task = self._group.create_task(_logged(work))
        task.add_done_callback(lambda done: work.close())  # it may be cancelled before it has begun
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- writing

    async def notify(self, method: str, params: Any) -> None:
        await self._write(encode_request(method, params, None))

    async def request(self, method: str, params: Any) -> msgspec.Raw:
        """The result of a request to the editor. When the caller is cancelled, so is the request. Raises
        `RequestFailed`."""
        number = next(self._ids)
        answered: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        try:
            await self._write(encode_request(method, params, number))
            return await answered
        except asyncio.CancelledError:
            await self.notify(CANCEL, {"requestId": number})
            raise
        finally:
            del self._asked[number]

    async def _write(self, data: bytes) -> None:
        """An editor that reads nothing any more gets nothing; the end of its input ends the connection."""
        async with self._writing:
            if self._is_closed:
                return
            try:
                await self._streams.write(data + b"\n")
            except OSError:
                self._is_closed = True

    # --- reading

    async def _read_all(self) -> None:
        buffer, searched, is_skipping = bytearray(), 0, False
        while data := await self._streams.read():
            buffer += data
            while (end := buffer.find(b"\n", searched)) >= 0:
                line = bytes(buffer[:end]).strip()
                del buffer[: end + 1]
                searched = 0
                if line and not is_skipping:
                    await self._receive(line)
                is_skipping = False
            searched = len(buffer)
            if searched > self._limits.line_bytes_max:
                if not is_skipping:
                    reason = f"a message has at most {self._limits.line_bytes_max:,} bytes"
                    await self._refuse(Refusal(code=INVALID_REQUEST, message=reason))
                buffer.clear()
                searched, is_skipping = 0, True

    async def _receive(self, line: bytes) -> None:
        message = parse_message(line)
        if isinstance(message, Refusal):
            await self._refuse(message)
        elif isinstance(message, Answer):
            self._answered(message)
        elif message.method == CANCEL:
            self._cancel(message)
        elif message.id is not None and bytes(message.id) in self._running:
            reason = "a request with this id is in progress"
            await self._fail(message, Refusal(code=INVALID_REQUEST, message=reason))
        elif len(self._running) >= self._limits.requests_max:
            reason = f"at most {self._limits.requests_max} requests may be in progress"
            await self._fail(message, Refusal(code=INTERNAL_ERROR, message=reason))
        else:
            self._start(message)

    def _answered(self, answer: Answer) -> None:
        """An answer that was withdrawn, or was never asked for, is ignored."""
        waiting = self._asked.get(answer.id) if isinstance(answer.id, int) else None
        if waiting is None or waiting.done():
            return
        if answer.error_code:
            waiting.set_exception(RequestFailed(answer.error_message))
        else:
            waiting.set_result(answer.result)

    def _cancel(self, message: Request) -> None:
        try:
            number = params_of(message.params, CancelRequest).request_id
        except Invalid:
            return  # a notification has no answer
        found = self._running.get(codec.encode(number))
        if found is not None:
            call, task = found
            # in the next round, when the handler of a request of the same bytes has begun
            asyncio.get_running_loop().call_soon(lambda: call.stop() or task.cancel())

    def _start(self, request: Request) -> None:
        call = Call(request)
        task = self.spawn(self._serve(request, call))
        if request.id is not None:
            name = bytes(request.id)
            self._running[name] = (call, task)
            task.add_done_callback(lambda done: self._running.pop(name, None))

    async def _serve(self, request: Request, call: Call) -> None:
        try:
            result = await self._handle(call)
        except asyncio.CancelledError:
            await self._fail(request, Refusal(code=CANCELLED, message="the request was cancelled"))
            raise
        except Failed as failed:
            await self._fail(request, failed.refusal)
        except AntiphonError as error:
            await self._fail(request, refusal_of(error))
        except Exception as error:
            log.error("acp_request_failed", method=request.method[:80], exception=traceback_of(error))
            await self._fail(request, Refusal(code=INTERNAL_ERROR, message="an internal error; see the log"))
        else:
            if request.id is not None:
                await self._write(encode_result(request.id, result))
            call.answered()

    async def _fail(self, request: Request, refusal: Refusal) -> None:
        """A notification has no answer."""
        if request.id is not None:
            await self._refuse(msgspec.structs.replace(refusal, id=request.id))

    async def _refuse(self, refusal: Refusal) -> None:
        await self._write(encode_refusal(refusal))


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except AntiphonError as error:
        log.error("acp_background_task_failed", code=error.code, reason=str(error))


class Failed(Exception):
    """A handler's own error, in the protocol's shape."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.refusal = Refusal(code=code, message=message, data=data)
