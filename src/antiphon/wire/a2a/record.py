"""A task as clients get it: its status, history, artifacts and calls. Each change returns its update."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.core.parts import NO_USAGE, Part, Usage
from antiphon.wire.a2a import states
from antiphon.wire.a2a.ids import TaskId, message_id
from antiphon.wire.a2a.parts import parts_json
from antiphon.wire.a2a.requests import OWN, fields_of
from antiphon.wire.codec import convert

Json = dict[str, Any]


REMOVED: Json = {"text": "An edit has removed this message.", "metadata": {"antiphon": {"isRemoved": True}}}
"""A message without content: its protocol requires parts."""


class TaskRecord:
    """Holds the content of a task until `drop_content`."""

    def __init__(self, task_id: TaskId, context_id: str, base_url: str) -> None:
        self.state = states.SUBMITTED
        self.turn_id = 0
        self.at = ""
        """When the current event happened, RFC 3339."""
        self.timestamp = ""
        """When the status was set."""
        self.message: Json | None = None
        """That of the status."""
        self.usage = NO_USAGE
        self.outcome = ""
        self.base_url = base_url
        self._chat_id = task_id.chat_id
        self._names: Json = {"taskId": str(task_id), "contextId": context_id}
        self.is_holding = True
        self._history: list[Json] = []
        self._artifacts: dict[str, list[str] | Json] = {}
        """Those that are part of the answer, by id: pieces of text, or a part of another kind."""
        self._calls: dict[str, Json] = {}

    # --- the task

    def snapshot(self, history_length: int | None, *, has_artifacts: bool) -> Json:
        names = self._names
        shown: Json = {"id": names["taskId"], "contextId": names["contextId"], "status": self._status()}
        if has_artifacts and self._artifacts:
            shown["artifacts"] = [_artifact(name, parts) for name, parts in self._artifacts.items()]
        first = 0 if history_length is None else max(len(self._history) - history_length, 0)
        if history := self._history[first:]:
            shown["history"] = history
        own: Json = {"chatId": self._chat_id} | ({"turnId": self.turn_id} if self.turn_id else {})
        if self._calls:
            own["toolCalls"] = list(self._calls.values())
        return shown | {"metadata": {OWN: own | self.ending()}}

    def drop_content(self) -> None:
        self.is_holding = False
        self._history.clear()
        self._artifacts.clear()
        self._calls.clear()

    def _status(self) -> Json:
        status: Json = {"state": self.state, "timestamp": self.timestamp}
        return status | ({"message": self.message} if self.message is not None else {})

    def ending(self) -> Json:
        """How the turn has ended, and what it has used."""
        usage = {"usage": fields_of(msgspec.to_builtins(self.usage))} if self.usage != NO_USAGE else {}
        return usage | ({"outcome": self.outcome} if self.outcome else {})

    def add_usage(self, usage: Usage) -> None:
        self.usage = self.usage + usage

    # --- status and history

    def set(self, state: str, *, message: Json | None = None, own: Json | None = None) -> Json:
        """Set the status. Its message, if another one or none follows, becomes history."""
        if self.message is not None and self.message is not message:
            self.remember(self.message)
        self.state, self.timestamp, self.message = state, self.at or self.timestamp, message
        update: Json = {**self._names, "status": self._status()} | ({"metadata": {OWN: own}} if own else {})
        return {"statusUpdate": update}

    def note(self, own: Json) -> Json:
        """An update that leaves the state as it is."""
        return self.set(self.state, message=self.message, own=own)

    def remember(self, message: Json | None) -> None:
        if message is not None and self.is_holding:
            self._history.append(message)

    def begin_history(self, message: Json) -> None:
        """The message that begins the task, also in place of an earlier version of it."""
        self._history = [message] if self.is_holding else []

    @property
    def first_name(self) -> str:
        """The id of the message that begins the task; empty if it is not held."""
        return str(self._history[0]["messageId"]) if self._history else ""

    def user_message(self, message: Json, place: int | str) -> Json:
        """A message of a user, as in an event. `place` names one that no client has named."""
        content = convert(message.get("content") or (), tuple[Part, ...])
        name = message.get("client_message_id") or message_id(self._chat_id, place)
        parts = parts_json(content, self.base_url) or [REMOVED]
        return {"messageId": name, **self._names, "role": "ROLE_USER", "parts": parts}

    def answer(self, value: Any, place: int | str) -> Json:
        """What a user has answered: a text, or a value."""
        part = {"text": value} if isinstance(value, str) else {"data": value, "mediaType": "application/json"}
        name = message_id(self._chat_id, place)
        return {"messageId": name, **self._names, "role": "ROLE_USER", "parts": [part]}

    def agent_message(self, parts: list[Json], place: int | str) -> Json:
        name = message_id(self._chat_id, place)
        return {"messageId": name, **self._names, "role": "ROLE_AGENT", "parts": parts}

    # --- artifacts

    def update(self, name: str, part: Json, *, append: bool = False, last: bool = False) -> Json:
        flags = ({"append": True} if append else {}) | ({"lastChunk": True} if last else {})
        return {"artifactUpdate": {**self._names, **flags, "artifact": {"artifactId": name, "parts": [part]}}}

    def begin_text(self, name: str) -> None:
        if self.is_holding:
            self._artifacts[name] = []

    def add_text(self, name: str, text: str) -> None:
        """While `is_holding`."""
        held = self._artifacts[name]
        assert isinstance(held, list)
        held.append(text)

    def put(self, name: str, part: Json) -> Json:
        """An artifact that comes at once, or replaces what was sent of it."""
        if self.is_holding:
            self._artifacts[name] = part
        return self.update(name, part, last=True)

    def abandon(self, name: str) -> Json:
        """An artifact is not part of the answer any more."""
        self._artifacts.pop(name, None)
        update = self.update(name, {"text": ""}, last=True)
        update["artifactUpdate"]["artifact"]["metadata"] = {OWN: {"abandoned": True}}
        return update

    # --- calls

    def add_call(self, call: Json) -> None:
        if self.is_holding:
            self._calls[call["toolCallId"]] = call

    def end_call(self, call_id: str, done: Json) -> None:
        if (call := self._calls.get(call_id)) is not None:
            self._calls[call_id] = call | done

    def restart(self) -> list[Json]:
        """Only the message that begins the task stays."""
        taken = [self.abandon(name) for name in list(self._artifacts)]
        self._calls.clear()
        del self._history[1:]
        self.message, self.outcome, self.usage = None, "", NO_USAGE
        return taken


def _artifact(name: str, parts: list[str] | Json) -> Json:
    whole = {"text": "".join(parts)} if isinstance(parts, list) else parts
    return {"artifactId": name, "parts": [whole]}
