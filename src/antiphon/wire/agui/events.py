"""A turn as the events of an AG-UI run.

A step is one model call with its tools. Text, reasoning and tool calls have events of their own; what has none is an
activity, which clients keep with the messages, or a custom event, which they do not. The run ends where the turn ends
or waits for clients.

AG-UI cannot take back what was sent. Where an answer is begun again (its worker was lost, or the model call is
repeated), the custom event `antiphon.abandoned` names the messages, and a snapshot of the messages removes them; it
needs the history before the run, which is kept for that if it is not too large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from antiphon.core.events import Delta, Event, FactEvent, Notice
from antiphon.core.parts import NO_USAGE, Part, Text, ToolResult, Usage
from antiphon.wire.agui.calls import asked_calls, waiting_outcome
from antiphon.wire.agui.ids import Names
from antiphon.wire.agui.kept_messages import KeptMessages
from antiphon.wire.agui.messages import (
    NAMESPACE,
    NOT_FINISHED,
    activity_of,
    answer_messages,
    arguments_of,
    result_message,
    result_text,
    user_message,
)
from antiphon.wire.agui.run import RunInfo, custom, messages_snapshot, run_error, run_finished, sse
from antiphon.wire.agui.state import AgentStateView
from antiphon.wire.codec import convert, encode
from antiphon.wire.json_text import rest_of_json
from antiphon.wire.turn_output import (
    FRAMES_MAX,
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
    PartText,
    Retrying,
    TurnEnd,
    TurnOutput,
    WholePart,
)

Json = dict[str, Any]

_ABANDONS = frozenset({"attempt_released", "attempt_lost", "retry_scheduled", "history_truncated", "turn_ended"})
"""Facts after which the text of an open draft is not part of the answer."""


class RunEvents:
    """Translates the events of a chat into those of one run, as `output` gives the turn.

    `history` are the messages that the client has at the beginning; None: they are too many for a snapshot.
    """

    def __init__(
        self, info: RunInfo, output: TurnOutput, *, state: AgentStateView, history: list[Json] | None = None
    ) -> None:
        self.is_complete = False
        self._info = info
        self._names = Names(info.chat_id)
        self._output = output
        self._state = state
        self._kept = KeptMessages(history)
        self._deadline = ""
        self._draft = 0
        """The draft of the last delta, or that which the message of the last fact closes."""
        self._step = 0
        """The draft whose step is open."""
        self._text_draft = 0
        """The draft whose first text has begun."""
        self._open_id = ""
        self._open_kind: type[Any] = Text
        self._head = b""
        self._sent: list[str] = []
        """The messages that were sent of the open draft."""
        self._writing: dict[str, list[str]] = {}
        """The pieces of the arguments of calls that are being written."""
        self._needs_snapshot = False
        self._usage = NO_USAGE
        self._finish = ""

    @property
    def kept_size(self) -> int:
        """How much it keeps for a snapshot, in bytes."""
        return self._kept.size

    def apply(self, event: Event) -> list[Json]:
        """The events of the run for an event of the chat; none after the end."""
        if self.is_complete:
            return []
        found: list[Json] = []
        is_ours = isinstance(event, FactEvent) and event.seq > self._output.after
        if isinstance(event, Delta):
            self._draft = event.draft
        elif isinstance(event, FactEvent) and is_ours:
            found += [*self._noted(event), *self._take_back(event)]
        elif isinstance(event, Notice):  # of a foreign peer
            found.append({"type": "RAW", "source": NAMESPACE, "event": {"kind": event.kind, "text": event.words}})
        for output in self._output.apply(event):
            if isinstance(output, TurnEnd):
                found += self._abandon()
            if not self.is_complete:
                found += self._render(output)
        if isinstance(event, FactEvent) and is_ours and event.type in _ABANDONS and not self.is_complete:
            found += self._abandon()
            if event.type == "history_truncated":
                found += self._restart()
        return found

    def encoded(self, event: Event) -> bytes:
        """The server-sent events for an event. Pieces of text, nearly all events, are encoded fast."""
        if type(event) is not Delta or self.is_complete:
            return sse(self.apply(event))
        self._draft = event.draft
        outputs = self._output.apply(event)
        if len(outputs) == 1 and type(output := outputs[0]) is PartText:
            return b"%b%b}\n\n" % (self._head, encode(output.text))
        return sse([shown for output in outputs for shown in self._render(output)])

    def _noted(self, event: FactEvent) -> Iterator[Json]:
        """What `TurnOutput` leaves out: states, deadlines, and messages of people that join the turn."""
        data = event.data
        if event.type == "state_changed" and "state" in data:
            yield from self._state.change(bytes(data["state"]))
        elif event.type == "action_required":
            self._deadline = data.get("deadline", "")
        elif event.type == "message_appended":
            message = data["message"]
            self._draft = data.get("closes", {}).get("draft", self._draft)
            if message["role"] == "user" and message["turn_id"] == self._info.turn_id and "content" in message:
                yield from self._joined(event.seq, data)

    def _joined(self, seq: int, data: Json) -> Iterator[Json]:
        name = self._names.user(seq, data["message"].get("client_message_id", ""))
        shown = user_message(convert(data["message"]["content"], tuple[Part, ...]), name)
        self._kept.add(shown)
        if name in self._info.has:
            return
        if isinstance(shown["content"], str):
            yield {"type": "TEXT_MESSAGE_START", "messageId": name, "role": "user"}
            yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": name, "delta": shown["content"]}
            yield {"type": "TEXT_MESSAGE_END", "messageId": name}
        else:
            yield custom("message", shown)
            self._needs_snapshot = True
            yield from self._snapshot()

    def _render(self, output: Output) -> Iterator[Json]:
        match output:
            case PartText(text=text):
                yield {"type": _kind(self._open_kind, "CONTENT"), "messageId": self._open_id, "delta": text}
            case PartBegun():
                yield from self._begin(output)
            case PartDone():
                yield {"type": _kind(self._open_kind, "END"), "messageId": self._open_id}
                if self._open_kind is not Text:
                    yield {"type": "REASONING_END", "messageId": self._open_id}
            case WholePart(key=key, part=part):
                yield from self._begin_step(key.draft)
                self._sent.append(self._names.part_of(key))
                kind, content = activity_of(part)
                shown = {"messageId": self._names.part_of(key), "activityType": kind, "content": content}
                yield {"type": "ACTIVITY_SNAPSHOT", **shown}
            case CallBegun(tool_call_id=call_id, tool_name=name):
                yield from self._begin_call(call_id, name)
                self._writing[call_id] = []
            case CallArgs(tool_call_id=call_id, text=text) if call_id in self._writing:
                self._writing[call_id].append(text)
                yield {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": text}
            case CallMade():
                yield from self._call(output)
            case CallDone():
                yield from self._result(output)
            case CallProgress(tool_call_id=call_id, text=text):
                yield custom("tool_progress", {"toolCallId": call_id, "text": text})
            case MessageDone():
                yield from self._commit(output)
            case Retrying(data=data):
                self._usage = self._usage + convert(data.get("usage") or {}, Usage)
                names = {"tries": "tries", "delayMs": "delay_ms", "error": "error"}
                yield custom("retry", {shown: data.get(name) for shown, name in names.items()})
            case ActionNeeded(calls=calls):
                yield from self._wait(calls)
            case TurnEnd():
                yield from self._end(output)

    # --- steps and parts

    def _begin_step(self, draft: int) -> Iterator[Json]:
        if draft != self._step:
            yield from self._end_step()
            self._step = draft
            yield {"type": "STEP_STARTED", "stepName": f"step {draft}"}

    def _end_step(self) -> Iterator[Json]:
        if self._step:
            yield {"type": "STEP_FINISHED", "stepName": f"step {self._step}"}
            self._step = 0

    def _begin(self, output: PartBegun) -> Iterator[Json]:
        key, self._open_kind = output.key, output.kind
        yield from self._begin_step(key.draft)
        is_first_text = output.kind is Text and self._text_draft != key.draft
        self._open_id = self._names.answer(key.draft) if is_first_text else self._names.part_of(key)
        self._sent.append(self._open_id)
        kind = _kind(output.kind, "CONTENT")
        self._head = b'data: {"type":"%b","messageId":"%b","delta":' % (kind.encode(), self._open_id.encode())
        if output.kind is Text:
            self._text_draft = key.draft
            yield {"type": "TEXT_MESSAGE_START", "messageId": self._open_id, "role": "assistant"}
        else:
            yield {"type": "REASONING_START", "messageId": self._open_id}
            yield {"type": "REASONING_MESSAGE_START", "messageId": self._open_id, "role": "reasoning"}

    # --- tool calls

    def _begin_call(self, call_id: str, name: str) -> Iterator[Json]:
        yield from self._begin_step(self._draft)
        parent = self._names.answer(self._draft)
        self._sent.append(parent)
        yield {"type": "TOOL_CALL_START", "toolCallId": call_id, "toolCallName": name, "parentMessageId": parent}

    def _call(self, output: CallMade) -> Iterator[Json]:
        call, pieces = output.call, self._writing.pop(output.call.tool_call_id, None)
        if pieces is None:
            yield from self._begin_call(call.tool_call_id, call.tool_name)
        rest = rest_of_json("".join(pieces or ()), call.args)
        if rest:
            yield {"type": "TOOL_CALL_ARGS", "toolCallId": call.tool_call_id, "delta": rest}
        yield {"type": "TOOL_CALL_END", "toolCallId": call.tool_call_id}
        if rest is None:  # a part of the model's text is missing, and the rest of the stored one does not fit
            yield custom("tool_call", {"toolCallId": call.tool_call_id, "arguments": arguments_of(call)})
            self._needs_snapshot = True

    def _result(self, output: CallDone) -> Iterator[Json]:
        result, seq = output.result, output.place.seq
        shown = result_message(self._names, result, seq=seq, number=output.place.step // FRAMES_MAX - 1)
        self._kept.add(shown)
        if result.tool_call_id not in self._info.has:
            yield _tool_result(shown["id"], result)

    def _commit(self, output: MessageDone) -> Iterator[Json]:
        message, seq = output.message, output.place.seq
        dropped = message.get("dropped") or []
        for number, call in enumerate(dropped):
            if self._writing.pop(call["tool_call_id"], None) is None:
                yield from self._begin_call(call["tool_call_id"], call["tool_name"])
            yield {"type": "TOOL_CALL_END", "toolCallId": call["tool_call_id"]}
            result = ToolResult(call["tool_call_id"], call["tool_name"], NOT_FINISHED, is_error=True)
            yield _tool_result(self._names.dropped(seq, number), result)
        yield from self._end_calls()
        self._sent.clear()
        self._usage = self._usage + output.usage
        self._finish = message.get("outcome", "")
        content = convert(message["content"], tuple[Part, ...])
        self._kept.add(*answer_messages(self._names, output.draft, content, seq=seq, dropped=dropped))
        if self._needs_snapshot:
            yield from self._snapshot()

    def _end_calls(self) -> Iterator[Json]:
        for call_id in self._writing:
            yield {"type": "TOOL_CALL_END", "toolCallId": call_id}
        self._writing.clear()

    # --- what is not part of the answer

    def _abandon(self) -> Iterator[Json]:
        """Take back what is not committed, as well as AG-UI can."""
        yield from self._end_calls()
        if self._sent:
            yield custom("abandoned", {"messageIds": list(dict.fromkeys(self._sent))})
            self._sent.clear()
            yield from self._end_step()
            yield from self._snapshot()

    def _take_back(self, event: FactEvent) -> Iterator[Json]:
        """A message that stores less than was sent is sent again, under the same ids, if a snapshot can remove it."""
        if self._kept.messages is None or (ended := self._output.take_back(event)) is None:
            return
        for output in ended:
            yield from self._render(output)
        yield from self._abandon()
        self._text_draft = 0

    def _restart(self) -> Iterator[Json]:
        """The turn is begun again: all of this run goes."""
        yield from self._state.go_back(is_known=self._output.after == self._output.turn_id)
        if self._kept.forget():
            yield from self._snapshot()

    def _snapshot(self) -> Iterator[Json]:
        self._needs_snapshot = False
        if (messages := self._kept.messages) is not None:
            yield messages_snapshot(messages)

    # --- the end

    def _wait(self, calls: Iterable[Json]) -> Iterator[Json]:
        yield from self._end_step()
        outcome, pending = waiting_outcome(asked_calls(calls), self._deadline)
        more = {"pendingToolCallIds": pending} if pending else {}
        self.is_complete = True
        yield run_finished(self._info, outcome, usage=self._usage, **more)

    def _end(self, output: TurnEnd) -> Iterator[Json]:
        if output.usage != NO_USAGE and self._output.after == self._output.turn_id:
            self._usage = output.usage  # with that of attempts which left no message
        yield from self._end_step()
        self.is_complete = True
        if output.outcome == "failed":
            yield run_error(output.error or {}, usage=self._usage, model=self._info.model)
        elif output.outcome == "answered":
            more = {"finish": self._finish} if self._finish else {}
            yield run_finished(self._info, {"type": "success"}, usage=self._usage, **more)
        else:
            yield run_finished(self._info, {"type": "cancelled"}, usage=self._usage, cause=output.outcome)


def _kind(kind: type[Any], ending: str) -> str:
    return f"{'TEXT' if kind is Text else 'REASONING'}_MESSAGE_{ending}"


def _tool_result(message_id: str, result: ToolResult) -> Json:
    shown = {"messageId": message_id, "toolCallId": result.tool_call_id, "content": result_text(result.result)}
    more = {"metadata": {NAMESPACE: {"isError": True}}} if result.is_error else {}
    return {"type": "TOOL_CALL_RESULT", **shown, "role": "tool", **more}
