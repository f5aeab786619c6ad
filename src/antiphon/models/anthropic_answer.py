"""The events of an answer of Anthropic's Messages API as model events. No I/O.

Every field may have any value; one of an unexpected shape is ignored, as is an event or a block of an unknown type.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.core.draft import replace_surrogates
from antiphon.core.parts import (
    CALLS_MAX,
    TOKENS_MAX,
    PartMetadata,
    Reasoning,
    Source,
    Text,
    Usage,
)
from antiphon.models.answer_values import SurrogateHalves, decode_json, encode_json, string_in, whole_number_in
from antiphon.models.anthropic_request import REDACTED_TEXT, THINKING
from antiphon.models.event_json import decode_event
from antiphon.models.failures import Failures
from antiphon.models.tool_call_assembly import ToolCallAssembly, TooManyCalls, assembly_for
from antiphon.ports import AnswerEnded, ModelEvent, ModelRequest
from antiphon.wire.sse import SseEvent

OUTCOMES = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
"""What is stored for a `stop_reason`. All others end a complete answer."""
PAUSED = "pause_turn"
TEXT_FIELDS = {"text": ("text",), "thinking": ("thinking", "signature")}
"""The fields of a block that arrive in pieces, and must not be missing when it is sent back."""
BLOCKS_MAX = 1_000
"""Maximum number of content blocks in one answer."""
BLOCK_BYTES_MAX = 16 * 1024 * 1024
"""Maximum size of the blocks that are kept to continue a paused answer, in bytes."""


class OpenBlock:
    """A content block that is being received. `pieces` are those of its fields that arrive in pieces."""

    __slots__ = ("block", "call_number", "pieces")

    def __init__(self, block: dict[str, Any]) -> None:
        self.block = block
        self.call_number: int | None = None
        self.pieces: dict[str, list[str]] = {}

    @property
    def type(self) -> str:
        return string_in(self.block.get("type"))

    def pop_initial(self, field: str) -> Any:
        """Remove and return the field's initial value; the caller adds it as the first piece."""
        return self.block.pop(field, None)

    def add(self, field: str, piece: str) -> None:
        self.pieces.setdefault(field, []).append(piece)

    def whole(self) -> dict[str, Any]:
        """The block in the form that the API accepts in the next request."""
        fields: dict[str, Any] = dict.fromkeys(TEXT_FIELDS.get(self.type, ()), "")
        fields |= {field: replace_surrogates("".join(pieces)) for field, pieces in self.pieces.items()}
        if "input" in fields:
            fields["input"] = _decoded(fields["input"])
        return self.block | fields


