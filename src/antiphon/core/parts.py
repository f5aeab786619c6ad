"""Parts: the content of a message, and the pieces that are appended to a draft.

The content of a finished message is a list of `Part`s, tagged on the wire by `type`. A draft is a sequence of
`DeltaPart`s. A part of a kind that this version does not support is an `Unknown`; it is written back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec


class Role(StrEnum):
    """The author of a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Text(msgspec.Struct, frozen=True, gc=False, tag="text", tag_field="type", omit_defaults=True):
    """Text for the reader; in a delta, a piece of it."""

    text: str = msgspec.field(default_factory=str)
    provider_metadata: Any = None


class Reasoning(msgspec.Struct, frozen=True, gc=False, tag="reasoning", tag_field="type", omit_defaults=True):
    """A model's reasoning. `provider_metadata` is sent back to the same provider only."""

    text: str
    provider_metadata: Any = None


class ToolCall(msgspec.Struct, frozen=True, gc=False, tag="tool-call", tag_field="type", omit_defaults=True):
    """A request to run a tool. `args` is any JSON value (an object, for tools made by `@tool`)."""

    tool_call_id: str
    tool_name: str
    args: Any = msgspec.field(default_factory=dict)
    provider_metadata: Any = None


class ToolResult(msgspec.Struct, frozen=True, gc=False, tag="tool-result", tag_field="type", omit_defaults=True):
    """The result of a tool call; each call has exactly one. `result` is any JSON value."""

    tool_call_id: str
    tool_name: str
    result: Any = msgspec.field(default_factory=lambda: None)
    is_error: bool = False
    provider_metadata: Any = None


class Source(msgspec.Struct, frozen=True, gc=False, tag="source", tag_field="type", omit_defaults=True):
    """A source that the model cites."""

    source_id: str = ""
    url: str = msgspec.field(default_factory=str)
    title: str = ""
    provider_metadata: Any = None


class File(msgspec.Struct, frozen=True, gc=False, tag="file", tag_field="type", omit_defaults=True):
    """A file, as base64 `data` or by reference."""

    media_type: str = msgspec.field(default_factory=str)
    data: str = ""
    file_id: str = ""
    name: str = ""
    provider_metadata: Any = None


class FileReference(
    msgspec.Struct, frozen=True, gc=False, tag="file-reference", tag_field="type", omit_defaults=True
):
    """A stored file (`file_id`), or a range of lines in a file with their text.

    The server sets the fields that describe a stored file: its media type, its size in bytes, and the size of an
    image in pixels where it is known.
    """

    file_name: str = msgspec.field(default_factory=str)
    start_line: int = msgspec.field(default_factory=int)
    end_line: int = msgspec.field(default_factory=int)
    content: str = msgspec.field(default_factory=str)
    file_id: str = ""
    media_type: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    provider_metadata: Any = None


class Data(msgspec.Struct, frozen=True, gc=False, tag="data", tag_field="type", omit_defaults=True):
    """A JSON value for programs, such as a structured answer. `name` says what it is."""

    data: Any = msgspec.field(default_factory=lambda: None)
    name: str = ""
    provider_metadata: Any = None


class CallStarted(msgspec.Struct, frozen=True, gc=False, tag="call-started", tag_field="type", omit_defaults=True):
    """The first delta of each model call. `try_` (on the wire: `try`) counts from 1."""

    model: str = msgspec.field(default_factory=str)
    provider: str = msgspec.field(default_factory=str)
    try_: int = msgspec.field(default_factory=int, name="try")


class ToolCallOpened(msgspec.Struct, frozen=True, gc=False, tag="tool-call", tag_field="type"):
    """Opens a tool-call part; its arguments follow as `ToolCallArgs` of the same part_index."""

    tool_call_id: str
    tool_name: str


class ToolCallArgs(msgspec.Struct, frozen=True, gc=False, tag="tool-call-args", tag_field="type"):
    """A piece of the JSON text of a call's arguments."""

    args_delta: str


