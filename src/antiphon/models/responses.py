"""Streamed answers of OpenAI's Responses API, and of servers that support it."""

from __future__ import annotations

from antiphon.models.failures import Failures
from antiphon.models.http_model import HttpModel
from antiphon.models.responses_answer import ResponsesAnswer
from antiphon.models.responses_request import request_body
from antiphon.ports import ModelRequest

REASONING_NAMES = ("encrypted content", "encrypted_content", "include")
"""Names that an error mentions if the model has no reasoning to give, in lower case."""


class ResponsesModel(HttpModel):
    """A model of OpenAI. Nothing is stored at the provider."""

    default_provider = "openai-responses"
    default_base_url = "https://api.openai.com/v1"
    path = "/responses"

    _has_reasoning = True

    def _own_headers(self, api_key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def _make_body(self, request: ModelRequest) -> bytes:
        return request_body(self.name, request, provider=self.provider, has_reasoning=self._has_reasoning)

    def _make_reader(self, request: ModelRequest, failures: Failures) -> ResponsesAnswer:
        return ResponsesAnswer(self.provider, request, failures, calls_max=self._calls_max)

    def _drop_parameter(self, text: str) -> bool:
        if not self._has_reasoning or not any(name in text.lower() for name in REASONING_NAMES):
            return False
        self._has_reasoning = False
        return True

    def _restore_parameter(self) -> None:
        self._has_reasoning = True
