"""A turn as a task of A2A: its updates as they happen, and the task as it is now.

Text of the answer is an artifact for each part, in updates that append. What a committed message does not have of it,
because its worker was lost or the model call is repeated, is taken back: its artifact gets an empty text and is
marked `abandoned`. Reasoning is a status message when it is committed. Tool calls, their results, and messages that
join the turn are in the `metadata` of status updates, under the key `antiphon`; the task has them, too.

A client that adds the updates to the task with which its stream begins has what `snapshot` gives at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from antiphon.core.events import Delta, Event, FactEvent
from antiphon.core.model import Needs
from antiphon.core.parts import NO_USAGE, Part, Reasoning, Text, ToolCall, ToolResult, Usage
from antiphon.wire.a2a import states
from antiphon.wire.a2a.ids import TaskId, artifact_id
from antiphon.wire.a2a.parts import part_json
from antiphon.wire.a2a.record import TaskRecord
from antiphon.wire.a2a.requests import OWN, fields_of
from antiphon.wire.codec import convert, encode
from antiphon.wire.turn_output import (
    ActionNeeded,
    CallDone,
    CallMade,
    CallProgress,
    MessageDone,
    Output,
    PartBegun,
    PartDone,
    PartKey,
    PartText,
    Restarted,
    Retrying,
    TurnEnd,
    TurnOutput,
    WholePart,
)

Json = dict[str, Any]

NO_TEXT = -1
"""In place of a length: the artifact is no text."""
_ABANDONS = frozenset({"attempt_released", "attempt_lost", "retry_scheduled", "history_truncated", "turn_ended"})
"""Facts after which the text of an open draft is not part of the answer."""
_TAIL = b"}]}}}"


class TaskView:
    """Translates the events of a chat, from the message on that begins the task, and holds the task."""

    def __init__(self, task_id: TaskId, context_id: str, *, base_url: str = "") -> None:
        """`base_url` is the address of this server, for stored files."""
        self.seq = 0
        """The last fact that was applied."""
        self._first = task_id.message_id
        self._task = TaskRecord(task_id, context_id, base_url)
        self._output: TurnOutput | None = None
        """None: the message waits in the queue."""
        self._uncommitted: dict[PartKey, int] = {}
        """The artifacts of the open draft that were sent, with the length of their text."""
        self._is_text = True
        """Whether the open part is text."""
        self._head = b""
        """The beginning of the update for the next piece of the open text, as JSON."""
        self._open_calls: dict[str, Json] = {}
        """What the task waits for, as in the fact."""
        self._answered: set[str] = set()
        """The calls whose result comes from a client."""

    @property
    def state(self) -> str:
        return self._task.state

    @property
    def timestamp(self) -> str:
        """When the state was reached, RFC 3339."""
        return self._task.timestamp

    @property
    def turn_id(self) -> int:
        """0: the message waits in the queue."""
        return self._task.turn_id

    @property
    def is_terminal(self) -> bool:
        return self.state in states.TERMINAL

    @property
    def is_past(self) -> bool:
        """Whether a later turn has begun: the task does not change any more."""
        return self._output is not None and self._output.is_past

    def snapshot(self, *, history_length: int | None = None, has_artifacts: bool = True) -> Json:
        """The task as it is now, with at most `history_length` messages, the newest ones."""
        return self._task.snapshot(history_length, has_artifacts=has_artifacts)

    def drop_content(self) -> None:
        """The task was sent, and only updates follow: hold no more content."""
        self._task.drop_content()

    # --- events

    def apply(self, event: Event) -> list[Json]:
        """The updates for an event, each as the protocol's StreamResponse."""
        if isinstance(event, Delta):
            return list(self._rendered(event))
        if not isinstance(event, FactEvent):
            return []
        self.seq, self._task.at = event.seq, event.at
        if self.is_terminal and event.type != "turn_restarted":
            if self._output is not None:
                self._output.apply(event)
            return []
        updates = [*self._fact(event), *self._rendered(event)]
        if event.type in _ABANDONS:
            updates += self._take_back()
        return updates

    def encoded(self, event: Event) -> list[bytes]:
        """The updates as JSON. Pieces of text, nearly all events, are encoded fast."""
        if type(event) is Delta and self._output is not None and not self.is_terminal:
            outputs = self._output.apply(event)
            if len(outputs) == 1 and type(output := outputs[0]) is PartText and self._is_text and self._head:
                self._add(output)
                return [b"%b%b%b" % (self._head, encode(output.text), _TAIL)]
            return [encode(update) for output in outputs for update in self._render(output)]
        return [encode(update) for update in self.apply(event)]

    def _rendered(self, event: Event) -> Iterator[Json]:
        if self._output is not None:
            for output in self._output.apply(event):
                if isinstance(output, TurnEnd):
                    yield from self._take_back()
                yield from self._render(output)

    def _fact(self, event: FactEvent) -> Iterator[Json]:
        data, task = event.data, self._task
        if event.type == "message_appended" and data["message"]["role"] == "user":
            yield from self._said(event, data["message"])
        elif event.type == "attempt_started" and self.turn_id and self.state == states.SUBMITTED:
            yield task.set(states.WORKING)
        elif event.type == "action_resolved" and data["tool_call_id"] in self._open_calls:
            yield self._resolved(data["tool_call_id"], data["outcome"])
        elif event.type == "message_queued" and event.seq == self._first:
            task.begin_history(task.user_message(data["queued_message"], event.seq))
            task.timestamp = event.at
        elif event.type == "queued_message_edited" and data["queued_id"] == self._first:
            edited = task.user_message({**data, "client_message_id": task.first_name}, self._first)
            task.begin_history(edited)
            yield task.note({"editedMessage": edited})
        elif event.type == "queued_message_deleted" and data["queued_id"] == self._first:
            yield self._stopped(states.DELETED)
        elif event.type == "chat_deleted":
            yield self._stopped(states.CHAT_DELETED)
        elif event.type == "turn_restarted" and data["turn_id"] == self.turn_id:
            yield from task.restart()
            yield task.set(states.SUBMITTED, own={"isRestarted": True})

    def _stopped(self, text: str) -> Json:
        return self._task.set(states.CANCELED, message=self._task.agent_message([{"text": text}], self.seq))

    def _said(self, event: FactEvent, message: Json) -> Iterator[Json]:
        """A message of a user: the one that begins the turn, or one that joins it."""
        task = self._task
        shown = dict(message, client_message_id=event.data.get("client_message_id", ""))
        if self._output is None:
            if self._first in (event.seq, event.data.get("queued_id")):
                task.turn_id = message["turn_id"]
                self._output = TurnOutput(self.turn_id, event.seq)
                task.begin_history(task.user_message(shown, event.seq))
                yield task.set(states.SUBMITTED, own={"turnId": self.turn_id})
        elif message["turn_id"] == self.turn_id and "content" in message:
            joined = task.user_message(shown, event.seq)
            yield task.note({"message": joined})
            task.remember(joined)

    def _resolved(self, call_id: str, outcome: str) -> Json:
        """An open call was answered, or has expired. The answer is a message of the user."""
        task = self._task
        del self._open_calls[call_id]
        said = None
        if outcome == "result":
            self._answered.add(call_id)  # the result follows
        elif outcome != "expired":
            approval = {"toolCallId": call_id, "approved": outcome == "approved"}
            said = task.answer(approval, f"answer_{self.seq}")
        state, message = states.WORKING, None
        if self._open_calls:
            state = states.INPUT_REQUIRED
            message = task.agent_message(states.asked_parts(self._open_calls.values()), self.seq)
        update = task.set(state, message=message, own={"message": said} if said is not None else None)
        task.remember(said)
        return update

    # --- outputs

    def _render(self, output: Output) -> Iterator[Json]:
        task = self._task
        match output:
            case PartText() if self._is_text:
                yield self._text(output)
            case PartBegun(kind=kind):
                self._is_text, self._head = kind is Text, b""
            case PartDone(key=key, is_abandoned=False) if key in self._uncommitted:
                yield task.update(artifact_id(key), {"text": ""}, append=True, last=True)
            case WholePart(key=key, part=part):
                self._uncommitted[key] = NO_TEXT
                yield task.put(artifact_id(key), part_json(part, task.base_url))
            case CallMade(call=call, needs=needs):
                made = {"toolCallId": call.tool_call_id, "toolName": call.tool_name, "args": call.args}
                task.add_call(made | {"needs": needs.value})
                yield task.set(states.WORKING, own={"toolCall": made | {"needs": needs.value}})
            case CallDone():
                yield self._returned(output)
            case CallProgress(tool_call_id=call_id, text=text):
                yield task.note({"toolProgress": {"toolCallId": call_id, "text": text}})
            case MessageDone():
                yield from self._commit(output)
            case ActionNeeded(place=place, calls=calls):
                self._open_calls = {call["tool_call_id"]: call for call in calls}
                asked = task.agent_message(states.asked_parts(calls), place.seq)
                yield task.set(states.INPUT_REQUIRED, message=asked)
            case Retrying(data=data):
                task.add_usage(convert(data.get("usage") or {}, Usage))
                retry = {"tries": data.get("tries"), "delayMs": data.get("delay_ms"), "error": data.get("error")}
                yield task.set(states.WORKING, own={"retry": retry})
            case Restarted():
                pass  # the turn ends, or `turn_restarted` follows
            case TurnEnd():
                yield self._end(output)

    def _text(self, output: PartText) -> Json:
        name, is_first = artifact_id(output.key), output.key not in self._uncommitted
        if is_first:
            self._uncommitted[output.key] = 0
            self._task.begin_text(name)
            empty = encode(self._task.update(name, {"text": ""}, append=True))
            self._head = empty.removesuffix(b'""' + _TAIL)
        self._add(output)
        return self._task.update(name, {"text": output.text}, append=not is_first)

    def _add(self, output: PartText) -> None:
        self._uncommitted[output.key] += len(output.text)
        if self._task.is_holding:
            self._task.add_text(artifact_id(output.key), output.text)

    def _returned(self, output: CallDone) -> Json:
        """A result. One that comes from a client is a message of the user, too."""
        result, call_id, task = output.result, output.result.tool_call_id, self._task
        done = {"result": result.result} | ({"isError": True} if result.is_error else {})
        task.end_call(call_id, done)
        own: Json = {"toolResult": {"toolCallId": call_id, **done}}
        said = None
        if call_id in self._answered:
            is_text = output.needs is Needs.ANSWER and isinstance(result.result, str)
            said = own["message"] = task.answer(result.result if is_text else own["toolResult"], f"answer_{self.seq}")
        update = task.note(own)
        task.remember(said)
        return update

    def _commit(self, output: MessageDone) -> Iterator[Json]:
        """The message holds: what was sent beyond it is taken back, and what was cut is sent as it is."""
        task = self._task
        content = convert(output.message["content"], tuple[Part, ...])
        parts = [part for part in content if not isinstance(part, ToolCall | ToolResult)]
        visible = [part for part in parts if not isinstance(part, Text | Reasoning) or part.text]
        for number, part in enumerate(visible):
            if isinstance(part, Reasoning):
                shown = [{"text": part.text, "metadata": {OWN: {"type": "reasoning"}}}]
                message = task.agent_message(shown, artifact_id(PartKey(output.draft, number)))
                yield task.set(states.WORKING, message=message)
        for key, length in self._uncommitted.items():
            kept = visible[key.number] if key.number < len(visible) else None
            if kept is None or isinstance(kept, Text) != (length != NO_TEXT):
                yield task.abandon(artifact_id(key))
            elif isinstance(kept, Text) and len(kept.text) != length:
                yield task.put(artifact_id(key), {"text": kept.text})
        self._uncommitted.clear()
        task.add_usage(output.usage)
        task.outcome = output.message.get("outcome", "")

    def _take_back(self) -> list[Json]:
        """What is not committed is not part of the answer."""
        taken = [self._task.abandon(artifact_id(key)) for key in self._uncommitted]
        self._uncommitted.clear()
        return taken

    def _end(self, output: TurnEnd) -> Json:
        task = self._task
        if output.usage != NO_USAGE:
            task.usage = output.usage  # with that of attempts which left no message
        state = states.OUTCOMES[output.outcome]
        if state == states.COMPLETED and task.outcome == "refusal":
            state = states.REJECTED
        task.outcome = task.outcome or (output.outcome if output.outcome != "answered" else "")
        if output.outcome != "failed":
            return task.set(state, own=task.ending())
        error = output.error or {}
        message = task.agent_message([{"text": error.get("message") or "The turn has failed."}], self.seq)
        return task.set(state, message=message, own=task.ending() | {"error": fields_of(error)})
