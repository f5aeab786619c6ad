"""Streamed chat completions of OpenAI and of every compatible server."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from antiphon.models.connecting import ConnectFailed
from antiphon.models.continuation import Form, form_at, form_by_owner, is_asked
from antiphon.models.failures import Failures
from antiphon.models.http_model import HttpModel
from antiphon.models.openai_answer import AnswerReader
from antiphon.models.openai_request import request_body
from antiphon.models.response import ResponseBroken
from antiphon.ports import ModelRequest

MODELS_S = 5.0
"""How long a server's list of models is awaited, in seconds."""
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
    _form: Form | None = None
    """How it goes on from the beginning of an answer, if it does."""
    _is_known = False
    """Whether the server was asked which one it is."""
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
            form=self._form,
        )

    async def _can_continue(self, request: ModelRequest) -> bool:
        origin = self._transport.origin
        self._form = self._form or form_at(origin, self.name)
        if self._form is None and not self._is_known and is_asked(origin):
            listed = await self._read_models()
            self._is_known, self._form = listed is not None, form_by_owner(listed)
        return self._form is not None

    async def _read_models(self) -> Any:
        """The server's list of models; None if it has none, or does not answer in time."""
        deadline = asyncio.get_running_loop().time() + MODELS_S
        try:
            response = await self._transport.request("GET", "/models", self._headers, b"", deadline=deadline)
            status, text = response.status, await self._read_error(response)
            return msgspec.json.decode(text) if status == 200 else {}
        except (ConnectFailed, ResponseBroken, TimeoutError):
            return None
        except (msgspec.DecodeError, RecursionError):
            return {}

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
