"""What LangChain's models stream, as pieces of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage

from antiphon.adapters.langchain_history import blocks_in, is_reasoning, reasoning_of
from antiphon.core.parts import PartMetadata, Reasoning
from antiphon.worker.turn import Turn


class LangChainAnswer:
    """Reads what the models of a run stream. Their usage is added to the turn's."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._message_id: str | None = None
        self._thinking: list[AIMessage] = []
        """The pieces of the message with reasoning, until something else follows."""
        self._shown = ""
        """Their text."""

    def pieces_of(self, chunk: Any) -> Iterator[str | Reasoning | PartMetadata]:
        """The text and the reasoning of a piece of a message, or of a whole one."""
        if not isinstance(chunk, AIMessage):
            return
        if usage := chunk.usage_metadata:
            self._turn.add_usage(input_tokens=usage["input_tokens"], output_tokens=usage["output_tokens"])
        if chunk.id != self._message_id:
            self._message_id, self._thinking, self._shown = chunk.id, [], ""
        blocks = chunk.content_blocks
        if is_thinking := reasoning_of(chunk) is not None or any(map(is_reasoning, blocks_in(chunk))):
            self._thinking.append(chunk)
        for block in blocks:
            if block["type"] == "reasoning" and (thought := block.get("reasoning")):
                self._shown += thought
                yield Reasoning(thought)
            elif block["type"] == "text" and block["text"]:
                yield from self._end_thinking()
                yield block["text"]
        if not is_thinking and blocks:
            yield from self._end_thinking()

    def _end_thinking(self) -> Iterator[PartMetadata | Reasoning]:
        """Keep the blocks of reasoning that are whole now."""
        chunks, shown, self._thinking, self._shown = self._thinking, self._shown, [], ""
        whole = chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0] if chunks else None
        if isinstance(whole, AIMessage) and (reasoning := reasoning_of(whole)) is not None:
            if reasoning.text.startswith(shown) and (hidden := reasoning.text[len(shown) :]):
                yield Reasoning(hidden)
            yield PartMetadata(reasoning.provider_metadata)
