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

import msgspec

from antiphon.core.events import Delta, Event, FactEvent
from antiphon.core.parts import NO_USAGE, Part, Reasoning, Text, ToolCall, ToolResult, Usage
from antiphon.wire.a2a import states
from antiphon.wire.a2a.ids import TaskId, artifact_id, message_id
from antiphon.wire.a2a.parts import part_json, parts_json
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
        self.state = states.SUBMITTED
        self.turn_id = 0
        """0: the message waits in the queue."""
        self.seq = 0
        """The last fact that was applied."""
        self.timestamp = ""
        """When the state was reached, RFC 3339."""
        self._chat_id = task_id.chat_id
        self._first = task_id.message_id
        self._names: Json = {"taskId": str(task_id), "contextId": context_id}
        self._base_url = base_url
        self._output: TurnOutput | None = None
        self._is_holding = True
        self._at = ""
        self._message: Json | None = None
        self._history: list[Json] = []
        self._artifacts: dict[str, list[str] | Json] = {}
        """Those that are part of the answer, by id: pieces of text, or parts of another kind."""
        self._uncommitted: dict[PartKey, int] = {}
        """The artifacts of the open draft that were sent, with the length of their text."""
        self._is_text = True
        """Whether the open part is text."""
        self._calls: dict[str, Json] = {}
        self._open_calls: set[str] = set()
        self._usage = NO_USAGE
        self._outcome = ""
        self._head = b""

    @property
    def is_terminal(self) -> bool:
        return self.state in states.TERMINAL

    @property
    def is_past(self) -> bool:
        """Whether a later turn has begun: the task does not change any more."""
        return self._output is not None and self._output.is_past

    # --- the task

    def snapshot(self, *, history_length: int | None = None, has_artifacts: bool = True) -> Json:
        """The task as it is now, with at most `history_length` messages, the newest ones."""
        names = self._names
        shown: Json = {"id": names["taskId"], "contextId": names["contextId"], "status": self._status()}
        if has_artifacts and self._artifacts:
            shown["artifacts"] = [self._artifact(name, parts) for name, parts in self._artifacts.items()]
        first = 0 if history_length is None else max(len(self._history) - history_length, 0)
        if history := self._history[first:]:
            shown["history"] = history
        own: Json = {"chatId": self._chat_id} | ({"turnId": self.turn_id} if self.turn_id else {})
        if self._calls:
            own["toolCalls"] = list(self._calls.values())
        return shown | {"metadata": {OWN: own | self._ending()}}

    def drop_content(self) -> None:
        """The task was sent, and only updates follow: hold no more content."""
        self._is_holding = False
        self._history.clear()
        self._artifacts.clear()
        self._calls.clear()

    def _status(self) -> Json:
        status: Json = {"state": self.state, "timestamp": self.timestamp}
        return status | ({"message": self._message} if self._message is not None else {})

    @staticmethod
    def _artifact(name: str, parts: list[str] | Json) -> Json:
        whole = {"text": "".join(parts)} if isinstance(parts, list) else parts
        return {"artifactId": name, "parts": [whole]}

    def _ending(self) -> Json:
        """How the turn has ended, and what it has used."""
        usage = {"usage": fields_of(msgspec.to_builtins(self._usage))} if self._usage != NO_USAGE else {}
        return usage | ({"outcome": self._outcome} if self._outcome else {})

    # --- events

    def apply(self, event: Event) -> list[Json]:
        """The updates for an event, each as the protocol's StreamResponse."""
        if isinstance(event, Delta):
            return list(self._rendered(event))
        if not isinstance(event, FactEvent):
            return []
        self.seq, self._at = event.seq, event.at
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
        data = event.data
        if event.type == "message_appended" and data["message"]["role"] == "user":
            yield from self._said(event, data["message"])
        elif event.type == "attempt_started" and self.turn_id and self.state == states.SUBMITTED:
            yield self._set(states.WORKING)
        elif event.type == "action_resolved" and data["tool_call_id"] in self._open_calls:
            self._open_calls.discard(data["tool_call_id"])
            if not self._open_calls:
                yield self._set(states.WORKING)
        elif event.type == "message_queued" and event.seq == self._first:
            self._history = [self._user_message(data["queued_message"], event.seq)]
            self.timestamp = event.at
        elif event.type == "queued_message_edited" and data["queued_id"] == self._first:
            name = self._history[0]["messageId"] if self._history else message_id(self._chat_id, self._first)
            edited = self._user_message({**data, "client_message_id": name}, self._first)
            self._history = [edited] if self._is_holding else []
            yield self._set(self.state, own={"editedMessage": edited})
        elif event.type == "queued_message_deleted" and data["queued_id"] == self._first:
            yield self._set(states.CANCELED, text=states.DELETED)
        elif event.type == "chat_deleted":
            yield self._set(states.CANCELED, text=states.CHAT_DELETED)
        elif event.type == "turn_restarted" and data["turn_id"] == self.turn_id:
            yield from self._restart()

    def _said(self, event: FactEvent, message: Json) -> Iterator[Json]:
        """A message of a user: the one that begins the turn, or one that joins it."""
        shown = dict(message, client_message_id=event.data.get("client_message_id", ""))
        if self._output is None:
            if self._first in (event.seq, event.data.get("queued_id")):
                self.turn_id = message["turn_id"]
                self._output = TurnOutput(self.turn_id, event.seq)
                self._history = [self._user_message(shown, event.seq)] if self._is_holding else []
                yield self._set(states.SUBMITTED, own={"turnId": self.turn_id})
        elif message["turn_id"] == self.turn_id and "content" in message:
            joined = self._user_message(shown, event.seq)
            yield self._set(self.state, message=self._message, own={"message": joined})
            if self._is_holding:
                self._history.append(joined)

    def _restart(self) -> Iterator[Json]:
        """A person lets the turn run again: what came after its message is no longer part of it."""
        for name in list(self._artifacts):
            yield self._abandoned(name)
        self._artifacts.clear()
        self._calls.clear()
        self._message, self._outcome, self._usage = None, "", NO_USAGE
        del self._history[1:]
        yield self._set(states.SUBMITTED, own={"isRestarted": True})

    # --- outputs

    def _render(self, output: Output) -> Iterator[Json]:
        match output:
            case PartText() if self._is_text:
                yield self._text(output)
            case PartBegun(kind=kind):
                self._is_text, self._head = kind is Text, b""
            case PartDone(key=key, is_abandoned=False) if key in self._uncommitted:
                yield self._update(artifact_id(key), {"text": ""}, append=True, last=True)
            case WholePart(key=key, part=part):
                self._uncommitted[key] = NO_TEXT
                yield self._hold(artifact_id(key), part_json(part, self._base_url))
            case CallMade(call=call, needs=needs):
                made = {"toolCallId": call.tool_call_id, "toolName": call.tool_name, "args": call.args}
                yield self._called(made | {"needs": needs.value})
            case CallDone(result=result):
                done = {"result": result.result} | ({"isError": True} if result.is_error else {})
                yield self._returned(result, done)
            case CallProgress(tool_call_id=call_id, text=text):
                yield self._set(self.state, message=self._message, own={"toolProgress": {
                    "toolCallId": call_id, "text": text}})  # fmt: skip
            case MessageDone():
                yield from self._commit(output)
            case ActionNeeded(place=place, calls=calls):
                self._open_calls = {call["tool_call_id"] for call in calls}
                yield self._set(states.INPUT_REQUIRED, parts=states.asked_parts(calls), place=place.seq)
            case Retrying(data=data):
                self._usage = self._usage + convert(data.get("usage") or {}, Usage)
                retry = {"tries": data.get("tries"), "delayMs": data.get("delay_ms"), "error": data.get("error")}
                yield self._set(states.WORKING, own={"retry": retry})
            case Restarted():
                pass  # the turn ends, or `turn_restarted` follows
            case TurnEnd():
                yield self._end(output)

    def _text(self, output: PartText) -> Json:
        name, is_first = artifact_id(output.key), output.key not in self._uncommitted
        if is_first:
            self._uncommitted[output.key] = 0
            if self._is_holding:
                self._artifacts[name] = []
            empty = encode(self._update(name, {"text": ""}, append=True))
            self._head = empty.removesuffix(b'""' + _TAIL)
        self._add(output)
        return self._update(name, {"text": output.text}, append=not is_first)

    def _add(self, output: PartText) -> None:
        self._uncommitted[output.key] += len(output.text)
        if self._is_holding:
            held = self._artifacts[artifact_id(output.key)]
            assert isinstance(held, list)
            held.append(output.text)

    def _hold(self, name: str, part: Json) -> Json:
        """An artifact that comes at once, or replaces what was sent of it."""
        if self._is_holding:
            self._artifacts[name] = part
        return self._update(name, part, last=True)

    def _called(self, made: Json) -> Json:
        if self._is_holding:
            self._calls[made["toolCallId"]] = made
        return self._set(states.WORKING, own={"toolCall": made})

    def _returned(self, result: ToolResult, done: Json) -> Json:
        if (call := self._calls.get(result.tool_call_id)) is not None:
            self._calls[result.tool_call_id] = call | done
        return self._set(self.state, own={"toolResult": {"toolCallId": result.tool_call_id, **done}})

    def _commit(self, output: MessageDone) -> Iterator[Json]:
        """The message holds: what was sent beyond it is taken back, and what was cut is sent as it is."""
        content = convert(output.message["content"], tuple[Part, ...])
        parts = [part for part in content if not isinstance(part, ToolCall | ToolResult)]
        visible = [part for part in parts if not isinstance(part, Text | Reasoning) or part.text]
        for number, part in enumerate(visible):
            if isinstance(part, Reasoning):
                shown = [{"text": part.text, "metadata": {OWN: {"type": "reasoning"}}}]
                yield self._set(states.WORKING, parts=shown, place=f"{output.draft}-{number}")
        for key, length in self._uncommitted.items():
            kept = visible[key.number] if key.number < len(visible) else None
            if kept is None or isinstance(kept, Text) != (length != NO_TEXT):
                yield self._abandoned(artifact_id(key))
            elif isinstance(kept, Text) and len(kept.text) != length:
                yield self._hold(artifact_id(key), {"text": kept.text})
        self._uncommitted.clear()
        self._usage = self._usage + output.usage
        self._outcome = output.message.get("outcome", "")

    def _take_back(self) -> list[Json]:
        """What is not committed is not part of the answer."""
        taken = [self._abandoned(artifact_id(key)) for key in self._uncommitted]
        self._uncommitted.clear()
        return taken

    def _end(self, output: TurnEnd) -> Json:
        if output.usage != NO_USAGE:
            self._usage = output.usage  # with that of attempts which left no message
        state = states.OUTCOMES[output.outcome]
        if state == states.COMPLETED and self._outcome == "refusal":
            state = states.REJECTED
        self._outcome = self._outcome or (output.outcome if output.outcome != "answered" else "")
        if output.outcome != "failed":
            return self._set(state, own=self._ending())
        error = output.error or {}
        text = error.get("message") or "The turn has failed."
        return self._set(state, text=text, own=self._ending() | {"error": fields_of(error)})

    # --- updates

    def _set(
        self,
        state: str,
        *,
        message: Json | None = None,
        text: str = "",
        parts: list[Json] | None = None,
        place: int | str = "",
        own: Json | None = None,
    ) -> Json:
        """Change the status; its message, if it had one, becomes history. `text` or `parts` make the new one."""
        if text:
            parts, place = [{"text": text}], self.seq
        if parts:
            message = self._agent_message(parts, place)
        if self._message is not None and self._message is not message and self._is_holding:
            self._history.append(self._message)
        self.state, self.timestamp, self._message = state, self._at or self.timestamp, message
        update: Json = {**self._names, "status": self._status()} | ({"metadata": {OWN: own}} if own else {})
        return {"statusUpdate": update}

    def _update(self, name: str, part: Json, *, append: bool = False, last: bool = False) -> Json:
        flags = ({"append": True} if append else {}) | ({"lastChunk": True} if last else {})
        return {"artifactUpdate": {**self._names, **flags, "artifact": {"artifactId": name, "parts": [part]}}}

    def _abandoned(self, name: str) -> Json:
        self._artifacts.pop(name, None)
        update = self._update(name, {"text": ""}, last=True)
        update["artifactUpdate"]["artifact"]["metadata"] = {OWN: {"abandoned": True}}
        return update

    def _user_message(self, message: Json, seq: int) -> Json:
        content = convert(message.get("content") or (), tuple[Part, ...])
        name = message.get("client_message_id") or message_id(self._chat_id, seq)
        return {"messageId": name, **self._names, "role": "ROLE_USER", "parts": parts_json(content, self._base_url)}

    def _agent_message(self, parts: list[Json], place: int | str) -> Json:
        name = message_id(self._chat_id, place)
        return {"messageId": name, **self._names, "role": "ROLE_AGENT", "parts": parts}
