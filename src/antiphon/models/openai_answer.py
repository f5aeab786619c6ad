"""The events of a chat completion as model events. No I/O.

Every field is optional and may have any value: a field of an unexpected shape is ignored. Only three things decide
about an answer: an error object, the text and tool calls themselves, and whether it ended.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.core.parts import CALLS_MAX, TOKENS_MAX, PartMetadata, Reasoning, Text, Usage
from antiphon.models.answer_values import (
    SurrogateHalves,
    decode_json,
    dicts_in,
    encode_json,
    string_in,
    text_in,
    whole_number_in,
)
from antiphon.models.event_json import decode_event
from antiphon.models.failures import Failures
from antiphon.models.openai_endings import FAILED, error_in, outcome_of, reason_in
from antiphon.models.openai_request import EXTRA_CONTENT, REASONING_FIELD, REASONING_FIELDS
from antiphon.models.tool_call_assembly import TooManyCalls, assembly_for
from antiphon.ports import AnswerEnded, ModelEvent, ModelRequest
from antiphon.wire.sse import SseEvent

INDEX_MAX = 1_000_000
"""Maximum index of a tool call or of a choice."""
PIECES_MAX = 2_000
"""Maximum number of pieces (choices, content parts, pieces of calls) in one event, which is read without a pause."""


class AnswerReader:
    """Reads one answer, event by event. Raises `AttemptFailed` for an error of the provider."""

    def __init__(
        self, provider: str, request: ModelRequest, failures: Failures, *, calls_max: int = CALLS_MAX
    ) -> None:
        self._provider = provider
        self._failures = failures
        self._calls_max = calls_max
        self._calls = assembly_for(request, calls_max=calls_max)
        self._halves = SurrogateHalves()
        self._reasoning_field = ""
        self._empty_reasoning_field = ""
        self._usage = Usage()
        self._outcome = ""
        self._unreadable = b""
        self._pieces = 0
        self.is_finished = False
        """The provider has sent a finish reason: the answer is complete."""
        self.is_done = False
        """The provider has sent `[DONE]`."""
        self.has_text = False

    @property
    def has_content(self) -> bool:
        return self.has_text or self._calls.has_calls

    def read(self, event: SseEvent, *, is_last: bool = False) -> list[ModelEvent]:
        """The model events of one event that can be sent now. `is_last`: the body ends with it, so invalid JSON was
        truncated."""
        data = event.data.strip()
        if not data or self.is_done:
            return []
        if data.strip(b"[]").upper() == b"DONE":
            self.is_done = True
            return []
        if event.event == "error":
            raise self._failures.in_stream(self._decode_error(data))
        value = decode_event(data, self._failures, may_be_cut=is_last or self.is_finished)
        events: list[ModelEvent] = []
        self._pieces = 0
        for item in value if isinstance(value, list) else (value,):
            self._count_piece()
            if not isinstance(item, dict):
                self._unreadable = self._unreadable or data[:1024]
                continue
            error = error_in(item)
            if error is not None:
                raise self._failures.in_stream(error)
            self._read_chunk(item, events)
        return events

    def finish(self, sample: bytes = b"") -> list[ModelEvent]:
        """The remaining events at the end of the body, and how the answer ended. `sample` is the beginning of the
        body. Raises `AttemptFailed` for an incomplete answer."""
        if not self.is_finished and not (self.is_done and self.has_content):
            raise self._unfinished(sample)
        if self._outcome == "content_filter" and not self.has_content:
            raise self._failures.make("content_filter")
        if self._calls.has_torn_call and (self._outcome or not self.is_finished):
            raise self._torn_call()
        events = self._flush_halves()
        events += self._calls.finish()
        is_empty = not self.has_text and not self._calls.opened_count
        outcome = self._outcome or ("empty" if is_empty else "")
        if outcome:
            events.append(AnswerEnded(outcome))
        return events

    def _unfinished(self, sample: bytes) -> Exception:
        if self.has_content:
            return self._failures.make("network", "the answer was cut off")
        words = self._unreadable or (b"" if self.is_done else sample)
        detail = "its answer is not understood" if words.strip() else "its answer is empty"
        # A retry would be paid for again: a person decides.
        return self._failures.make("server", detail, words=words.decode("utf-8", "replace"), retryable=False)

    def _torn_call(self) -> Exception:
        """The failure of an answer that ended in a tool call: a tool must not run with incomplete arguments."""
        if self._outcome == "content_filter":
            return self._failures.make("content_filter", "in the middle of a tool call")
        if self._outcome == "length":
            detail = "its answer was cut off at the limit of tokens, in the middle of a tool call: allow more tokens"
            return self._failures.make("server", detail, retryable=False)
        return self._failures.make("network", "the answer was cut off in the middle of a tool call")

    # --- one event

    def _decode_error(self, data: bytes) -> Any:
        try:
            return decode_json(data[: 64 * 1024])
        except ValueError:
            return data[: 8 * 1024].decode("utf-8", "replace")

    def _count_piece(self) -> None:
        self._pieces += 1
        if self._pieces > PIECES_MAX:
            detail = f"an event of its answer has more than {PIECES_MAX:,} pieces"
            raise self._failures.make("server", detail, retryable=False)

    def _read_chunk(self, chunk: dict[str, Any], events: list[ModelEvent]) -> None:
        before = self._usage
        for choice in dicts_in(chunk.get("choices")):
            self._count_piece()
            if (whole_number_in(choice.get("index"), INDEX_MAX) or 0) > 0:
                continue  # of several choices the first one is the answer
            delta, message = choice.get("delta"), choice.get("message")
            if isinstance(delta, dict):
                self._read_delta(delta, events, is_whole=False)
            elif isinstance(message, dict):
                if not self.has_content:  # else it repeats what was streamed
                    self._read_delta(message, events, is_whole=True)
                self.is_finished = self.is_finished or self.has_content
            self._read_usage(choice.get("usage"))
            if reason := reason_in(choice.get("finish_reason")):
                self._finish(reason)
        self._read_usage(chunk.get("usage"))
        if self._usage != before:
            events.append(self._usage)

    def _read_delta(self, delta: dict[str, Any], events: list[ModelEvent], *, is_whole: bool) -> None:
        for field in REASONING_FIELDS:
            if (given := delta.get(field)) and (thought := text_in(given)):
                self._add_reasoning(thought, field, events)
                break
            if given == "":
                self._empty_reasoning_field = self._empty_reasoning_field or field
        if isinstance(content := delta.get("content"), str):
            self._add_text(content, events)
        elif content:
            for piece in dicts_in(content):
                self._count_piece()
                self._read_content_piece(piece, events)
        if (refusal := delta.get("refusal")) and isinstance(refusal, str):
            self._outcome = "refusal"
            self._add_text(refusal, events)
        if calls := delta.get("tool_calls"):
            for number, call in enumerate(dicts_in(calls)):
                self._count_piece()
                self._read_call(call, number if is_whole else whole_number_in(call.get("index"), INDEX_MAX), events)
        elif isinstance(legacy := delta.get("function_call"), dict):
            self._read_call({"function": legacy}, None, events)

    def _read_content_piece(self, piece: dict[str, Any], events: list[ModelEvent]) -> None:
        if piece.get("type") in ("thinking", "reasoning"):
            thoughts = (text_in(piece.get(name)) for name in ("thinking", "reasoning", "text"))
            self._add_reasoning(next(filter(None, thoughts), ""), "", events)
        elif text := text_in(piece.get("text")) or text_in(piece.get("refusal")):
            self._add_text(text, events)

    def _read_call(self, call: dict[str, Any], index: int | None, events: list[ModelEvent]) -> None:
        function = call.get("function")
        given = function if isinstance(function, dict) else {}
        args = self._halves.join(("args", index), _args(given.get("arguments")))
        provider_id, name = string_in(call.get("id")), string_in(given.get("name"))
        events += self._flush_halves(but=("args", index))
        try:
            events += self._calls.add_call(index, provider_id, name, args, self._metadata_of(call))
        except TooManyCalls:
            detail = f"its answer has more than {self._calls_max} tool calls; --limit calls=N allows more"
            raise self._failures.make("server", detail, retryable=False) from None
        self._reasoning_field = ""

    def _metadata_of(self, call: dict[str, Any]) -> dict[str, Any] | None:
        """Metadata of a call that must be sent back with it: Gemini's thought signature, and that there was a
        reasoning field although it was empty."""
        own: dict[str, Any] = {}
        if isinstance(extra := call.get(EXTRA_CONTENT), dict) and extra:
            own[EXTRA_CONTENT] = extra
        if self._empty_reasoning_field and not self._reasoning_field:
            own[REASONING_FIELD] = self._empty_reasoning_field
        self._empty_reasoning_field = ""
        return {self._provider: own} if own else None

    def _add_text(self, text: str, events: list[ModelEvent]) -> None:
        if not text:
            return
        self.has_text = True
        events += self._flush_halves(but="text")
        self._reasoning_field = ""
        if text := self._halves.join("text", text):
            self._add(Text(text), events)

    def _add_reasoning(self, text: str, field: str, events: list[ModelEvent]) -> None:
        if not text:
            return
        events += self._flush_halves(but="reasoning")
        if text := self._halves.join("reasoning", text):
            self._add(Reasoning(text), events)
            if field and field != self._reasoning_field:
                self._reasoning_field = field
                self._add(PartMetadata({self._provider: {REASONING_FIELD: field}}), events)

    def _flush_halves(self, *, but: Any = None) -> list[ModelEvent]:
        """A surrogate half that is not followed by its other half is replaced by U+FFFD."""
        events: list[ModelEvent] = []
        for key in self._halves.pending_keys(but):
            self._halves.discard(key)
            if key == "text":
                self._add(Text("\ufffd"), events)
            elif key == "reasoning":
                self._add(Reasoning("\ufffd"), events)
            else:
                events += self._calls.add_call(key[1], "", "", "\ufffd")
        return events

    def _add(self, piece: Text | Reasoning | PartMetadata, events: list[ModelEvent]) -> None:
        if self._calls.is_idle:
            events.append(piece)
        else:
            events += self._calls.add_prose(piece)

    def _finish(self, reason: str) -> None:
        self.is_finished = True
        if reason in FAILED:
            raise self._failures.make("server", f"it ended its answer with {reason!r}")
        self._outcome = outcome_of(reason) or self._outcome

    def _read_usage(self, usage: Any) -> None:
        """Update the usage with each valid count; other values are ignored."""
        if not isinstance(usage, dict):
            return
        cached, thought = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
        counts = {
            "input_tokens": usage.get("prompt_tokens"),
            "output_tokens": usage.get("completion_tokens"),
            "total_tokens": usage.get("total_tokens"),
            "cache_read_tokens": cached.get("cached_tokens") if isinstance(cached, dict) else None,
            "reasoning_tokens": thought.get("reasoning_tokens") if isinstance(thought, dict) else None,
        }
        valid = {
            name: count for name, value in counts.items() if (count := whole_number_in(value, TOKENS_MAX)) is not None
        }
        self._usage = msgspec.structs.replace(self._usage, **valid)


def _args(arguments: Any) -> str:
    """The arguments as a piece of JSON text; some servers send the whole object instead."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return encode_json(arguments)
