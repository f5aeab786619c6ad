"""A scripted model server on a real socket: it sends planned answers and faults, and records the requests.

    async with FakeModelServer() as server:
        server.plan(Answer(text="Hello"), Fault(status=429, headers={"Retry-After": "2"}), Answer(cut_after=3))
        model = OpenAIModel("any", api_key="k", base_url=server.base_url)

Each request gets the next reply of the plan. After the last one it gets the default: tokens with the number of the
call and their own. The server supports POST /v1/chat/completions, /v1/responses and, in Anthropic's format,
/v1/messages, with and without streaming. A request that ends with the beginning of an answer, in a form of
`models/continuation.py`, gets the rest of it. GET /v1/models names `owned_by`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from antiphon.testing import anthropic_answers, model_answers, responses_answers
from antiphon.testing.model_answers import FOREVER, Answer, FakeCall, Fault, Reply

__all__ = ["FOREVER", "Answer", "FakeCall", "FakeModelServer", "Fault", "Reply", "SeenRequest"]

BODY_BYTES_MAX = 64 * 1024 * 1024
HEAD_BYTES_MAX = 64 * 1024
FORMATS: dict[str, Any] = {
    "/v1/chat/completions": model_answers,
    "/v1/responses": responses_answers,
    "/v1/messages": anthropic_answers,
}
"""The module that makes the bytes of a reply, by path."""
MODELS_PATH = "/v1/models"
TICK_S = 0.001
"""Tokens that are due within this time are sent together, in seconds."""


class SeenRequest:
    """A received request. `call` counts from 1; header names are in lower case."""

    def __init__(self, call: int, connection: int, path: str, headers: dict[str, str], body: Any) -> None:
        self.call = call
        self.connection = connection
        self.path = path
        self.format = next((FORMATS[known] for known in FORMATS if path.endswith(known.removeprefix("/v1"))), None)
        self.headers = headers
        self.body = body
        self.pieces_sent = 0
        self.is_answered = False
        self.is_abandoned = False
        """The client disconnected before the end."""


class _Left(Exception):
    """The client has closed the connection."""


class FakeModelServer:
    """A scripted model server; use it as an async context manager.

    Args:
        default: Makes the reply to each request beyond the plan; by default an `Answer()`.
        owned_by: The kind of server, in the list of its models: `vllm` goes on from the beginning of an answer.
    """

    def __init__(self, *, default: Callable[[SeenRequest], Reply] | None = None, owned_by: str = "antiphon") -> None:
        self._owned_by = owned_by
        self.requests: list[SeenRequest] = []
        self._default = default or (lambda request: Answer())
        self._planned: deque[Reply] = deque()
        self._connections: set[asyncio.Task[None]] = set()
        self._connection_count = 0
        self._changed = asyncio.Event()
        self._released = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FakeModelServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        assert self._server is not None, "the server is not open"
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def plan(self, *replies: Reply) -> None:
        """Add replies for the next requests, in the order of their arrival."""
        self._planned.extend(replies)

    def release(self) -> None:
        """End the stalls of unlimited length, present and future."""
        self._released.set()

    async def wait_until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Wait for a condition on `requests`, such as `lambda: server.requests[0].is_abandoned`."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    # --- a connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._connection_count += 1
        connection = self._connection_count
        try:
            while (request := await self._read_request(reader, connection)) is not None:
                if not await self._answer(request, reader, writer):
                    break
            writer.close()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            writer.close()
        except asyncio.CancelledError:
            # Only `__aexit__` cancels; a task of `start_server` that ends cancelled is reported as an error.
            writer.transport.abort()
        finally:
            self._connections.discard(task)

    async def _read_request(self, reader: asyncio.StreamReader, connection: int) -> SeenRequest | None:
        """The next request; None if the client has closed the connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        request_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if length > BODY_BYTES_MAX:
            raise ValueError("the request is too large")
        body = msgspec.json.decode(await reader.readexactly(length) or b"null")
        path = request_line.split(" ")[1]
        path = path if path.startswith("/") else urlsplit(path).path  # a request for a proxy
        request = SeenRequest(len(self.requests) + 1, connection, path, headers, body)
        if path != MODELS_PATH:
            self.requests.append(request)
            self._changed.set()
        return request

    async def _answer(self, request: SeenRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send the reply; False if the connection must be closed."""
        exchange = _Exchange(request, reader, writer, self._released)
        if request.path == MODELS_PATH:
            listed = {"object": "list", "data": [{"id": "any", "object": "model", "owned_by": self._owned_by}]}
            return await exchange.send(Fault(status=200, body=msgspec.json.encode(listed)))
        reply = self._planned.popleft() if self._planned else self._default(request)
        if request.format is None or not isinstance(request.body, dict):
            reply = Fault(status=404, code="not_found", message=f"There is only POST {' and '.join(FORMATS)}.")
        try:
            return await exchange.send(reply)
        except (_Left, ConnectionError):
            request.is_abandoned = True
            return False
        finally:
            request.is_answered = not request.is_abandoned
            self._changed.set()


class _Exchange:
    """Sends one reply."""

    def __init__(
        self,
        request: SeenRequest,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        released: asyncio.Event,
    ) -> None:
        self._request = request
        self._reader = reader
        self._writer = writer
        self._released = released
        self._format = request.format or model_answers

    async def send(self, reply: Reply) -> bool:
        match reply:
            case Fault():
                await self._send_whole(reply.status, reply.content, reply.headers)
                return True
            case Answer():
                if reply.stall_headers_s is not None:
                    await self._stall(reply.stall_headers_s)
                if self._request.body.get("stream"):
                    return await self._send_stream(reply)
                body = self._format.whole_body(reply, self._request.call, self._request.body)
                await self._send_whole(200, body, {})
                return True

    async def _send_whole(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
        await self._write(_head(status, lines) + body)

    async def _send_stream(self, answer: Answer) -> bool:
        await self._write(_head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}))
        async for event in self._iter_stream(answer):
            await self._write_chunk(event, answer.write_bytes)
            if self._request.pieces_sent == answer.cut_after:
                return False
        await self._write(b"0\r\n\r\n")
        return True

    async def _iter_stream(self, answer: Answer) -> AsyncIterator[bytes]:
        """The events with their faults. The first one, which has the role, is not counted."""
        start = asyncio.get_running_loop().time()
        events: Iterator[bytes] = self._format.iter_events(answer, self._request.call, self._request.body)
        yield next(events)
        for sent, event in enumerate(events):
            self._request.pieces_sent = sent
            if sent == answer.stall_after:
                if answer.keep_alive:
                    yield b": keep-alive\n\n"
                await self._stall(answer.stall_s)
            if sent == answer.error_after:
                yield self._format.error_event(answer.error)
                return
            if sent == answer.cut_after:
                yield event[: len(event) * 2 // 3]
                return
            if answer.tokens_per_s:
                ahead_s = start + sent / answer.tokens_per_s - asyncio.get_running_loop().time()
                if ahead_s > TICK_S:
                    await asyncio.sleep(ahead_s)
            yield event

    async def _stall(self, seconds: float) -> None:
        """Send nothing for `seconds`, until `release` is called or the client disconnects."""
        left = asyncio.ensure_future(self._reader.read(1))
        released = asyncio.ensure_future(self._released.wait())
        try:
            timeout_s = None if seconds == FOREVER else seconds
            awaited = {left, released} if timeout_s is None else {left}
            await asyncio.wait(awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                left.exception()
                raise _Left
        finally:
            released.cancel()
            left.cancel()
            await asyncio.gather(left, released, return_exceptions=True)

    async def _write_chunk(self, data: bytes, write_bytes: int) -> None:
        size = write_bytes or max(len(data), 1)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            await self._write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if write_bytes:
                await asyncio.sleep(0)

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Planned", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
