"""The chunks of a chat completion as model events. No I/O."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from antiphon.core.parts import Reasoning, Text, Usage
from antiphon.ports import ModelEvent, ModelRequest
from antiphon.worker.models.call_order import CallOrder
from antiphon.worker.models.failures import failure_in_stream, make_failure
from antiphon.worker.models.history import iter_calls, turn_call_count


class FunctionJson(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class CallJson(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: FunctionJson | None = None


class DeltaJson(msgspec.Struct):
    """A piece of the answer; in an answer that is no stream, all of it. `content` may be a list of pieces."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[CallJson] | None = None


class ChoiceJson(msgspec.Struct):
    delta: DeltaJson | None = None
    message: DeltaJson | None = None
    finish_reason: str | None = None


class InputDetailsJson(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class OutputDetailsJson(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class UsageJson(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: InputDetailsJson | None = None
    completion_tokens_details: OutputDetailsJson | None = None


class ChunkJson(msgspec.Struct):
    choices: list[ChoiceJson] | None = None
    usage: UsageJson | None = None
    error: Any = None
    object: str | None = None


_decoder = msgspec.json.Decoder(ChunkJson)


class AnswerReader:
    """Reads one answer, chunk by chunk. Raises `AttemptFailed` for what the provider says went wrong."""

    def __init__(self, provider: str, request: ModelRequest) -> None:
        self._provider = provider
        self._calls = CallOrder(
            taken_ids={call.tool_call_id for call in iter_calls(request.messages)},
            id_prefix=f"call-{request.turn_id}-",
            first=turn_call_count(request) + 1,
        )
        self.is_finished = False
        """The provider has said how the answer ends: it is whole."""
        self.is_done = False
        """Nothing more will come."""

    def read(self, data: bytes | bytearray) -> list[ModelEvent]:
        """The events of one chunk, as far as they may go out now."""
        if data == b"[DONE]":
            self.is_done = True
            return []
        if not data:
            return []
        chunk = self._decode(data)
        if chunk.error or chunk.object == "error":
            raise failure_in_stream(self._provider, chunk.error or msgspec.json.decode(data))
        events: list[ModelEvent] = []
        for choice in chunk.choices or ():
            if choice.delta is not None:
                self._read_delta(choice.delta, events)
            elif choice.message is not None:
                self._read_message(choice.message, events)
            if choice.finish_reason:
                self._finish(choice.finish_reason)
        if chunk.usage is not None:
            events.append(_usage(chunk.usage))
        return events

    def finish(self) -> list[ModelEvent]:
        """What was held back for the order's sake."""
        return self._calls.finish()

    def _decode(self, data: bytes | bytearray) -> ChunkJson:
        try:
            return _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        # Lone surrogates and torn UTF-8 are a text's own affair: the draft replaces them.
        try:
            return msgspec.convert(json.loads(bytes(data).decode("utf-8", "replace")), ChunkJson)
        except (ValueError, RecursionError):
            raise make_failure("server", provider=self._provider, detail="its answer is not understood") from None

    def _read_delta(self, delta: DeltaJson, events: list[ModelEvent]) -> None:
        thought = _text_in(delta.reasoning_content) or _text_in(delta.reasoning)
        if thought:
            self._add(Reasoning(thought), events)
        text = _text_in(delta.content) or delta.refusal
        if text:
            self._add(Text(text), events)
        for call in delta.tool_calls or ():
            function = call.function or FunctionJson()
            events += self._calls.add_call(call.index, call.id or "", function.name or "", _args(function.arguments))

    def _read_message(self, message: DeltaJson, events: list[ModelEvent]) -> None:
        for i, call in enumerate(message.tool_calls or ()):
            call.index = i
        self._read_delta(message, events)

    def _add(self, piece: Text | Reasoning, events: list[ModelEvent]) -> None:
        if self._calls.is_idle:
            events.append(piece)
        else:
            events += self._calls.add_piece(piece)

    def _finish(self, reason: str) -> None:
        self.is_finished = True
        if reason == "content_filter":
            raise make_failure("content_filter", provider=self._provider)
        if reason == "error":
            raise make_failure("server", provider=self._provider)


def _text_in(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "".join(_text_in(piece.get("text")) for piece in content if isinstance(piece, dict))
    return ""


def _args(arguments: Any) -> str:
    """A piece of JSON text; some servers send the object itself, whole."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()


def _usage(usage: UsageJson) -> Usage:
    cached, thought = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cache_read_tokens=cached.cached_tokens if cached else None,
        reasoning_tokens=thought.reasoning_tokens if thought else None,
    )
