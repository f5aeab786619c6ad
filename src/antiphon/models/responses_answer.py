"""The events of an answer of OpenAI's Responses API as model events. No I/O.

Every field may have any value; one of an unexpected shape is ignored, as is an event or an item of an unknown type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.core.parts import (
    CALLS_MAX,
    TOKENS_MAX,
    File,
    PartMetadata,
    Reasoning,
    Source,
    Text,
    Usage,
)
from antiphon.models.answer_values import SurrogateHalves, dicts_in, string_in, whole_number_in
from antiphon.models.event_json import decode_event
from antiphon.models.failures import Failures
from antiphon.models.responses_request import REASONING
from antiphon.models.tool_call_assembly import TooManyCalls, assembly_for
from antiphon.ports import AnswerEnded, ModelEvent, ModelRequest
from antiphon.wire.sse import SseEvent

INDEX_MAX = 1_000_000
"""Maximum index of an output item."""
INCOMPLETE = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}
"""What is stored for the reason of an incomplete answer."""
Prose = Text | Reasoning | Source | File | PartMetadata


class ResponsesAnswer:
    """Reads one answer, event by event. Raises `AttemptFailed` for an error of the provider."""

    def __init__(
        self, provider: str, request: ModelRequest, failures: Failures, *, calls_max: int = CALLS_MAX
    ) -> None:
        self._provider = provider
        self._failures = failures
        self._calls_max = calls_max
        self._calls = assembly_for(request, calls_max=calls_max)
        self._halves = SurrogateHalves()
        self._reasoning: list[dict[str, Any]] = []
        """The reasoning items that the next part is sent back with."""
        self._text_reasoning: list[dict[str, Any]] = []
        """Those of the text that is being written."""
        self._keeps_all = bool(request.parameters.get("store"))
        self._streamed: set[tuple[str, int]] = set()
        """What arrived in deltas, by kind and index of the item: its whole text repeats it."""
        self._has_content = False
        self._outcome = ""
        self._usage = Usage()
        self.is_finished = False
        self.is_done = False

    def read(self, event: SseEvent, *, is_last: bool = False) -> list[ModelEvent]:
        data = event.data.strip()
        if not data or self.is_done:
            return []
        if data.strip(b"[]").upper() == b"DONE":
            self.is_done = True
            return []
        value = decode_event(data, self._failures, may_be_cut=is_last or self.is_finished)
        events: list[ModelEvent] = []
        if isinstance(value, dict):
            self._read_event(value, events)
        return events

    def finish(self, sample: bytes = b"") -> list[ModelEvent]:
        if not self.is_finished:
            if self._has_content or self._calls.has_calls:
                raise self._failures.make("network", "the answer was cut off")
            words = sample.decode("utf-8", "replace")
            detail = "its answer is not understood" if words.strip() else "its answer is empty"
            raise self._failures.make("server", detail, words=words, retryable=False)
        if self._outcome == "content_filter" and not self._has_content:
            raise self._failures.make("content_filter")
        if self._outcome and self._calls.has_torn_call:
            raise self._torn_call()
        events: list[ModelEvent] = []
        self._flush_halves(events)
        events += self._calls.finish()
        outcome = self._outcome
        if not outcome and not self._has_content and not self._calls.opened_count:
            outcome = "empty"
        return [*events, AnswerEnded(outcome)] if outcome else events

    def _torn_call(self) -> Exception:
        """The failure of an answer that ended in a tool call: a tool must not run with incomplete arguments."""
        if self._outcome == "length":
            detail = "its answer was cut off at the limit of tokens, in the middle of a tool call: allow more tokens"
            return self._failures.make("server", detail, retryable=False)
        return self._failures.make("content_filter", "in the middle of a tool call")

    # --- events

    def _read_event(self, value: dict[str, Any], events: list[ModelEvent]) -> None:
        index = whole_number_in(value.get("output_index"), INDEX_MAX) or 0
        delta, kind = value.get("delta"), string_in(value.get("type"))
        match kind:
            case "response.output_text.delta":
                self._add_text(index, delta, events)
            case "response.refusal.delta":
                self._outcome = "refusal"
                self._add_text(index, delta, events)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._add_reasoning(index, delta, events)
            case "response.reasoning_summary_part.added":
                if ("reasoning", index) in self._streamed:
                    self._add_reasoning(index, "\n\n", events)
            case "response.output_item.added":
                self._open_item(index, value.get("item"), events)
            case "response.function_call_arguments.delta":
                self._streamed.add(("args", index))
                self._add_call(index, "", "", delta, events)
            case "response.output_text.annotation.added":
                self._add_source(value.get("annotation"), events)
            case "response.output_item.done":
                self._close_item(index, value.get("item"), events)
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                self._end(kind.removeprefix("response."), value.get("response"), events)
            case _ if kind == "error" or value.get("error"):
                raise self._failures.in_stream(value.get("error") or value)
            case "" if value.get("object") == "response":
                self._read_whole(value, events)

    def _open_item(self, index: int, item: Any, events: list[ModelEvent]) -> None:
        if isinstance(item, dict) and item.get("type") == "function_call":
            call_id = string_in(item.get("call_id")) or string_in(item.get("id"))
            self._add_call(index, call_id, string_in(item.get("name")), "", events, self._take_reasoning())

    def _close_item(self, index: int, item: Any, events: list[ModelEvent]) -> None:
        if not isinstance(item, dict):
            return
        match item.get("type"):
            case "message":
                for piece in dicts_in(item.get("content")):
                    if ("text", index) not in self._streamed:
                        self._outcome = "refusal" if piece.get("refusal") else self._outcome
                        self._add_text(index, piece.get("text") or piece.get("refusal"), events)
                        self._streamed.discard(("text", index))
            case "reasoning":
                if ("reasoning", index) not in self._streamed:
                    texts = (string_in(piece.get("text")) for piece in dicts_in(item.get("summary")))
                    self._add_reasoning(index, "\n\n".join(filter(None, texts)), events)
                if item.get("encrypted_content") or self._keeps_all:  # else the provider does not know it any more
                    self._reasoning.append({name: value for name, value in item.items() if name != "status"})
            case "function_call":
                call_id = string_in(item.get("call_id")) or string_in(item.get("id"))
                args = item.get("arguments") if ("args", index) not in self._streamed else ""
                self._add_call(index, call_id, string_in(item.get("name")), args, events, self._take_reasoning())
            case "image_generation_call":
                self._add_image(item, events)

    def _read_whole(self, response: dict[str, Any], events: list[ModelEvent]) -> None:
        """An answer that is not streamed: some gateways send one."""
        for index, item in enumerate(dicts_in(response.get("output"))):
            self._close_item(index, item, events)
        self._end(string_in(response.get("status")), response, events)
        self.is_done = True

    def _end(self, status: str, response: Any, events: list[ModelEvent]) -> None:
        given = response if isinstance(response, dict) else {}
        self._read_usage(given.get("usage"), events)
        if status == "failed" or given.get("error"):
            raise self._failures.in_stream(given.get("error") or {"code": "server_error"})
        if status == "cancelled":
            raise self._failures.make("server", "it cancelled its answer")
        self.is_finished = True
        if status == "incomplete":
            details = given.get("incomplete_details")
            reason = string_in(details.get("reason")) if isinstance(details, dict) else ""
            self._outcome = INCOMPLETE.get(reason, "length")

    # --- content

    def _add_text(self, index: int, text: Any, events: list[ModelEvent]) -> None:
        if not isinstance(text, str) or not text:
            return
        self._streamed.add(("text", index))
        self._flush_halves(events, but=("text", index))
        if text := self._halves.join(("text", index), text):
            self._has_content = True
            self._add(Text(text), events)
            if metadata := self._take_reasoning(self._text_reasoning):
                self._text_reasoning = metadata[self._provider][REASONING]
                self._add(PartMetadata(metadata), events)

    def _add_reasoning(self, index: int, text: Any, events: list[ModelEvent]) -> None:
        if not isinstance(text, str) or not text:
            return
        self._streamed.add(("reasoning", index))
        self._text_reasoning = []
        if text := self._halves.join(("reasoning", index), text):
            self._add(Reasoning(text), events)

    def _take_reasoning(self, earlier: Sequence[dict[str, Any]] = ()) -> dict[str, Any] | None:
        """The metadata of the part that follows the reasoning items, after the part's `earlier` ones; None if there
        are no new ones."""
        items, self._reasoning = self._reasoning, []
        return {self._provider: {REASONING: [*earlier, *items]}} if items else None

    def _add_call(
        self,
        index: int,
        call_id: str,
        name: str,
        args: Any,
        events: list[ModelEvent],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        text = self._halves.join(("args", index), args) if isinstance(args, str) else ""
        self._text_reasoning = []
        try:
            events += self._calls.add_call(index, call_id, name, text, metadata)
        except TooManyCalls:
            detail = f"its answer has more than {self._calls_max} tool calls; --limit calls=N allows more"
            raise self._failures.make("server", detail, retryable=False) from None

    def _add_source(self, annotation: Any, events: list[ModelEvent]) -> None:
        if isinstance(annotation, dict) and (url := string_in(annotation.get("url"))):
            self._add(Source("", url, string_in(annotation.get("title"))), events)

    def _add_image(self, item: dict[str, Any], events: list[ModelEvent]) -> None:
        if data := string_in(item.get("result")):
            self._has_content = True
            self._add(File(f"image/{string_in(item.get('output_format')) or 'png'}", data), events)

    def _add(self, piece: Prose, events: list[ModelEvent]) -> None:
        if self._calls.is_idle:
            events.append(piece)
        else:
            events += self._calls.add_prose(piece)

    def _flush_halves(self, events: list[ModelEvent], *, but: Any = None) -> None:
        """A surrogate half that is not followed by its other half is replaced by U+FFFD."""
        for key in self._halves.pending_keys(but):
            self._halves.discard(key)
            if key[0] != "args":
                self._add(Text("\ufffd") if key[0] == "text" else Reasoning("\ufffd"), events)

    def _read_usage(self, usage: Any, events: list[ModelEvent]) -> None:
        if not isinstance(usage, dict):
            return
        cached, thought = usage.get("input_tokens_details"), usage.get("output_tokens_details")
        counts = {
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            "total_tokens": usage.get("total_tokens"),
            "cache_read_tokens": cached.get("cached_tokens") if isinstance(cached, dict) else None,
            "reasoning_tokens": thought.get("reasoning_tokens") if isinstance(thought, dict) else None,
        }
        valid = {
            name: count for name, value in counts.items() if (count := whole_number_in(value, TOKENS_MAX)) is not None
        }
        if valid:
            self._usage = msgspec.structs.replace(self._usage, **valid)
            events.append(self._usage)
