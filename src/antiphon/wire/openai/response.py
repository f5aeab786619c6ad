"""A turn as a Response: its events with `sequence_number`, and the object itself.

An event that a client has is left out by its number, and the delta across that number is cut, so a stream that
resumes continues to the code point.

What Antiphon has and Responses does not: tools that the server runs are `mcp_call` items of the server `antiphon`;
calls that need an approval are `mcp_approval_request` items; a question of an agent is a function call. An answer
that was abandoned (its worker was lost, or the model call is repeated) is a message with the status `incomplete`;
it is in the stream, and not in the final object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from antiphon.core.parts import NO_USAGE, Usage
from antiphon.core.values import Value
from antiphon.wire.codec import convert
from antiphon.wire.gotime import parse_time_us
from antiphon.wire.openai.ids import ResponseId, conversation_id
from antiphon.wire.openai.response_items import Item, ItemStream, StreamEvent, made_event
from antiphon.wire.openai.usage import response_usage
from antiphon.wire.turn_output import (
    ActionNeeded,
    CallDone,
    CallMade,
    MessageDone,
    Output,
    PartBegun,
    PartDone,
    PartText,
    Place,
    Restarted,
    Retrying,
    TurnEnd,
    WholePart,
)

Json = dict[str, Any]


_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter", "refusal": "content_filter"}
_CODES = {
    "rate_limit": "rate_limit_exceeded",
    "invalid_request": "invalid_prompt",
    "context_length": "invalid_prompt",
}


class ResponseInfo(Value):
    """What a response says beyond its output. `given` are the settings of the request, as it had them."""

    id: ResponseId
    model: str
    created_at: int
    """In seconds since the Unix epoch."""
    instructions: str = ""
    tools: tuple[Json, ...] = ()
    metadata: dict[str, str] = {}
    given: Json = {}


class ResponseStream:
    """Translates the output of a turn. `starting_after`: the client has the events up to this number."""

    def __init__(self, info: ResponseInfo, starting_after: int = -1) -> None:
        self.info = info
        self.is_complete = False
        self._items = ItemStream(info.id, starting_after)
        self._usage = NO_USAGE
        self._status = "in_progress"
        self._error: Json | None = None
        self._incomplete = ""
        self.at = ""
        """When the last fact happened, as the stream has it."""

    # --- the object

    def response(self) -> Json:
        """The Response as it is now."""
        info = self.info
        shown: Json = {
            "id": str(info.id),
            "object": "response",
            "created_at": info.created_at,
            "completed_at": parse_time_us(self.at) // 1_000_000 if self.at and self.is_complete else None,
            "status": self._status,
            "background": False,
            "error": self._error,
            "incomplete_details": {"reason": self._incomplete} if self._incomplete else None,
            "instructions": info.instructions or None,
            "frequency_penalty": 0.0,
            "max_output_tokens": None,
            "max_tool_calls": None,
            "model": info.model,
            "output": [item.settle() for item in self._items.items if self._is_shown(item)],
            "parallel_tool_calls": True,
            "presence_penalty": 0.0,
            "previous_response_id": None,
            "prompt_cache_key": None,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": None,
            "service_tier": "default",
            "store": True,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": "disabled",
            "metadata": dict(info.metadata),
        } | info.given
        return shown | {
            "tools": list(info.tools),
            "conversation": {"id": conversation_id(info.id.chat_id)},
            "usage": response_usage(self._usage) if self._status != "in_progress" else None,
        }

    def _is_shown(self, item: Item) -> bool:
        """Whether an item is a part of the answer: it is committed, or it is being written."""
        return bool(item.message_id) or (not self.is_complete and item.json.get("status") != "incomplete")

    # --- the events

    @property
    def resume_number(self) -> int:
        """The number after which a client resumes that got everything so far."""
        return max(self._items.last_number, 0)

    def begin(self) -> list[StreamEvent]:
        """The first two events."""
        self._items.move_to(Place(self.info.id.after, 0))
        shown = self.response()
        return list(
            self._items.events(
                ("response.created", {"response": shown}), ("response.in_progress", {"response": shown})
            )
        )

    def apply(self, outputs: Iterable[Output]) -> list[StreamEvent]:
        """The events of some output."""
        return list(self.events(outputs))

    def events(self, outputs: Iterable[Output]) -> Iterator[StreamEvent]:
        """The same, each made when it is needed."""
        for output in outputs:
            if type(output) is PartText and not self.is_complete:
                if (event := self._items.text(output)) is not None:
                    yield event
            elif not self.is_complete or isinstance(output, Restarted):
                yield from self._render(output)

    def delta_sse(self, output: PartText) -> bytes:
        """The server-sent event of a piece of text; empty if the client has it. Nearly all events are one."""
        return self._items.text_sse(output)

    def error(self, code: str, message: str) -> StreamEvent:
        """The event that ends a stream which the server cannot continue. Its number is that of the event before it,
        so a client resumes after it."""
        return made_event("error", self.resume_number, {"code": code, "message": message, "param": None})

    def _render(self, output: Output) -> Iterator[StreamEvent]:
        items = self._items
        match output:
            case PartBegun():
                items.move_to(output.place)
                yield from items.close_open()
                yield from items.begin_part(output)
            case PartDone(is_abandoned=True):
                items.move_to(output.place)
                items.abandon(output.key)
                yield from items.close_open()
            case PartDone():
                items.set_text(output.key, output.text)
            case WholePart():
                items.move_to(output.place)
                yield from items.whole(output)
            case CallMade():
                items.move_to(output.place)
                yield from items.close_open()
                yield from items.call(output)
            case CallDone():
                items.move_to(output.place)
                yield from items.result(output)
            case MessageDone():
                items.move_to(output.place)
                yield from items.close_open()
                self._commit(output)
            case Retrying(data=data):
                self._usage = self._usage + convert(data.get("usage") or {}, Usage)
            case Restarted(from_message_id=first):
                self._restart(first)
            case ActionNeeded():
                items.move_to(output.place)
                yield from items.close_open()
                yield from self._finish("completed")
            case TurnEnd():
                items.move_to(output.place)
                yield from items.close_open()
                yield from self._end(output)

    # --- the end

    def _commit(self, output: MessageDone) -> None:
        message = output.message
        for item in self._items.items:
            if not item.message_id and item.draft in (output.draft, message["id"]):
                item.message_id = message["id"]
                if message.get("interrupted") and item.json["type"] == "message":
                    item.json["status"] = "incomplete"
        self._usage = self._usage + output.usage
        self._incomplete = _INCOMPLETE.get(message.get("outcome", ""), "")

    def _restart(self, from_message_id: int) -> None:
        items = self._items
        items.items = [item for item in items.items if item.message_id and item.message_id < from_message_id]
        self._status, self._error, self._incomplete, self.is_complete = "in_progress", None, "", False

    def _end(self, output: TurnEnd) -> Iterator[StreamEvent]:
        if output.usage != NO_USAGE and self.info.id.after == self.info.id.turn_id:
            self._usage = output.usage  # with that of attempts which left no message
        if output.outcome == "failed":
            error = output.error or {}
            code = _CODES.get(error.get("kind", ""), "server_error")
            self._error = {"code": code, "message": error.get("message", "")}
            yield from self._finish("failed")
        elif output.outcome == "answered":
            yield from self._finish("incomplete" if self._incomplete else "completed")
        else:
            self._incomplete = ""
            yield from self._finish("cancelled")

    def _finish(self, status: str) -> Iterator[StreamEvent]:
        self._status, self.is_complete = status, True
        kind = "response.incomplete" if status == "cancelled" else f"response.{status}"
        yield from self._items.events((kind, {"response": self.response()}))
