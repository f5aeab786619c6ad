"""Streamed chat completions of OpenAI and of every compatible server."""

from __future__ import annotations

from antiphon.models.failures import Failures
from antiphon.models.http_model import HttpModel
from antiphon.models.openai_answer import AnswerReader
from antiphon.models.openai_request import request_body
from antiphon.ports import ModelRequest

USAGE_NAMES = ("stream_options", "include_usage", "streamOptions")
"""Names that an error mentions if the server refuses the parameter for usage."""


class OpenAIModel(HttpModel):
    """A model of an OpenAI-compatible server."""

    default_provider = "openai"
    default_base_url = "https://api.openai.com/v1"
    path = "/chat/completions"

    _asks_usage = True

    def _own_headers(self, api_key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def _make_body(self, request: ModelRequest) -> bytes:
        return request_body(self.name, request, provider=self.provider, asks_usage=self._asks_usage)

    def _make_reader(self, request: ModelRequest, failures: Failures) -> AnswerReader:
        return AnswerReader(self.provider, request, failures, calls_max=self._calls_max)

    def _drop_parameter(self, text: str) -> bool:
        if not self._asks_usage or not any(name in text for name in USAGE_NAMES):
            return False
        self._asks_usage = False
        return True

    def _restore_parameter(self) -> None:
        self._asks_usage = True