class ToolProgress(msgspec.Struct, frozen=True, gc=False, tag="tool-progress", tag_field="type"):
    """Output of a running tool before its result. It is streamed but not stored."""

    tool_call_id: str
    text: str


class PartMetadata(msgspec.Struct, frozen=True):
    """Opaque metadata of the last part, stored as its `provider_metadata`. It makes no delta."""

    provider_metadata: dict[str, Any]


class Unknown:
    """A part, delta or fact of a kind that this version does not support. `raw` is the JSON object as received."""

    __slots__ = ("raw", "type")

    def __init__(self, type: str, raw: dict[str, Any]) -> None:  # noqa: A002 - the wire's own word
        self.type = type
        self.raw = raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unknown) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.type)

    def __repr__(self) -> str:
        return f"Unknown({self.type!r}, {self.raw!r})"


# msgspec does not support a plain class in a union of structs; `wire.codec` inserts the Unknowns.
if TYPE_CHECKING:
    Part = Text | Reasoning | ToolCall | ToolResult | Source | File | FileReference | Data | Unknown
    Whole = Source | File | FileReference | Data
    DeltaPart = CallStarted | Text | Reasoning | ToolCallOpened | ToolCallArgs | ToolProgress | Whole | Unknown
else:
    Part = Text | Reasoning | ToolCall | ToolResult | Source | File | FileReference | Data
    Whole = Source | File | FileReference | Data
    """The parts that are one delta each: they are neither cut nor merged."""
    DeltaPart = CallStarted | Text | Reasoning | ToolCallOpened | ToolCallArgs | ToolProgress | Whole


CALLS_MAX = 128
"""Maximum number of tool calls in one answer."""
TOKENS_MAX = 1 << 53
"""Maximum value of a token count."""
OUTCOMES = ("length", "refusal", "content_filter", "empty")
"""The reasons why a model's answer ended early, as they are shown to people."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Tokens used, and what they cost; unknown counts are None. `a + b` adds the counts that are known.

    `input_tokens` include those that were read from a cache or written to it, `output_tokens` those of reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_read_tokens: int | None = None
    context_limit: int | None = None
    cost_micros: int | None = None
    """The cost of the tokens that have a price, in millionths of the currency unit; None: none of them has one."""
    priced_tokens: int | None = None
    """How many of the input and output tokens have a price: `cost_micros` is their cost."""

    @property
    def tokens(self) -> int:
        """The input and output tokens together."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    @property
    def unpriced_tokens(self) -> int:
        """How many of `tokens` have no price, so that `cost_micros` is not the whole cost."""
        return max(self.tokens - (self.priced_tokens or 0), 0)

    def __add__(self, other: Usage) -> Usage:
        if other == NO_USAGE:
            return self
        if self == NO_USAGE:
            return other
        sums = {name: _sum(getattr(self, name), getattr(other, name)) for name in self.__struct_fields__}
        sums["context_limit"] = other.context_limit if other.context_limit is not None else self.context_limit
        return Usage(**sums)


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None and b is None else (a or 0) + (b or 0)


NO_USAGE = Usage()


def delta_length(part: DeltaPart) -> int:
    """By how much a delta with this part advances the position: the code points of its text, else 1."""
    if isinstance(part, Text | Reasoning):
        return len(part.text)
    if isinstance(part, ToolCallArgs):
        return len(part.args_delta)
    return 1


def file_ids_of(parts: Iterable[Part]) -> tuple[str, ...]:
    """The ids of the stored files that parts refer to, each once."""
    return tuple(dict.fromkeys(part.file_id for part in parts if isinstance(part, FileReference) and part.file_id))


def text_of(parts: tuple[Part, ...] | list[Part]) -> str:
    """The text parts, joined by newlines."""
    return "\n".join(part.text for part in parts if isinstance(part, Text))
