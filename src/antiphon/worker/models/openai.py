"""Chat completions of OpenAI and of every server that speaks like it, streamed.

The official SDK signs, connects and pools; the stream is read raw, for an SDK object per token costs twenty
times as much as decoding the chunk here. Nothing is retried inside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import httpx2

from antiphon.errors import Invalid
from antiphon.outbound import refusal_in
from antiphon.ports import ModelEvent, ModelRequest
from antiphon.worker.models.failures import failure_of_status, make_failure
from antiphon.worker.models.openai_answer import AnswerReader
from antiphon.worker.models.openai_request import request_body
from antiphon.worker.models.sse_lines import SseLines, TooLong, WholeBody

if TYPE_CHECKING:
    import openai

DEFAULT_BASE_URL = "https://api.openai.com/v1"
CONNECT_S = 10.0
NOT_PUBLIC = "its address leads to no public place"
DRAIN_S = 0.2
"""How long to wait for the end of the body behind `[DONE]`, so that the connection can be used again."""


class OpenAIModel:
    """A model behind `base_url`, or behind a `client` (of the caller's, who
    closes it, unless `is_own_client`). Raises `Invalid` when the
    SDK is not installed.

    `model_first_byte_s` bounds the wait for the first piece of an answer, connecting included, `model_idle_s`
    that between two pieces; a server's comments (`: keep-alive`) are no pieces.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        client: openai.AsyncOpenAI | None = None,
        is_own_client: bool = False,
        provider: str = "openai",
        model_first_byte_s: float = 120.0,
        model_idle_s: float = 60.0,
    ) -> None:
        self.name = name
        self.provider = provider
        self._first_byte_s = model_first_byte_s
        self._idle_s = model_idle_s
        self._asks_usage = True
        self._is_own_client = is_own_client or client is None
        self._client = client or make_client(api_key, base_url)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        answer = AnswerReader(self.provider, request)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._first_byte_s
        response = await self._open(request, deadline)
        try:
            lines = WholeBody() if _is_json(response) else SseLines()
            async with aclosing(response.aiter_bytes()) as chunks:
                while not answer.is_done:
                    chunk = await self._next_chunk(chunks, answer, deadline)
                    pieces = lines.feed(chunk) if chunk else lines.end()
                    for data in pieces:
                        for event in answer.read(data):
                            yield event
                    if not chunk:
                        break
                    if pieces:
                        deadline = loop.time() + self._idle_s
                await _drain(chunks)
        except TooLong:
            raise make_failure("server", provider=self.provider, detail="its answer has no end") from None
        finally:
            await response.aclose()
        if not (answer.is_finished or answer.is_done):
            raise make_failure("network", provider=self.provider, detail="the answer was cut off")
        for event in answer.finish():
            yield event

    async def aclose(self) -> None:
        if self._is_own_client:
            await self._client.close()

    async def _open(self, request: ModelRequest, deadline: float) -> httpx2.Response:
        """Send the request, and the response's headers back. Asks for no usage where that is refused."""
        import openai

        try:
            async with asyncio.timeout_at(deadline):
                try:
                    return await self._post(request)
                except openai.APIStatusError as error:
                    if not (self._asks_usage and _refuses_stream_options(error)):
                        raise
                    self._asks_usage = False
                    return await self._post(request)
        except openai.APIStatusError as error:
            # `from None`: the provider's own message may repeat the prompt or the key.
            raise failure_of_status(
                self.provider, error.status_code, error.body, error.response.headers, now_s=time.time()
            ) from None
        except (TimeoutError, openai.APITimeoutError) as error:
            raise make_failure("timeout", provider=self.provider) from error
        except (openai.APIConnectionError, httpx2.RequestError) as error:
            if refusal_in(error) is not None:
                raise make_failure("network", provider=self.provider, detail=NOT_PUBLIC, retryable=False) from error
            raise make_failure("network", provider=self.provider) from error

    async def _post(self, request: ModelRequest) -> httpx2.Response:
        import openai

        # Not `chat.completions.create`: it walks the whole history once more to transform what is ready.
        response = await self._client.post(
            "/chat/completions",
            cast_to=httpx2.Response,
            content=request_body(self.name, request, asks_usage=self._asks_usage),
            options={"headers": {"Content-Type": "application/json", "Accept": "text/event-stream"}},
            stream=True,
            stream_cls=openai.AsyncStream[Any],
        )
        return cast("httpx2.Response", response)  # the SDK gives what `cast_to` says

    async def _next_chunk(self, chunks: AsyncIterator[bytes], answer: AnswerReader, deadline: float) -> bytes:
        """The next bytes; none at the end, and when the connection breaks behind a whole answer."""
        try:
            async with asyncio.timeout_at(deadline):
                return await anext(chunks, b"")
        except TimeoutError as error:
            raise make_failure("timeout", provider=self.provider, detail="the stream fell silent") from error
        except httpx2.RequestError as error:
            if answer.is_finished:
                return b""
            raise make_failure("network", provider=self.provider, detail="the answer was cut off") from error


def make_client(
    api_key: str | None, base_url: str | None, http_client: httpx2.AsyncClient | None = None
) -> openai.AsyncOpenAI:
    """The SDK's client, with its retries off. Raises `Invalid` when the SDK is not installed."""
    try:
        import openai
    except ImportError as error:
        raise Invalid("model", "openai models need the SDK: install antiphon[openai].") from error
    timeout = httpx2.Timeout(None, connect=CONNECT_S)
    # The SDK wants some key; a local server that needs none ignores it. A redirect would take the key elsewhere.
    return openai.AsyncOpenAI(
        api_key=api_key or "none",
        base_url=base_url or DEFAULT_BASE_URL,
        max_retries=0,
        timeout=timeout,
        http_client=http_client or openai.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False),
    )


def _is_json(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").startswith("application/json")


def _refuses_stream_options(error: openai.APIStatusError) -> bool:
    return error.status_code in (400, 422) and "stream_options" in error.response.text


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            while await anext(chunks, b""):
                pass
    except (TimeoutError, httpx2.RequestError):
        pass
