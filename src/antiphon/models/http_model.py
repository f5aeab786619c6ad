"""One streamed model call over HTTP: what all protocols of providers have in common. Nothing is retried here.

A protocol is a subclass: it makes the body of a request, and a reader of the answer's events.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import ClassVar, Protocol

import msgspec

from antiphon.core.parts import CALLS_MAX, FileReference, Reasoning, Text, ToolCall, ToolResult, Usage
from antiphon.errors import AttemptFailed, PeerError
from antiphon.models.answer_body import AnswerBody
from antiphon.models.connecting import ConnectFailed, Connector, Origin
from antiphon.models.continuation import Continuation
from antiphon.models.failures import Failures
from antiphon.models.history import with_data_as_text
from antiphon.models.model_list import read_model_list
from antiphon.models.response import Response, ResponseBroken
from antiphon.models.transport import Transport
from antiphon.ports import ModelEvent, ModelRequest
from antiphon.version import __version__
from antiphon.wire.sse import SseEvent

ERROR_BYTES_MAX = 64 * 1024
"""Maximum size of an error's body that is read; then the connection is closed."""
ERROR_S = 5.0
"""How long an error's body is awaited, in seconds."""
SLICE_BYTES = 32 * 1024
"""Maximum bytes of an answer that are read in one iteration of the event loop."""
NOISE_BYTES_MAX = 16 * 1024 * 1024
"""Maximum bytes in a row without any content."""
EVENTS_PER_ITERATION = 256
"""Maximum number of events that are read in one iteration of the event loop."""
REFUSED_PARAMETER = (400, 422)
"""The statuses by which servers refuse a parameter that they do not support."""
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"antiphon/{__version__}",
}
FINISHED_S = 5.0
"""How long the usage and the end of the body are awaited after the answer has ended, in seconds."""


class AnswerEvents(Protocol):
    """Reads one answer, event by event. Raises `AttemptFailed` for an error of the provider."""

    @property
    def is_finished(self) -> bool:
        """The provider has reported how its answer ended: it is complete."""
        ...

    @property
    def is_done(self) -> bool:
        """Nothing more follows."""
        ...

    def read(self, event: SseEvent, *, is_last: bool = False) -> list[ModelEvent]:
        """The model events of one event that can be sent now. `is_last`: the body ends with it."""
        ...

    def finish(self, sample: bytes = b"") -> list[ModelEvent]:
        """The remaining events at the end of the body, and how the answer ended. `sample` is the beginning of the
        body. Raises `AttemptFailed` for an incomplete answer."""
        ...