class AnthropicAnswer:
    """Reads one answer, event by event. Raises `AttemptFailed` for an error of the provider.

    `blocks` are the answer's blocks, in the form that the API accepts in the next request; `is_paused` says that the
    answer must be continued from them.
    """

    def __init__(
        self,
        provider: str,
        request: ModelRequest,
        failures: Failures,
        *,
        calls_max: int = CALLS_MAX,
        previous: AnthropicAnswer | None = None,
    ) -> None:
        """`previous` is the paused answer that this one continues."""
        self._provider = provider
        self._failures = failures
        self._calls_max = calls_max
        self._calls: ToolCallAssembly = previous._calls if previous else assembly_for(request, calls_max=calls_max)
        self._halves = SurrogateHalves()
        self._usage = Usage()
        self._used_before = previous.usage if previous is not None else Usage()
        self._thinking: list[dict[str, Any]] = list(previous._thinking) if previous is not None else []
        """The blocks of the reasoning part that is being written."""
        self._stop_reason = ""
        self._is_reasoning_last = False
        self._has_text: bool = previous._has_text if previous is not None else False
        self._call_numbers: Iterator[int] = previous._call_numbers if previous is not None else itertools.count()
        self._size = 0
        self._opened: dict[int, OpenBlock] = {}
        self.blocks: list[dict[str, Any]] = list(previous.blocks) if previous is not None else []
        self.is_finished = False
        self.is_done = False

    @property
    def usage(self) -> Usage:
        """What this answer, and the paused ones before it, used."""
        return self._used_before + self._usage

    @property
    def is_paused(self) -> bool:
        return self._stop_reason == PAUSED

    def read(self, event: SseEvent, *, is_last: bool = False) -> list[ModelEvent]:
        data = event.data.strip()
        if not data or self.is_done:
            return []
        value = decode_event(data, self._failures, may_be_cut=is_last or self.is_finished)
        if not isinstance(value, dict):
            return []
        events: list[ModelEvent] = []
        match value.get("type"):
            case "message_start":
                message = value.get("message")
                self._read_usage(message.get("usage") if isinstance(message, dict) else None, events)
            case "content_block_start":
                self._open_block(_index(value), value.get("content_block"), events)
            case "content_block_delta":
                self._read_delta(_index(value), value.get("delta"), events)
            case "content_block_stop":
                self._close_block(_index(value), events)
            case "message_delta":
                delta = value.get("delta")
                self._stop(string_in(delta.get("stop_reason")) if isinstance(delta, dict) else "")
                self._read_usage(value.get("usage"), events)
            case "message_stop":
                self.is_done = True
            case "message":
                self._read_whole(value, events)
            case kind if kind == "error" or value.get("error"):
                raise self._failures.in_stream(value.get("error") or value)
        return events

    def finish(self, sample: bytes = b"") -> list[ModelEvent]:
        if not self.is_finished:
            if self._has_text or self._calls.has_calls or self._opened:
                raise self._failures.make("network", "the answer was cut off")
            words = "" if self._usage != Usage() else sample.decode("utf-8", "replace")
            detail = "its answer is not understood" if words.strip() else "its answer is empty"
            raise self._failures.make("server", detail, words=words, retryable=False)
        events: list[ModelEvent] = []
        outcome = OUTCOMES.get(self._stop_reason, "")
        if outcome and any(opened.call_number is not None for opened in self._opened.values()):
            raise self._incomplete_call(outcome)
        self._flush_halves(events)
        for index in tuple(self._opened):
            self._close_block(index, events)
        if self.is_paused:
            if not self.blocks:
                raise self._failures.make("server", "it paused before it wrote anything", retryable=False)
            return events
        events += self._calls.finish()
        if not outcome and not self._has_text and not self._calls.opened_count:
            outcome = "empty"
        return [*events, AnswerEnded(outcome)] if outcome else events

    def _incomplete_call(self, outcome: str) -> Exception:
        if outcome == "length":
            detail = "its answer was cut off at the limit of tokens, in the middle of a tool call: allow more tokens"
            return self._failures.make("server", detail, retryable=False)
        return self._failures.make("content_filter", "in the middle of a tool call")

    def _stop(self, reason: str) -> None:
        if reason:
            self.is_finished = True
            self._stop_reason = reason

    # --- blocks

    def _open_block(self, index: int, block: Any, events: list[ModelEvent]) -> None:
        if not isinstance(block, dict):
            return
        if len(self.blocks) + len(self._opened) >= BLOCKS_MAX:
            detail = f"its answer has more than {BLOCKS_MAX:,} blocks"
            raise self._failures.make("server", detail, retryable=False)
        self._close_block(index, events)
        opened = self._opened[index] = OpenBlock(dict(block))
        match opened.type:
            case "text":
                self._add_text(index, opened.pop_initial("text"), events)
            case "thinking":
                self._thinking.append({"length": 0})
                text, signature = opened.pop_initial("thinking"), opened.pop_initial("signature")
                self._add_thinking(index, text, events)
                self._sign(index, signature)
            case "redacted_thinking":
                self._add_redacted(string_in(block.get("data")), events)
            case "tool_use":
                self._flush_halves(events)
                self._thinking, self._is_reasoning_last = [], False
                opened.call_number = next(self._call_numbers)
                self._add_call(opened, string_in(block.get("id")), string_in(block.get("name")), "", events)

    def _read_delta(self, index: int, delta: Any, events: list[ModelEvent]) -> None:
        if not isinstance(delta, dict):
            return
        match delta.get("type"):
            case "text_delta":
                self._add_text(index, delta.get("text"), events)
            case "thinking_delta":
                self._add_thinking(index, delta.get("thinking"), events)
            case "signature_delta":
                self._sign(index, delta.get("signature"))
            case "input_json_delta":
                self._add_args(index, delta.get("partial_json"), events)
            case "citations_delta":
                self._add_source(delta.get("citation"), events)

    def _close_block(self, index: int, events: list[ModelEvent]) -> None:
        opened = self._opened.pop(index, None)
        if opened is None:
            return
        if opened.type == "tool_use" and "input" not in opened.pieces:
            # A tool without parameters: the input is whole in the block's start, usually `{}`.
            self._add_call(opened, "", "", encode_json(opened.block.get("input") or {}), events)
        if opened.type == "thinking":
            self._end_thinking(events)
        block = opened.whole()
        if block.get("type") == "text" and not block["text"]:
            return
        self._size += len(encode_json(block))
        if self._size <= BLOCK_BYTES_MAX:
            self.blocks.append(block)

    def _read_whole(self, message: dict[str, Any], events: list[ModelEvent]) -> None:
        """An answer that is not streamed: some gateways send one."""
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            self._open_block(index, block, events)
            self._close_block(index, events)
        self._read_usage(message.get("usage"), events)
        self._stop(string_in(message.get("stop_reason")))
        self.is_done = True

    # --- content

    def _add_text(self, index: int, text: Any, events: list[ModelEvent]) -> None:
        if not isinstance(text, str) or not text:
            return
        self._flush_halves(events, but=("text", index))
        self._keep(index, "text", text)
        if text := self._halves.join(("text", index), text):
            self._has_text = True
            self._thinking = []
            self._add(Text(text), events)

    def _add_thinking(self, index: int, text: Any, events: list[ModelEvent]) -> None:
        if not isinstance(text, str) or not text:
            return
        self._keep(index, "thinking", text)
        text = self._halves.join(("thinking", index), text)
        if text and self._thinking:
            self._thinking[-1]["length"] += len(text)
            self._add(Reasoning(text), events)

    def _sign(self, index: int, signature: Any) -> None:
        if not isinstance(signature, str) or not signature or not self._thinking:
            return
        self._keep(index, "signature", signature)
        self._thinking[-1]["signature"] = self._thinking[-1].get("signature", "") + signature

    def _end_thinking(self, events: list[ModelEvent]) -> None:
        """The thinking block is complete: store it with the reasoning. Hidden thinking has only a signature."""
        block = self._thinking[-1] if self._thinking else {}
        if not block.get("signature"):
            return
        if not block["length"]:
            block |= {"length": len(REDACTED_TEXT), "is_hidden": True}
            self._add(Reasoning(REDACTED_TEXT), events)
        if self._is_reasoning_last:
            self._add(PartMetadata({self._provider: {THINKING: self._thinking_blocks()}}), events)

    def _add_redacted(self, data: str, events: list[ModelEvent]) -> None:
        self._flush_halves(events)
        self._thinking.append({"length": len(REDACTED_TEXT), "redacted": data})
        self._add(Reasoning(REDACTED_TEXT), events)
        self._add(PartMetadata({self._provider: {THINKING: self._thinking_blocks()}}), events)

    def _thinking_blocks(self) -> list[dict[str, Any]]:
        return [dict(block) for block in self._thinking]

    def _add_source(self, citation: Any, events: list[ModelEvent]) -> None:
        if isinstance(citation, dict) and (url := string_in(citation.get("url"))):
            self._add(Source("", url, string_in(citation.get("title"))), events)

    def _add_args(self, index: int, piece: Any, events: list[ModelEvent]) -> None:
        opened = self._opened.get(index)
        if not isinstance(piece, str) or not piece or opened is None:
            return
        opened.add("input", piece)
        if opened.call_number is not None:
            self._add_call(opened, "", "", self._halves.join(("args", index), piece), events)

    def _add_call(self, opened: OpenBlock, call_id: str, name: str, args: str, events: list[ModelEvent]) -> None:
        try:
            events += self._calls.add_call(opened.call_number, call_id, name, args)
        except TooManyCalls:
            detail = f"its answer has more than {self._calls_max} tool calls; --limit calls=N allows more"
            raise self._failures.make("server", detail, retryable=False) from None

    def _keep(self, index: int, field: str, text: str) -> None:
        if index in self._opened:
            self._opened[index].add(field, text)

    def _add(self, piece: Text | Reasoning | PartMetadata | Source, events: list[ModelEvent]) -> None:
        if not isinstance(piece, PartMetadata):
            self._is_reasoning_last = isinstance(piece, Reasoning)
        if self._calls.is_idle:
            events.append(piece)
        else:
            events += self._calls.add_prose(piece)

    def _flush_halves(self, events: list[ModelEvent], *, but: Any = None) -> None:
        """A surrogate half that is not followed by its other half is replaced by U+FFFD."""
        for key in self._halves.pending_keys(but):
            self._halves.discard(key)
            if key[0] == "text":
                self._add(Text("\ufffd"), events)
            elif key[0] == "thinking" and self._thinking:
                self._thinking[-1]["length"] += 1
                self._add(Reasoning("\ufffd"), events)

    def _read_usage(self, usage: Any, events: list[ModelEvent]) -> None:
        """Update the usage with each valid count. The input includes what was read from and written to the cache."""
        if not isinstance(usage, dict):
            return
        names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
        counts = {name: whole_number_in(usage.get(name), TOKENS_MAX) for name in names}
        before = self._usage
        created, read = counts["cache_creation_input_tokens"], counts["cache_read_input_tokens"]
        given: dict[str, int | None] = {"output_tokens": counts["output_tokens"]}
        given |= {"cache_creation_tokens": created or None, "cache_read_tokens": read or None}
        if counts["input_tokens"] is not None:
            given["input_tokens"] = counts["input_tokens"] + (created or 0) + (read or 0)
        self._usage = msgspec.structs.replace(
            self._usage, **{name: count for name, count in given.items() if count is not None}
        )
        if self._usage != before:
            events.append(self.usage)


def _index(value: dict[str, Any]) -> int:
    return whole_number_in(value.get("index"), 1_000_000) or 0


def _decoded(text: str) -> Any:
    try:
        return decode_json(text.encode("utf-8", "replace"))
    except ValueError:
        return {}
