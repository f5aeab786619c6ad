"""The events of a run of the OpenAI Agents SDK as pieces of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents import ItemHelpers

from antiphon.adapters.recorded_calls import plain
from antiphon.core.parts import PartMetadata, Reasoning
from antiphon.models.responses_answer import INCOMPLETE
from antiphon.models.responses_request import REASONING
from antiphon.worker.turn import Turn

Piece = str | Reasoning | PartMetadata
PROVIDER = "openai-agents"
"""The name under which reasoning items are stored in the metadata of the part that follows them."""


class AgentsAnswer:
    """Reads the events of one run. `has_text`: the model has written since the last result of a tool."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._reasoning: list[Any] = []
        self._is_streamed = False
        self.has_text = False
        self.call_metadata: dict[str, dict[str, Any]] = {}
        """What is stored with a tool call, by its id: the reasoning items before it."""

    def pieces_of(self, event: Any) -> Iterator[Piece]:
        """The pieces that an event adds. Whole messages repeat what was streamed, if the model streams."""
        if event.type == "raw_response_event":
            yield from self._pieces_of_raw(event.data)
        elif event.type == "run_item_stream_event" and event.name == "tool_output":
            self.has_text = False
        elif event.type == "run_item_stream_event" and event.name == "message_output_created":
            if not self._is_streamed:
                yield from self._text(ItemHelpers.text_message_output(event.item))
            self._is_streamed = False

    def _pieces_of_raw(self, data: Any) -> Iterator[Piece]:
        match data.type:
            case "response.output_text.delta" | "response.refusal.delta":
                self._is_streamed = True
                yield from self._text(data.delta)
                if data.type == "response.refusal.delta":
                    self._turn.end_answer("refusal")
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield Reasoning(data.delta)
            case "response.reasoning_summary_part.added" if data.summary_index:
                yield Reasoning("\n\n")
            case "response.output_item.done":
                self._keep(plain(data.item))
            case "response.incomplete":
                reason = getattr(data.response.incomplete_details, "reason", "")
                self._turn.end_answer(INCOMPLETE.get(reason, "length"))

    def _text(self, text: str) -> Iterator[str | PartMetadata]:
        self.has_text = self.has_text or bool(text)
        yield text
        if text and (metadata := self._metadata()):
            yield PartMetadata(metadata)

    def _keep(self, item: dict[str, Any]) -> None:
        if item["type"] == "reasoning":
            self._reasoning.append({name: v for name, v in item.items() if v is not None and name != "status"})
        elif item["type"] == "function_call" and (metadata := self._metadata()):
            self.call_metadata[item["call_id"]] = metadata

    def _metadata(self) -> dict[str, Any]:
        items, self._reasoning = self._reasoning, []
        return {PROVIDER: {REASONING: items}} if items else {}