class HttpModel(ABC):
    """A model that is called by one POST, whose answer is a stream of server-sent events.

    Args:
        name: The model's name at the server.
        api_key: The key, if the server needs one.
        base_url: The server's address, where no `transport` is given.
        transport: The connections to use. The caller closes them unless `is_own_transport`.
        is_own_transport: Whether the model closes `transport`.
        headers: Sent with each request.
        provider: The provider's name, for errors and metadata.
        model_first_byte_s: How long the first byte of an answer is awaited, connecting included, in seconds.
        model_idle_s: How long an answer may pause after it, in seconds. Comments (`: keep-alive`) end a pause.
        finished_s: How long usage is awaited after the answer has ended, in seconds.
        calls_max: Maximum number of tool calls in an answer.
    """

    default_provider: ClassVar[str]
    default_base_url: ClassVar[str]
    path: ClassVar[str]
    """The path below the base URL."""

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        transport: Transport | None = None,
        is_own_transport: bool = False,
        headers: Mapping[str, str] | None = None,
        provider: str = "",
        model_first_byte_s: float = 120.0,
        model_idle_s: float = 60.0,
        finished_s: float = FINISHED_S,
        calls_max: int = CALLS_MAX,
    ) -> None:
        self.name = name
        self.provider = provider or self.default_provider
        self._api_key = api_key or ""
        self._first_byte_s = model_first_byte_s
        self._idle_s = model_idle_s
        self._finished_s = finished_s
        self._calls_max = calls_max
        self._is_own_transport = is_own_transport or transport is None
        self._transport = transport or Transport(Connector(Origin.parse(base_url or self.default_base_url)))
        self._headers = HEADERS | self._own_headers(self._api_key) | dict(headers or {})
        self._refuses_beginnings = False

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        failures = self._make_failures(request)
        continuation = Continuation(with_data_as_text(request))
        answer = self._make_reader(request, failures)
        return self._call(lambda: self._make_body(continuation.request), answer, failures, continuation)

    async def _is_continuable(self, request: ModelRequest) -> bool:
        return not self._refuses_beginnings and await self._can_continue(request)

    async def _can_continue(self, request: ModelRequest) -> bool:
        """Whether the model can go on from the beginning of an answer."""
        return False

    def _make_failures(self, request: ModelRequest) -> Failures:
        return Failures(self.provider, secrets=(self._api_key,), texts=_texts(request))

    async def _call(
        self, make_body: Callable[[], bytes], answer: AnswerEvents, failures: Failures, continuation: Continuation
    ) -> AsyncGenerator[ModelEvent, None]:
        """Send one request and read its answer."""
        self._check_headers(failures)
        if continuation.is_continued and not await self._is_continuable(continuation.request):
            continuation.refuse()
        response = await self._open(make_body, failures, continuation)
        try:
            for item in continuation.begin():
                yield item
            events, noise = AnswerBody(), 0
            while not answer.is_done:
                chunk = await self._read(response, answer, failures)
                for piece in _slices(chunk):
                    noise += len(piece)
                    for number, event in enumerate(events.feed(piece) if chunk else events.end(), 1):
                        for item in answer.read(event, is_last=not chunk):
                            noise = noise if isinstance(item, Usage) else 0
                            if continuation.is_held:
                                for shown in continuation.admit(item):
                                    yield shown
                            else:
                                yield item
                        if number % EVENTS_PER_ITERATION == 0:
                            await asyncio.sleep(0)
                    if answer.is_finished:
                        now = asyncio.get_running_loop().time()
                        response.deadline = min(response.deadline, now + self._finished_s)
                    if noise > NOISE_BYTES_MAX:
                        raise failures.make(
                            "server", f"{NOISE_BYTES_MAX:,} bytes without any content", retryable=False
                        )
                    if len(chunk) > SLICE_BYTES:
                        await asyncio.sleep(0)
                if not chunk:
                    break
            for item in answer.finish(events.sample):
                for shown in continuation.admit(item):
                    yield shown
            for shown in continuation.end():
                yield shown
            response.release()
        except PeerError as error:
            raise failures.make("server", str(error), retryable=False) from None
        finally:
            response.close()

    async def list_models(self) -> tuple[str, ...]:
        """The names of the models that the server offers. Raises `AttemptFailed` if it does not list them."""
        failures = Failures(self.provider, secrets=(self._api_key,))
        self._check_headers(failures)
        return await read_model_list(self._transport, self._headers, failures)

    async def aclose(self) -> None:
        if self._is_own_transport:
            await self._transport.aclose()

    def _check_headers(self, failures: Failures) -> None:
        for name, value in self._headers.items():
            if not (value.isascii() and value.isprintable()):
                what = "the API key" if value.endswith(self._api_key or " ") else f"the value of {name}"
                detail = f"{what} has a line break or a character that is not ASCII: set it again"
                raise failures.make("auth", detail, retryable=False)

    @abstractmethod
    def _own_headers(self, api_key: str) -> dict[str, str]:
        """The headers of this protocol, the key included; `api_key` is empty if there is none."""

    @abstractmethod
    def _make_body(self, request: ModelRequest) -> bytes:
        """The JSON of a request."""

    @abstractmethod
    def _make_reader(self, request: ModelRequest, failures: Failures) -> AnswerEvents: ...

    def _drop_parameter(self, text: str) -> bool:
        """Omit the parameter that the server refused with this error from now on; False if it refused none."""
        return False

    def _restore_parameter(self) -> None:  # noqa: B027 - most protocols have no such parameter
        """The request without the parameter was refused too: the refusal has another reason."""

    async def _open(self, make_body: Callable[[], bytes], failures: Failures, continuation: Continuation) -> Response:
        """Send the request and read the response's head. If the server refuses a parameter, retry without it."""
        deadline = asyncio.get_running_loop().time() + self._first_byte_s
        response = await self._post(make_body(), failures, deadline)
        if continuation.is_continued and response.status in REFUSED_PARAMETER:
            response.close()
            continuation.refuse()
            response = await self._post(make_body(), failures, deadline)
            self._refuses_beginnings = 200 <= response.status < 300
        if response.status in REFUSED_PARAMETER:
            text = await self._read_error(response)
            if not self._drop_parameter(text):
                raise self._status_error(response, text, failures)
            response = await self._post(make_body(), failures, deadline)
            if response.status in REFUSED_PARAMETER:
                self._restore_parameter()
        if not 200 <= response.status < 300:
            raise self._status_error(response, await self._read_error(response), failures)
        if coding := _coding_of(response):
            response.close()
            detail = f"its answer is compressed ({coding[:16]}), which was not asked for"
            raise failures.make("server", detail, retryable=False)
        return response

    async def _post(self, body: bytes, failures: Failures, deadline: float) -> Response:
        try:
            return await self._transport.post(self.path, self._headers, body, deadline=deadline)
        except TimeoutError as error:
            raise failures.make("timeout") from error
        except ConnectFailed as error:
            raise failures.make("network", str(error), retryable=False if error.is_refused else None) from error
        except ResponseBroken as error:
            raise failures.make("network", str(error)) from error

    async def _read(self, response: Response, answer: AnswerEvents, failures: Failures) -> bytes:
        """The next bytes; empty at the end, and if nothing more arrives after a complete answer."""
        try:
            chunk = await response.read()
        except TimeoutError as error:
            if answer.is_finished:
                return b""
            raise failures.make("timeout", "the stream stopped") from error
        except ResponseBroken as error:
            if answer.is_finished:
                return b""
            raise failures.make("network", "the answer was cut off") from error
        response.deadline = asyncio.get_running_loop().time() + self._idle_s
        return chunk

    async def _read_error(self, response: Response) -> str:
        """The beginning of an error's body, as much as arrives in time."""
        body = bytearray()
        response.deadline = min(response.deadline, asyncio.get_running_loop().time() + ERROR_S)
        try:
            while len(body) < ERROR_BYTES_MAX and (chunk := await response.read()):
                body += chunk
        except (ResponseBroken, TimeoutError):
            pass
        finally:
            response.close()
        return "" if _coding_of(response) else body[:ERROR_BYTES_MAX].decode("utf-8", "replace")

    def _status_error(self, response: Response, text: str, failures: Failures) -> AttemptFailed:
        try:
            error = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            error = text
        return failures.of_status(response.status, error, response.headers, now_s=time.time())


def _coding_of(response: Response) -> str:
    """The body's compression; empty for none. (Some servers send the character set in this header.)"""
    coding = response.headers.get("content-encoding", "").strip().lower()
    return "" if coding in ("identity", "none", "utf-8", "utf8") else coding


def _slices(chunk: bytes) -> Iterator[bytes]:
    """The chunk in pieces of SLICE_BYTES; a short or empty chunk as it is."""
    if len(chunk) <= SLICE_BYTES:
        yield chunk
        return
    for start in range(0, len(chunk), SLICE_BYTES):
        yield chunk[start : start + SLICE_BYTES]


def _texts(request: ModelRequest) -> Iterator[str]:
    """The texts of the chat: the system prompt, then the messages, newest first."""
    yield request.system
    for message in reversed(request.messages):
        for part in message.content:
            match part:
                case Text(text=text) | Reasoning(text=text):
                    yield text
                case FileReference(content=text):
                    yield text
                case ToolCall(args=value) | ToolResult(result=value):
                    yield value if isinstance(value, str) else msgspec.json.encode(value).decode()
