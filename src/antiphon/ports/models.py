"""The interface of a chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from antiphon.core.parts import (
    File,
    Part,
    PartMetadata,
    Reasoning,
    Role,
    Source,
    Text,
    ToolCallArgs,
    ToolCallOpened,
    Usage,
)


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of the history, as an agent or a model receives it. A person's has the id of its sender, an owner,
    in `created_by`, and in `via` how it was sent: by `http`, `zmq`, `python` or `chat` (a child chat's parent)."""

    id: int
    role: Role
    content: tuple[Part, ...]
    is_interrupted: bool = False
    created_by: str = ""
    via: str = ""


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as it is described to a model. `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's answer must be: JSON of this schema. `is_strict`: every object of the schema is closed and
    requires all its properties."""

    name: str
    schema: dict[str, Any]
    is_strict: bool = False


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One model call. `try_` is the number of this try in its step, from 1; `turn_failures` is the number of failures
    in the whole turn."""

    chat_id: str
    turn_id: int
    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    output: OutputFormat | None = None
    """What the answer must be; None: text."""
    parameters: dict[str, Any] = {}
    """Parameters of the provider, sent unchanged."""
    beginning: str = ""
    """The text with which the answer begins: an earlier attempt wrote it before its worker was lost. A model that can
    go on from it yields it first, as one `Text`, and then the rest. Any other one ignores it and answers from the
    start."""
    try_: int = 1
    turn_failures: int = 0


class AnswerEnded(msgspec.Struct, frozen=True):
    """Why the model ended its answer, unless it is simply complete: `length` (cut off at its limit of tokens),
    `refusal`, `content_filter`, or `empty` (it has nothing to show)."""

    outcome: str


ModelEvent = Text | Reasoning | Source | File | ToolCallOpened | ToolCallArgs | PartMetadata | Usage | AnswerEnded


class Model(Protocol):
    """A chat model: answers a request with a stream of events."""

    @property
    def provider(self) -> str:
        """The name of the provider."""
        ...

    @property
    def name(self) -> str:
        """The name of the model at the provider."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Call the model once, without retries. Closing the iterator (`aclose`) ends the call and releases its
        connection.

        Args:
            request: The history, the tools and the parameters.

        Returns:
            `Text`, `Reasoning`, `Source` and `File` events; for each tool call a `ToolCallOpened` and then its
            `ToolCallArgs`; at any time a `Usage`, of which the last one counts for the whole call. `PartMetadata`
            belongs to the event before it; `AnswerEnded`, if any, is the last event. The iterator ends when the
            answer is complete.

        Raises:
            AttemptFailed: The call failed, with the kind of the failure.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections to the provider."""
        ...
