"""How a model goes on from the beginning of an answer: the form of each provider, and the answer that follows.

Every form ends the messages with the assistant's beginning. A provider that has no such form would take it for a
finished answer and begin another one, so only these are asked to go on:

| provider | form |
|---|---|
| Anthropic (models that allow it) | the last message is the assistant's, without white space at its end |
| Mistral, DeepSeek (`/beta`) | it has `"prefix": true` |
| OpenRouter (models of these two) | the last message is the assistant's |
| vLLM, SGLang, llama.cpp | `"continue_final_message": true, "add_generation_prompt": false` |

The last three run anywhere; `owned_by` in their list of models says which one it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from antiphon.core.parts import Text, Usage
from antiphon.models.connecting import Origin
from antiphon.ports import AnswerEnded, ModelEvent, ModelRequest


class Form(StrEnum):
    """How a chat-completions request says that the model goes on from its last message."""

    LAST = "last"
    PREFIX = "prefix"
    FINAL = "final"


ECHO_MIN = 16
"""Minimum length of a beginning that is left out where the answer repeats it, in code points. A shorter one may well
be what the model says next."""
OWNERS = frozenset({"vllm", "sglang", "llamacpp"})
"""The servers of the form FINAL, as `owned_by` names them."""
ROUTED = ("deepseek/", "mistralai/")
"""Names of models at OpenRouter whose own provider has a form."""
CLAUDE = re.compile(r"claude-(2|3|instant)|claude-(opus|sonnet|haiku)-4(-[015])?(-2025\d{4})?(-latest)?$")
"""The models of Anthropic that go on from a beginning. Those from Opus 4.6 on refuse it."""


def form_at(origin: Origin, model: str) -> Form | None:
    """The form of a provider that its address names; None: it has none."""
    match origin.host:
        case "api.mistral.ai":
            return Form.PREFIX
        case "api.deepseek.com":
            return Form.PREFIX if origin.path.startswith("/beta") else None
        case "openrouter.ai":
            return Form.LAST if model.startswith(ROUTED) else None
    return None


def is_asked(origin: Origin) -> bool:
    """Whether the server is asked for its kind: it is none whose address says it."""
    return origin.host not in {"api.mistral.ai", "api.deepseek.com", "openrouter.ai", "api.openai.com"}


def form_by_owner(models: Any) -> Form | None:
    """The form of a server with this list of models, the answer to GET /models."""
    listed = models.get("data") if isinstance(models, dict) else None
    owners = {model.get("owned_by") for model in listed or () if isinstance(model, dict)} if listed else set()
    return Form.FINAL if owners & OWNERS else None


def is_prefilled(model: str, parameters: dict[str, Any]) -> bool:
    """Whether a model of Anthropic goes on from a beginning: not while it thinks."""
    return CLAUDE.match(model) is not None and not parameters.get("thinking")


class Continuation:
    """The answer to one request that may have a beginning, which comes first.

    Attributes:
        request: The request as it is sent: without the beginning if the model cannot go on from it, else without the
            white space at its end, which some providers refuse and which tokenizers attach to the next word.
        is_held: Whether the events of the answer pass through `admit`: until what follows the beginning is known.
    """

    def __init__(self, request: ModelRequest) -> None:
        self._text = request.beginning
        self._space = self._text[len(self._text.rstrip()) :]
        self._read = ""
        self._is_shown = False
        self.request = replace(request, beginning=self._text.rstrip()) if self._text else request
        self.is_held = self.is_continued

    @property
    def is_continued(self) -> bool:
        return bool(self.request.beginning)

    def refuse(self) -> None:
        """The model cannot go on: it answers from the start."""
        self.request = replace(self.request, beginning="")
        self.is_held = False

    def begin(self) -> list[ModelEvent]:
        """The beginning, once the model has accepted the request."""
        if self._is_shown or not self.is_continued:
            return []
        self._is_shown = True
        return [Text(self._text)]

    def admit(self, event: ModelEvent) -> list[ModelEvent]:
        """The events to send for one of the model. A provider may repeat the beginning (Mistral does): then it is
        left out. White space that ends the beginning and starts the rest is sent once."""
        if isinstance(event, Usage) or not self.is_held:
            return [event]
        if not isinstance(event, Text):
            is_complete = isinstance(event, AnswerEnded) and event.outcome == "empty"  # the model adds nothing
            return [*self.end(), *([] if is_complete else [event])]
        self._read += event.text
        return [] if self._is_repeating() else self.end()

    def end(self) -> list[ModelEvent]:
        """What is held back."""
        self.is_held = False
        text, self._read = self._read, ""
        rest = next((text.removeprefix(head) for head in self._heads() if text.startswith(head)), text)
        return [Text(rest)] if rest else []

    def _heads(self) -> Iterator[str]:
        """What the answer may repeat, longest first: the beginning, the white space at its end or a part of it."""
        if len(self._text) >= ECHO_MIN:
            yield self._text
            yield self._text.rstrip()
        for length in range(len(self._space), 0, -1):
            yield self._space[:length]

    def _is_repeating(self) -> bool:
        """Whether what was read may still become what is left out."""
        heads = (self._text, self._space) if len(self._text) >= ECHO_MIN else (self._space,)
        return any(len(self._read) < len(head) and head.startswith(self._read) for head in heads)
