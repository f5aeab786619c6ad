"""Streamed answers of Anthropic's Messages API, and of gateways that support it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from antiphon.models.anthropic_answer import AnthropicAnswer
from antiphon.models.anthropic_request import request_body
from antiphon.models.continuation import Continuation, is_prefilled
from antiphon.models.failures import Failures
from antiphon.models.history import with_data_as_text
from antiphon.models.http_model import HttpModel
from antiphon.ports import ModelEvent, ModelRequest

API_VERSION = "2023-06-01"
PAUSES_MAX = 16
"""Maximum number of times that a paused answer is continued."""


class AnthropicModel(HttpModel):
    """A model of Anthropic. An answer that the provider pauses (`pause_turn`, while its own tools run) is continued
    in the same call."""

    default_provider = "anthropic"
    default_base_url = "https://api.anthropic.com/v1"
    path = "/messages"

    def _own_headers(self, api_key: str) -> dict[str, str]:
        return {"anthropic-version": API_VERSION} | ({"x-api-key": api_key} if api_key else {})

    async def _can_continue(self, request: ModelRequest) -> bool:
        return is_prefilled(self.name, request.parameters)

    def _make_body(self, request: ModelRequest, continued: Sequence[dict[str, Any]] = ()) -> bytes:
        return request_body(self.name, request, provider=self.provider, continued=continued)

    def _make_reader(self, request: ModelRequest, failures: Failures) -> AnthropicAnswer:
        return AnthropicAnswer(self.provider, request, failures, calls_max=self._calls_max)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        failures = self._make_failures(request)
        continuation = Continuation(with_data_as_text(request))
        answer = self._make_reader(request, failures)
        blocks: Sequence[dict[str, Any]] = ()

        def make_body() -> bytes:
            return self._make_body(continuation.request, blocks)

        for _ in range(PAUSES_MAX + 1):
            async with aclosing(self._call(make_body, answer, failures, continuation)) as events:
                async for event in events:
                    yield event
            if not answer.is_paused:
                return
            blocks = answer.blocks
            answer = AnthropicAnswer(self.provider, request, failures, calls_max=self._calls_max, previous=answer)
        detail = f"its answer is not complete after {PAUSES_MAX} pauses"
        raise failures.make("server", detail, retryable=False)
