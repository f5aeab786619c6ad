"""A turn as the chunks of a UI message stream: one message of the assistant for each turn.

A step of the message is one model call: its text, its reasoning, its tool calls and their results. An answer that is
begun again (its worker was lost, or the model call is repeated) takes back its step with `reset-step`; what was
committed stays. The ids of parts come from their drafts, so a client that resumes gets the same ones.

Tools that the server runs are `providerExecuted`; those that a client runs, and a question of an agent, are not, and
are answered with `addToolOutput`. A question is also a `data-question` part. A message that joins the turn is a
`data-message` part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from antiphon.core.events import Delta, Event, FactEvent
from antiphon.core.model import Needs
from antiphon.core.parts import NO_USAGE, Part, Text, Usage
from antiphon.core.values import Value
from antiphon.wire.codec import convert, encode
from antiphon.wire.turn_output import (
    ActionNeeded,
    CallArgs,
    CallBegun,
    CallDone,
    CallMade,
    CallProgress,
    MessageDone,
    Output,
    PartBegun,
    PartDone,
    PartKey,
    PartText,
    Retrying,
    TurnEnd,
    TurnOutput,
    WholePart,
)
from antiphon.wire.ui_stream.ids import MessageId, user_message_id
from antiphon.wire.ui_stream.parts import error_text, usage_json, user_parts_json, whole_chunk

Chunk = dict[str, Any]

OF_CLIENTS = (Needs.RESULT, Needs.ANSWER, Needs.APPROVAL)
"""What clients do: such a call is not executed by the server alone."""
NOT_FINISHED = "The call was not finished."

_FINISH = {"length": "length", "content_filter": "content-filter", "refusal": "content-filter"}
_ABANDONS = frozenset({"attempt_released", "attempt_lost", "retry_scheduled", "history_truncated", "turn_ended"})
"""Facts after which the text of an open draft is not part of the answer."""


class AnswerInfo(Value):
    """What a message says beyond its parts."""

    id: MessageId
    model: str = ""
    waited_until: int = 0
    """Waits for clients up to this fact are completed: the stream goes on after them."""


class UiChunks:
    """Translates the events of a chat into the chunks of the answer of one turn, as `output` gives it."""

    def __init__(self, info: AnswerInfo, output: TurnOutput) -> None:
        self.info = info
        self.is_complete = False
        self._output = output
        self._is_step_open = False
        self._is_step_empty = False
        self._is_committed = True
        """Whether all that was sent of the open step is committed."""
        self._writing: dict[str, str] = {}
        """The names of the calls that are being written, by their ids."""
        self._denied: set[str] = set()
        self._usage = NO_USAGE
        self._finish = "stop"
        self._delta_type = self._end_type = ""
        self._delta_head = b""

    def begin(self) -> list[Chunk]:
        """The first chunk."""
        names = {"chatId": self.info.id.chat_id, "turnId": self.info.id.turn_id, "model": self.info.model}
        return [{"type": "start", "messageId": str(self.info.id), "messageMetadata": names}]

    def apply(self, event: Event) -> list[Chunk]:
        """The chunks of an event; none after the end."""
        if self.is_complete:
            return []
        chunks: list[Chunk] = []
        if isinstance(event, FactEvent) and event.seq > self._output.after:
            chunks += self._joined(event)
        if (ended := self._output.take_back(event)) is not None:
            chunks += [chunk for output in ended for chunk in self._render(output)]
            chunks += self._reset()
        for output in self._output.apply(event):
            if isinstance(output, TurnEnd):
                chunks += self._reset()
            if not self.is_complete:
                chunks += self._render(output)
        if isinstance(event, FactEvent) and event.seq > self._output.after and event.type in _ABANDONS:
            chunks += self._reset()
        return chunks

    def encoded(self, event: Event) -> bytes:
        """The server-sent events of the chunks of an event. Pieces of text, nearly all events, are encoded fast."""
        if type(event) is not Delta or self.is_complete:
            return sse(self.apply(event))
        outputs = self._output.apply(event)
        if len(outputs) == 1 and type(output := outputs[0]) is PartText:
            return b"%b%b}\n\n" % (self._delta_head, encode(output.text))
        return sse([chunk for output in outputs for chunk in self._render(output)])

    def _joined(self, event: FactEvent) -> Iterator[Chunk]:
        """A message of a user that joins the turn; an approval that is denied."""
        data = event.data
        if event.type == "action_resolved" and data["outcome"] == "denied":
            self._denied.add(data["tool_call_id"])
        elif event.type == "message_appended" and data["message"]["role"] == "user":
            message = data["message"]
            if message["turn_id"] == self.info.id.turn_id and "content" in message:
                name = user_message_id(self.info.id.chat_id, event.seq)
                content = convert(message["content"], tuple[Part, ...])
                shown = {"role": "user", "parts": user_parts_json(content, name)}
                yield {"type": "data-message", "id": name, "data": shown}

    def _render(self, output: Output) -> Iterator[Chunk]:
        match output:
            case PartText(key=key, text=text):
                yield {"type": self._delta_type, "id": part_id(key), "delta": text}
            case PartBegun(key=key, kind=kind):
                yield from self._step()
                name = "text" if kind is Text else "reasoning"
                self._delta_type, self._end_type = f"{name}-delta", f"{name}-end"
                self._delta_head = b'data: {"type":"%b-delta","id":"%b","delta":' % (
                    name.encode(),
                    part_id(key).encode(),
                )
                yield {"type": f"{name}-start", "id": part_id(key)}
            case PartDone(key=key):
                yield {"type": self._end_type, "id": part_id(key)}
            case WholePart(key=key, part=part):
                yield from self._step()
                yield whole_chunk(part, part_id(key))
            case CallBegun(tool_call_id=call_id, tool_name=name):
                yield from self._step()
                self._writing[call_id] = name
                yield {"type": "tool-input-start", "toolCallId": call_id, "toolName": name}
            case CallArgs(tool_call_id=call_id, text=text):
                yield {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": text}
            case CallMade():
                yield from self._call(output)
            case CallDone():
                yield self._result(output)
            case CallProgress(tool_call_id=call_id, text=text):
                data = {"toolCallId": call_id, "text": text}
                yield {"type": "data-tool-progress", "data": data, "transient": True}
            case MessageDone():
                yield from self._commit(output)
            case Retrying(data=data):
                self._usage = self._usage + convert(data.get("usage") or {}, Usage)
                shown = {"tries": data.get("tries"), "delayMs": data.get("delay_ms"), "error": data.get("error")}
                yield {"type": "data-retry", "data": shown, "transient": True}
            case ActionNeeded(place=place) if place.seq <= self.info.waited_until:
                return
            case ActionNeeded(calls=calls):
                for call in calls:
                    yield from _request(call)
                yield from self._end_step()
                yield {"type": "finish", "finishReason": "tool-calls", "messageMetadata": self._metadata()}
                self.is_complete = True
            case TurnEnd():
                yield from self._end(output)

    # --- steps

    def _step(self) -> Iterator[Chunk]:
        """A draft goes on, or begins a step. A step that was taken back is used again."""
        if self._is_committed and not self._is_step_empty:
            yield from self._end_step()
            self._is_step_open = True
            yield {"type": "start-step"}
        self._is_committed = self._is_step_empty = False

    def _end_step(self) -> Iterator[Chunk]:
        if self._is_step_open:
            self._is_step_open = self._is_step_empty = False
            yield {"type": "finish-step"}

    def _reset(self) -> Iterator[Chunk]:
        """Take back what is not committed. The step stays open, and is empty."""
        if not self._is_committed:
            self._writing.clear()
            self._is_committed = self._is_step_empty = True
            yield {"type": "reset-step"}

    def _commit(self, output: MessageDone) -> Iterator[Chunk]:
        message = output.message
        dropped = {call["tool_call_id"]: call["tool_name"] for call in message.get("dropped") or ()}
        for call_id, name in (self._writing | dropped).items():
            yield from self._step()
            yield {"type": "tool-input-error", "toolCallId": call_id, "toolName": name, "input": None,
                   "errorText": NOT_FINISHED}  # fmt: skip
        self._writing.clear()
        self._is_committed = True
        self._usage = self._usage + output.usage
        self._finish = _FINISH.get(message.get("outcome", ""), "stop")

    # --- tool calls

    def _call(self, output: CallMade) -> Iterator[Chunk]:
        call = output.call
        yield from self._step()
        is_begun = self._writing.pop(call.tool_call_id, None) is not None
        shown: Chunk = {"toolCallId": call.tool_call_id, "toolName": call.tool_name}
        if output.needs not in OF_CLIENTS:
            shown["providerExecuted"] = True
        if not is_begun:
            yield {"type": "tool-input-start", **shown}
        yield {"type": "tool-input-available", **shown, "input": call.args}

    def _result(self, output: CallDone) -> Chunk:
        result = output.result
        shown: Chunk = {"toolCallId": result.tool_call_id}
        if result.tool_call_id in self._denied:
            return {"type": "tool-output-denied", **shown}
        if output.needs not in OF_CLIENTS:
            shown["providerExecuted"] = True
        if result.is_error:
            return {"type": "tool-output-error", **shown, "errorText": error_text(result.result)}
        return {"type": "tool-output-available", **shown, "output": result.result}

    # --- the end

    def _metadata(self) -> Chunk:
        return {"usage": usage_json(self._usage)}

    def _end(self, output: TurnEnd) -> Iterator[Chunk]:
        """The protocol's three ends: `finish`, `error` and `abort`."""
        if output.usage != NO_USAGE:
            self._usage = output.usage  # with that of attempts which left no message
        yield from self._end_step()
        self.is_complete = True
        if output.outcome == "answered":
            yield {"type": "finish", "finishReason": self._finish, "messageMetadata": self._metadata()}
            return
        yield {"type": "message-metadata", "messageMetadata": {**self._metadata(), "outcome": output.outcome}}
        if output.outcome == "failed":
            yield {"type": "error", "errorText": (output.error or {}).get("message") or "The turn has failed."}
        else:
            yield {"type": "abort", "reason": output.outcome}


def sse(chunks: Iterable[Chunk]) -> bytes:
    """Chunks as server-sent events."""
    return b"".join(b"data: %b\n\n" % encode(chunk) for chunk in chunks)


def part_id(key: PartKey) -> str:
    """The id of a part of an answer."""
    return f"{key.draft}-{key.number}"


def _request(call: dict[str, Any]) -> Iterator[Chunk]:
    """How the protocol asks for what a call needs. A client's tool needs no more than its input."""
    call_id = call["tool_call_id"]
    if call["needs"] == Needs.APPROVAL:
        yield {"type": "tool-approval-request", "approvalId": call_id, "toolCallId": call_id}
    elif call["needs"] == Needs.ANSWER:
        args = call.get("args")
        asked = args if isinstance(args, dict) else {"question": args}
        yield {"type": "data-question", "id": call_id, "data": {"toolCallId": call_id, **asked}}
