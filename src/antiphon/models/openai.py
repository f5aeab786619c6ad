"""Streamed chat completions of OpenAI and of every compatible server."""

from __future__ import annotations

from antiphon.models.failures import Failures
from antiphon.models.http_model import HttpModel
from antiphon.models.openai_answer import AnswerReader
from antiphon.models.openai_request import request_body
from antiphon.ports import ModelRequest

USAGE_NAMES = ("stream_options", "include_usage", "streamOptions")
"""Names that an error mentions if the server refuses the parameter for usage."""


SHORT_IDS = "must be a-z, A-Z, 0-9, with a length of 9"
"""What Mistral's API says to the id of a call that another provider made."""


class OpenAIModel(HttpModel):
    """A model of an OpenAI-compatible server."""

    default_provider = "openai"
    default_base_url = "https://api.openai.com/v1"
    path = "/chat/completions"

    _asks_usage = True
    _has_short_ids = False
    _dropped = ""
    """The name of the attribute that the last refusal changed."""

    def _own_headers(self, api_key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def _make_body(self, request: ModelRequest) -> bytes:
        return request_body(
            self.name,
            request,
            provider=self.provider,
            asks_usage=self._asks_usage,
            has_short_ids=self._has_short_ids,
        )

    def _make_reader(self, request: ModelRequest, failures: Failures) -> AnswerReader:
        return AnswerReader(self.provider, request, failures, calls_max=self._calls_max)

    def _drop_parameter(self, text: str) -> bool:
        if self._asks_usage and any(name in text for name in USAGE_NAMES):
            self._asks_usage, self._dropped = False, "usage"
        elif not self._has_short_ids and SHORT_IDS in text:
            self._has_short_ids, self._dropped = True, "ids"
        else:
            return False
        return True

    def _restore_parameter(self) -> None:
        if self._dropped == "usage":
            self._asks_usage = True
        else:
            self._has_short_ids = False
