"""What the server needs from a chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from antiphon.core.parts import Part, PartMetadata, Reasoning, Role, Text, ToolCallArgs, ToolCallOpened, Usage


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of the history, as an agent or a model is given it."""

    id: int
    role: Role
    content: tuple[Part, ...]
    is_interrupted: bool = False


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a model is told of it. `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One model call. `try_` counts the tries of this step from 1; `turn_failures` those of the whole turn."""

    chat_id: str
    turn_id: int
    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    parameters: dict[str, Any] = {}
    """The provider's own: they go into the request as they are."""
    try_: int = 1
    turn_failures: int = 0


class AnswerEnded(msgspec.Struct, frozen=True):
    """How the model says its answer ended, where that is worth showing: `length` (cut off at its limit of tokens),
    `refusal`, `content_filter`, `empty` (nothing to show was in it)."""

    outcome: str


ModelEvent = Text | Reasoning | ToolCallOpened | ToolCallArgs | PartMetadata | Usage | AnswerEnded


class Model(Protocol):
    """A chat model: answers a request as a stream of pieces.

    `stream` yields `Text` and `Reasoning` pieces, for each tool call a `ToolCallOpened` and then the
    `ToolCallArgs` that belong to it, and at any time a `Usage` (the newest one counts as the whole call's).
    `PartMetadata` belongs to the piece before it, `AnswerEnded` comes last, if at all.
    The stream ends normally when the answer is complete. Whatever goes wrong is raised as
    `errors.AttemptFailed` with its kind; nothing is retried inside. Closing the iterator (aclose)
    ends the call and frees its connection.
    """

    @property
    def provider(self) -> str: ...

    @property
    def name(self) -> str: ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]: ...

    async def aclose(self) -> None: ...
