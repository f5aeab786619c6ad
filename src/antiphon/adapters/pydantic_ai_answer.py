"""The events of a run of pydantic-ai as pieces of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_ai import AgentRunResultEvent
from pydantic_ai import messages as m
from pydantic_core import to_json

from antiphon.adapters.foreign_history import HIDDEN_TEXT
from antiphon.adapters.pydantic_ai_history import add_thinking, metadata_of
from antiphon.core.parts import PartMetadata, Reasoning

Piece = str | Reasoning | PartMetadata


class PydanticAnswer:
    """Reads the events of a run. `call_metadata` gets what is stored with a call, by its id."""

    def __init__(self, call_metadata: dict[str, dict[str, Any]]) -> None:
        self._call_metadata = call_metadata
        self._reasoning = Reasoning("")
        self._has_text = False

    def pieces_of(self, event: Any) -> Iterator[Piece]:
        """What an event adds to the answer. An output that is not text comes whole, as JSON."""
        match event:
            case (
                m.PartStartEvent(part=m.TextPart(content=text))
                | m.PartDeltaEvent(delta=m.TextPartDelta(content_delta=text))
            ) if text:
                self._has_text = True
                yield text
            case (
                m.PartStartEvent(part=m.ThinkingPart(content=text))
                | m.PartDeltaEvent(delta=m.ThinkingPartDelta(content_delta=text))
            ) if text:
                yield Reasoning(text)
            case m.PartEndEvent(part=part):
                yield from self._ended(part)
            case AgentRunResultEvent(result=result) if not isinstance(result.output, str):
                yield to_json(result.output).decode()
            case AgentRunResultEvent(result=result) if result.output and not self._has_text:
                yield result.output

    def _ended(self, part: Any) -> Iterator[Piece]:
        """A part is whole: keep what its provider must get back."""
        if isinstance(part, m.ThinkingPart):
            if not part.content and metadata_of(part):
                yield Reasoning(HIDDEN_TEXT)
            if part.content or metadata_of(part):
                self._reasoning = add_thinking(self._reasoning, part)
                yield PartMetadata(self._reasoning.provider_metadata)
            return
        self._reasoning = Reasoning("")
        metadata = metadata_of(part)
        if isinstance(part, m.ToolCallPart) and metadata:
            self._call_metadata[part.tool_call_id] = metadata
        elif isinstance(part, m.TextPart) and part.content and metadata:
            yield PartMetadata(metadata)
