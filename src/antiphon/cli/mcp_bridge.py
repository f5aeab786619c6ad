"""Passes the messages of an MCP client over stdin and stdout on to `/mcp` of an instance.

The server keeps no session, so a request that the instance did not answer is sent again to the next one. Every
request has an idempotency key, so it takes effect once. Notifications matter to this process only: one cancels a
request, which closes its connection to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid
from pathlib import Path
from typing import Any

import click
import httpx2
import msgspec

from antiphon.cli.mcp_instance import Instance
from antiphon.cli.stdio_lines import read_lines, write_all
from antiphon.client.errors import AnswerLost
from antiphon.client.transport import translated
from antiphon.errors import AntiphonError, Invalid, PeerError, Unavailable
from antiphon.wire import jsonrpc
from antiphon.wire.codec import decode, encode
from antiphon.wire.jsonrpc import Refusal, Request
from antiphon.wire.mcp_server.revisions import (
    METHOD_HEADER,
    NAME_HEADER,
    NAMED,
    VERSION_HEADER,
    VERSION_KEY,
    encoded_header,
    meta_of,
)
from antiphon.wire.sse import SseReader

LINE_BYTES_MAX = 8 * 1024 * 1024
"""Maximum size of a message of the client, in bytes: what the server accepts, too."""
ANSWER_BYTES_MAX = 32 * 1024 * 1024
"""Maximum size of a message of the server, in bytes."""
QUEUE_MAX = 16
"""Maximum number of messages that wait for a client to read them. Beyond it, no more are taken from the server."""
REQUESTS_MAX = 256
"""Maximum number of requests at a time. Further ones are refused."""
RETRY_S = 20.0
"""How long a request is sent again when no instance answers, in seconds."""
PAUSE_S = 0.2
"""Pause between two attempts, in seconds."""
END_S = 1.0
"""How long the last answers may take after the end of stdin, in seconds."""
BUSY = 429
LOST = 503
STOPPING_HEADER = "antiphon-elsewhere"


class Exchange:
    """One message of the client and its responses. `line` is sent as it came."""

    def __init__(self, line: bytes, requests: list[Request], revision: str) -> None:
        self.requests = requests
        self.line = line
        self.headers = _headers(requests, revision)
        self._reported = 0.0
        self._before = 0.0
        """What was reported before the request was sent again: progress only grows."""

    def begin_again(self) -> None:
        self._before = self._reported

    def progress(self, message: dict[str, Any]) -> bytes:
        """A report of progress, after those of earlier attempts."""
        params = message.get("params")
        if isinstance(params, dict):
            for name in ("progress", "total"):
                if isinstance(params.get(name), int | float):
                    params[name] += self._before
            self._reported = max(self._reported, float(params.get("progress") or 0))
        return encode(message)

    def errors(self, code: int, message: str) -> bytes:
        """An error for each request."""
        answers = [
            jsonrpc.encode_refusal(Refusal(code=code, message=message, id=id_of(one))) for one in self.requests
        ]
        return answers[0] if len(answers) == 1 else jsonrpc.join_batch(answers)


def id_of(request: Request) -> msgspec.Raw:
    return request.id if request.id is not None else jsonrpc.NULL


def _headers(requests: list[Request], revision: str) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "idempotency-key": uuid.uuid4().hex,
    }
    if revision:
        headers[VERSION_HEADER] = revision
    if len(requests) != 1:
        return headers
    (request,) = requests
    if request.method == "initialize":
        headers.pop(VERSION_HEADER, None)
    named = meta_of(request).get(VERSION_KEY)
    if isinstance(named, str):
        headers |= {VERSION_HEADER: encoded_header(named), METHOD_HEADER: encoded_header(request.method)}
        name = request.params.get(NAMED.get(request.method, ""))
        if isinstance(name, str):
            headers[NAME_HEADER] = encoded_header(name)
    return headers


class Bridge:
    """Passes messages on, each request in a task of its own."""

    def __init__(self, instance: Instance, *, stdin: int = 0, stdout: int = 1) -> None:
        self._instance = instance
        self._stdin = stdin
        self._stdout = stdout
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_MAX)
        self._running: set[asyncio.Task[None]] = set()
        self._by_id: dict[bytes, asyncio.Task[None]] = {}
        """Of requests with one id, the last one."""
        self._revision = ""
        """What `initialize` has agreed on."""

    async def run(self) -> None:
        """Until the end of stdin. Raises `BrokenPipeError` in a group if stdout is closed."""
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write_queued())
            async for line in read_lines(self._stdin, LINE_BYTES_MAX):
                if line is None:
                    await self._write(_refused(f"a message has at most {LINE_BYTES_MAX:,} bytes"))
                else:
                    await self._accept(line, tasks)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    while self._running:
                        await asyncio.wait(self._running)
                    await self._queue.put(b"")
                    await asyncio.wait({writing})
            for task in (*self._running, writing):
                task.cancel()

    async def _write_queued(self) -> None:
        """Write whole messages, one after the other, also where the request of one is cancelled."""
        while data := await self._queue.get():
            await write_all(self._stdout, data + b"\n")

    async def _accept(self, line: bytes, tasks: asyncio.TaskGroup) -> None:
        parsed = jsonrpc.parse(line)
        requests = [item for item in parsed.items if isinstance(item, Request)]
        if not requests:
            refusals = [jsonrpc.encode_refusal(item) for item in parsed.items if isinstance(item, Refusal)]
            await self._write(jsonrpc.join_batch(refusals) if parsed.is_batch else refusals[0])
            return
        for item in requests:
            if item.id is None:
                self._notice(item)
        if not (asked := [item for item in requests if item.id is not None]):
            return
        exchange = Exchange(line, asked, self._revision)
        if len(self._running) >= REQUESTS_MAX:
            await self._write(exchange.errors(BUSY, f"at most {REQUESTS_MAX} requests at a time"))
            return
        key = bytes(id_of(asked[0]))
        task = tasks.create_task(self._answer(exchange))
        self._running.add(task)
        self._by_id[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))

    def _forget(self, key: bytes, done: asyncio.Task[None]) -> None:
        self._running.discard(done)
        if self._by_id.get(key) is done:
            del self._by_id[key]

    def _notice(self, item: Request) -> None:
        """A notification. One that cancels a request ends it without a response."""
        if item.method == "notifications/cancelled" and isinstance(item.params, dict):
            task = self._by_id.get(encode(item.params.get("requestId")))
            if task is not None:
                task.cancel()

    async def _answer(self, exchange: Exchange) -> None:
        """Write the responses to a message; an error if no instance answers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RETRY_S
        while True:
            http = self._instance.http
            try:
                await self._send(http, exchange)
                return
            except (PeerError, Invalid) as error:
                await self._write(exchange.errors(LOST, str(error)))
                return
            except Unavailable as error:
                if loop.time() > deadline:
                    await self._write(exchange.errors(LOST, f"{error} Call again: nothing runs twice."))
                    return
            exchange.begin_again()
            await asyncio.sleep(PAUSE_S)
            with contextlib.suppress(AntiphonError):  # tried again until the deadline
                await self._instance.replace(http)

    async def _send(self, http: httpx2.AsyncClient, exchange: Exchange) -> None:
        """Send the message and write what comes. Raises `Unavailable` if the responses are not complete."""
        url = str(http.base_url)
        with translated(url):
            async with http.stream("POST", "/mcp", content=exchange.line, headers=exchange.headers) as response:
                if STOPPING_HEADER in response.headers or response.status_code in (502, 504):
                    raise Unavailable("the instance is stopping")
                is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
                try:
                    await (self._pass_events if is_stream else self._pass_json)(response, exchange)
                except (LookupError, TypeError, ValueError) as error:
                    raise PeerError(f"the response of {url} is no message of MCP") from error

    async def _pass_json(self, response: httpx2.Response, exchange: Exchange) -> None:
        data = b""
        async for piece in response.aiter_raw():
            data += piece
            if len(data) > ANSWER_BYTES_MAX:
                raise PeerError(f"the response has more than {ANSWER_BYTES_MAX:,} bytes")
        message = decode(data, Any)
        if isinstance(message, dict) and message.get("id") is None and "error" in message:
            error = message["error"]  # refused before the request was read, or MCP is turned off
            code = error["code"] if isinstance(error["code"], int) else response.status_code
            await self._write(exchange.errors(code, str(error["message"])))
            return
        if not isinstance(message, dict if len(exchange.requests) == 1 else dict | list):
            raise TypeError(message)
        if exchange.requests[0].method == "initialize" and isinstance(message, dict) and "result" in message:
            self._revision = str(message["result"]["protocolVersion"])
        await self._write(encode(message))

    async def _pass_events(self, response: httpx2.Response, exchange: Exchange) -> None:
        reader = SseReader(line_bytes_max=ANSWER_BYTES_MAX, event_bytes_max=ANSWER_BYTES_MAX)
        async for piece in response.aiter_raw():
            for event in reader.feed(piece):
                message = decode(event.data, dict[str, Any])
                if "id" in message:
                    await self._write(encode(message))
                    return
                await self._write(exchange.progress(message))
        raise AnswerLost

    async def _write(self, data: bytes) -> None:
        await self._queue.put(data)


def _refused(message: str) -> bytes:
    return jsonrpc.encode_refusal(Refusal(code=jsonrpc.INVALID_REQUEST, message=f"invalid request: {message}"))


async def run_bridge(data: Path | None, url: str | None) -> int:
    """Serve the client at stdin and stdout. Returns the exit code. Raises as `find_instance` does."""
    me, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert me is not None

    def end_on_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, me.cancel)

    instance = Instance(data, url, on_open=end_on_signals)
    try:
        await instance.open()
        await Bridge(instance).run()
    except* BrokenPipeError:
        click.echo("antiphon: the client has closed its input", err=True)
    except* asyncio.CancelledError:
        pass  # a signal
    finally:
        await instance.close()
    return 0
