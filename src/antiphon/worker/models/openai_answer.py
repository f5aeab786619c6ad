"""The events of a chat completion as model events. No I/O.

Every field is optional and may be anything: what has an unexpected shape counts as not said. Only three things decide
over an answer: an error object, the text and tool calls themselves, and whether it ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.core.depth import VALUES_MAX, has_too_many_values
from antiphon.core.draft import replace_surrogates
from antiphon.core.parts import CALLS_MAX, TOKENS_MAX, PartMetadata, Reasoning, Text, Usage
from antiphon.ports import AnswerEnded, ModelEvent, ModelRequest
from antiphon.wire.sse import SseEvent
from antiphon.worker.models.failures import Failures
from antiphon.worker.models.history import iter_calls, turn_call_count
from antiphon.worker.models.openai_request import EXTRA_CONTENT, REASONING_FIELD, REASONING_FIELDS
from antiphon.worker.models.tool_call_assembly import ToolCallAssembly, TooManyCalls

INDEX_MAX = 1_000_000
"""Maximum index of a tool call or an answer that is accepted."""

_OUTCOMES = {"length": "length", "max_tokens": "length", "content_filter": "content_filter", "refusal": "refusal"}
_ERROR_FIELDS = ("message", "detail", "msg", "errors")


class AnswerReader:
    """Reads one answer, event by event. Raises `AttemptFailed` for what the provider says went wrong."""

    def __init__(
        self, provider: str, request: ModelRequest, failures: Failures, *, calls_max: int = CALLS_MAX
    ) -> None:
        self._provider = provider
        self._failures = failures
        self._calls_max = calls_max
        self._calls = ToolCallAssembly(
            taken_ids={call.tool_call_id for call in iter_calls(request.messages)},
            id_prefix=f"call-{request.turn_id}-",
            first=turn_call_count(request) + 1,
            tool_names={tool.name for tool in request.tools},
            calls_max=calls_max,
        )
        self._halves = SurrogateHalves()
        self._reasoning_field = ""
        self._usage = Usage()
        self._outcome = ""
        self._unreadable = b""
        self.is_finished = False
        """The provider has said how the answer ends: it is whole."""
        self.is_done = False
        """Nothing more will come."""
        self.has_text = False

    @property
    def has_content(self) -> bool:
        return self.has_text or self._calls.has_calls

    def read(self, event: SseEvent, *, is_last: bool = False) -> list[ModelEvent]:
        """The model events of one event, as far as they may go out now. `is_last`: the body ends with it, so that one
        that is no JSON was cut off."""
        data = event.data.strip()
        if data == b"[DONE]":
            self.is_done = True
            return []
        if not data:
            return []
        if event.event == "error":
            raise self._failures.in_stream(self._decode_error(data))
        value = self._decode(data, is_cut=is_last)
        events: list[ModelEvent] = []
        for item in value if isinstance(value, list) else (value,):
            self._check_error(item)
            if isinstance(item, dict):
                self._read_chunk(item, events)
            elif not self._unreadable:
                self._unreadable = bytes(data[:1024])
        return events

    def finish(self, sample: bytes = b"") -> list[ModelEvent]:
        """The body has ended: what was held back, the usage and how the answer ended. `sample` is the beginning of
        the body. Raises `AttemptFailed` for an answer that is not whole."""
        if not self.is_finished and not (self.is_done and self.has_content):
            raise self._unfinished(sample)
        if self._outcome == "content_filter" and not self.has_content:
            raise self._failures.make("content_filter")
        events = self._flush_halves()
        events += self._calls.finish()
        if self._usage != Usage():
            events.append(self._usage)
        is_empty = not self.has_text and not self._calls.opened_count
        outcome = self._outcome or ("empty" if is_empty else "")
        if outcome:
            events.append(AnswerEnded(outcome))
        return events

    def _unfinished(self, sample: bytes) -> Exception:
        if self.has_content:
            return self._failures.make("network", "the answer was cut off")
        words = "" if self.is_done else (self._unreadable or sample).decode("utf-8", "replace")
        detail = "its answer is not understood" if words.strip() else "its answer is empty"
        # The same request would be paid for again: a person decides.
        return self._failures.make("server", detail, words=words, retryable=False)

    # --- one event

    def _decode(self, data: bytes, *, is_cut: bool) -> Any:
        if has_too_many_values(data):
            raise self._failures.make("server", f"an event of its answer has more than {VALUES_MAX:,} values")
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        text = data.decode("utf-8", "replace")
        try:
            return json.loads(text, parse_int=_parse_int)  # takes lone surrogates, which are a text's own affair
        except (ValueError, RecursionError):
            pass
        if is_cut:
            return None
        raise self._failures.make("server", "its answer is not understood", words=text[: 8 * 1024], retryable=False)

    def _decode_error(self, data: bytes) -> Any:
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return data[: 8 * 1024].decode("utf-8", "replace")

    def _check_error(self, value: Any) -> None:
        if not isinstance(value, dict):
            return
        if value.get("error"):
            raise self._failures.in_stream(value)
        is_error = value.get("object") == "error" or value.get("type") == "error"
        if is_error or ("choices" not in value and any(value.get(name) for name in _ERROR_FIELDS)):
            raise self._failures.in_stream(value)

    def _read_chunk(self, chunk: dict[str, Any], events: list[ModelEvent]) -> None:
        for choice in _dicts(chunk.get("choices")):
            if (_whole_number(choice.get("index"), INDEX_MAX) or 0) > 0:
                continue  # `n` answers were asked for: the first one is the answer
            delta, message = choice.get("delta"), choice.get("message")
            if isinstance(delta, dict):
                self._read_delta(delta, events, is_whole=False)
            elif isinstance(message, dict):
                self._read_delta(message, events, is_whole=True)
            self._read_usage(choice.get("usage"))
            if reason := choice.get("finish_reason"):
                self._finish(reason)
        self._read_usage(chunk.get("usage"))

    def _read_delta(self, delta: dict[str, Any], events: list[ModelEvent], *, is_whole: bool) -> None:
        for field in REASONING_FIELDS:
            if (given := delta.get(field)) and (thought := _text_in(given)):
                self._add_reasoning(thought, field, events)
                break
        if isinstance(content := delta.get("content"), str):
            self._add_text(content, events)
        elif content:
            for piece in _dicts(content):
                self._read_content_piece(piece, events)
        if (refusal := delta.get("refusal")) and isinstance(refusal, str):
            self._outcome = "refusal"
            self._add_text(refusal, events)
        if calls := delta.get("tool_calls"):
            for number, call in enumerate(_dicts(calls)):
                self._read_call(call, number if is_whole else _whole_number(call.get("index"), INDEX_MAX), events)
        if isinstance(legacy := delta.get("function_call"), dict):
            self._read_call({"function": legacy}, None, events)

    def _read_content_piece(self, piece: dict[str, Any], events: list[ModelEvent]) -> None:
        if piece.get("type") in ("thinking", "reasoning"):
            thought = (
                _text_in(piece.get("thinking")) or _text_in(piece.get("reasoning")) or _text_in(piece.get("text"))
            )
            self._add_reasoning(thought, "", events)
        elif text := _text_in(piece.get("text")) or _text_in(piece.get("refusal")):
            self._add_text(text, events)

    def _read_call(self, call: dict[str, Any], index: int | None, events: list[ModelEvent]) -> None:
        self._reasoning_field = ""
        function = call.get("function")
        given = function if isinstance(function, dict) else {}
        args = self._halves.join(("args", index), _args(given.get("arguments")))
        provider_id, name = _string(call.get("id")), _string(given.get("name"))
        events += self._flush_halves(but=("args", index))
        try:
            events += self._calls.add_call(index, provider_id, name, args, self._metadata_of(call))
        except TooManyCalls:
            detail = f"its answer has more than {self._calls_max} tool calls; --limit calls=N allows more"
            raise self._failures.make("server", detail, retryable=False) from None

    def _metadata_of(self, call: dict[str, Any]) -> dict[str, Any] | None:
        """What Gemini sends with a call (its thought's signature) and wants back with it."""
        extra = call.get(EXTRA_CONTENT)
        return {self._provider: {EXTRA_CONTENT: extra}} if isinstance(extra, dict) and extra else None

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
        """A half character whose other half did not come next is none; it is shown as U+FFFD."""
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

    def _finish(self, reason: Any) -> None:
        self.is_finished = True
        known = str(reason).lower() if isinstance(reason, str) else ""
        if known == "error":
            raise self._failures.make("server", "it ended its answer with an error")
        self._outcome = _OUTCOMES.get(known, self._outcome)

    def _read_usage(self, usage: Any) -> None:
        """The newest count of each kind; what is no count says nothing."""
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
        known = {
            name: count for name, value in counts.items() if (count := _whole_number(value, TOKENS_MAX)) is not None
        }
        self._usage = msgspec.structs.replace(self._usage, **known)


class SurrogateHalves:
    """Joins characters beyond U+FFFF whose two escaped halves arrive in two pieces; `key` names the kind of piece."""

    def __init__(self) -> None:
        self._held: dict[Any, str] = {}

    def join(self, key: Any, text: str) -> str:
        """The text with the half before it, and without a half at its end, which is held."""
        if not self._held and text.isascii():
            return text
        if not text:
            return text
        text = self._held.pop(key, "") + text
        if "\ud800" <= text[-1] <= "\udbff":
            self._held[key] = text[-1]
            text = text[:-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            return replace_surrogates(text)
        return text

    def pending_keys(self, but: Any) -> tuple[Any, ...]:
        return tuple(key for key in self._held if key != but) if self._held else ()

    def discard(self, key: Any) -> None:
        del self._held[key]


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list, or the one that stands where a list should."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole_number(value: Any, maximum: int) -> int | None:
    """A count or an index: whole, not negative, at most `maximum`; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= maximum
    return value if is_number else None


def _text_in(value: Any) -> str:
    """A text, or those in a list of pieces."""
    if isinstance(value, str):
        return value
    return "".join(piece["text"] for piece in _dicts(value) if isinstance(piece.get("text"), str))


def _args(arguments: Any) -> str:
    """A piece of JSON text; some servers send the object itself, whole."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()


def _parse_int(digits: str) -> int | None:
    """A number that no field needs may have any length; Python refuses to read the longest ones."""
    return int(digits) if len(digits) <= 20 else None
