"""The view of a chat: the fold of the events of its stream, for clients, APIs and tests.

A view is the state after the facts plus the open draft. A fact that closes the draft clears it; the committed
message replaces it.
"""

from __future__ import annotations

from typing import Any

from antiphon.core.draft import Draft
from antiphon.core.events import Bye, CaughtUp, Delta, Event, FactEvent, Notice, OpenDraft, Resync
from antiphon.errors import PeerError


class View:
    """Call `apply` with every event in order; read the attributes to show the chat.

    `messages` and `queued_messages` are JSON objects as the stream sends them, oldest first. `draft` is the message
    being written (`draft.content()`, `draft.text()`). `open_calls` are the tool calls that are waiting for a client's
    answer. `cursor` is where to resume.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.status = ""
        self.messages: list[dict[str, Any]] = []
        self.queued_messages: list[dict[str, Any]] = []
        self.has_more = False
        self.draft = Draft(0)
        self.title = ""
        self.turn_id: int | None = None
        self.open_calls: list[dict[str, Any]] = []
        self.last_error: dict[str, Any] | None = None
        self.retry: dict[str, Any] | None = None
        self.notice: Notice | None = None
        """The last report of a foreign peer, until the next fact. The store does not have it."""
        self.is_caught_up = False
        self.is_deleted = False
        self.may_have_gaps = False
        """Whether events may be missing, because the instance has no log to fill gaps from."""
        self.bye: str | None = None

    @property
    def cursor(self) -> str:
        return f"{self.seq}.{self.draft.position}"

    def apply(self, event: Event) -> None:
        """Apply one event. Raises `PeerError` if facts or deltas have a gap."""
        if isinstance(event, Delta):
            self._delta(event)
        elif isinstance(event, FactEvent):
            self._fact(event)
        elif isinstance(event, Resync):
            self._resync(event)
        elif isinstance(event, CaughtUp):
            self.is_caught_up = True
        elif isinstance(event, Notice):
            self.notice = event
        elif isinstance(event, Bye):
            self.bye = event.reason

    def _delta(self, delta: Delta) -> None:
        if delta.draft < self.draft.name:
            return
        if delta.draft > self.draft.name or not self.draft.apply(delta):
            raise PeerError(f"a gap: delta {delta.draft}.{delta.from_} after {self.draft.name}.{self.draft.position}")

    def _fact(self, event: FactEvent) -> None:
        if event.seq <= self.seq:
            return
        if event.seq != self.seq + 1 and event.type != "chat_deleted":
            raise PeerError(f"a gap: fact {event.seq} after {self.seq}")
        self.seq = event.seq
        self.status = event.status
        self.notice = None
        if event.draft != self.draft.name:
            self.draft = Draft(event.draft)
        handler = getattr(self, "_on_" + event.type, None)
        if handler is not None:
            handler(event.data)
        if self.status != "requires_action":
            self.open_calls = []

    def _resync(self, event: Resync) -> None:
        self.seq = event.chat["seq"]
        self.status = event.chat["status"]
        self.title = event.chat["title"]
        self.turn_id = event.chat.get("turn_id")
        self.open_calls = list(event.chat.get("open_calls", ()))
        self.messages = list(event.messages)
        self.queued_messages = list(event.queued_messages)
        self.has_more = event.has_more
        self.draft = _open_draft(event.open_draft)
        self.last_error = {"message": event.chat["last_error"]} if event.chat.get("last_error") else None
        self.retry = self.notice = None
        self.is_caught_up = False
        self.may_have_gaps = event.may_have_gaps

    # --- facts

    def _on_chat_created(self, data: dict[str, Any]) -> None:
        self.title = data.get("title", "")

    def _on_message_appended(self, data: dict[str, Any]) -> None:
        message = data["message"]
        self.messages.append(message)
        self._drop_queued(data.get("queued_id"))
        if message["role"] == "user":
            self.turn_id = message["turn_id"]
            self.last_error = None
        self.retry = None

    def _on_message_queued(self, data: dict[str, Any]) -> None:
        item = data["queued_message"]
        self.queued_messages.append(item)
        self.queued_messages.sort(key=_queue_part)

    def _on_queued_message_edited(self, data: dict[str, Any]) -> None:
        for i, item in enumerate(self.queued_messages):
            if item["id"] == data["queued_id"]:
                self.queued_messages[i] = item | {"content": data["content"]}

    def _on_queued_message_deleted(self, data: dict[str, Any]) -> None:
        self._drop_queued(data["queued_id"])

    def _on_queue_moved(self, data: dict[str, Any]) -> None:
        item = self._drop_queued(data["queued_id"])
        if item is None:
            return
        before = data.get("before")
        place = next((i for i, other in enumerate(self.queued_messages) if other["id"] == before), None)
        self.queued_messages.insert(len(self.queued_messages) if place is None else place, item)
        self.queued_messages.sort(key=_queue_part)

    def _on_queued_message_promoted(self, data: dict[str, Any]) -> None:
        item = self._drop_queued(data["queued_id"])
        if item is not None:
            self.queued_messages.append(item | {"promoted": True, "when_busy": "queue"})
            self.queued_messages.sort(key=_queue_part)

    def _drop_queued(self, queued_id: int | None) -> dict[str, Any] | None:
        for i, item in enumerate(self.queued_messages):
            if item["id"] == queued_id:
                return self.queued_messages.pop(i)
        return None

    def _on_history_truncated(self, data: dict[str, Any]) -> None:
        self.messages = [message for message in self.messages if message["id"] < data["from_message_id"]]

    def _on_turn_restarted(self, data: dict[str, Any]) -> None:
        self.turn_id = data["turn_id"]
        self.last_error = None

    def _on_retry_scheduled(self, data: dict[str, Any]) -> None:
        self.retry = data

    def _on_attempt_started(self, data: dict[str, Any]) -> None:
        self.retry = None

    def _on_action_required(self, data: dict[str, Any]) -> None:
        self.open_calls = [call | {"deadline": data["deadline"]} for call in data["calls"]]

    def _on_action_resolved(self, data: dict[str, Any]) -> None:
        self.open_calls = [call for call in self.open_calls if call["tool_call_id"] != data["tool_call_id"]]

    def _on_turn_ended(self, data: dict[str, Any]) -> None:
        self.turn_id = None
        self.retry = None
        self.last_error = data.get("error")

    def _on_title_changed(self, data: dict[str, Any]) -> None:
        self.title = data["title"]

    def _on_chat_deleted(self, data: dict[str, Any]) -> None:
        self.is_deleted = True
        self.messages = []
        self.queued_messages = []


def _queue_part(item: dict[str, Any]) -> int:
    """Sort key: steering first, then promoted messages, then the rest. The sort is stable."""
    if item.get("when_busy") == "steer":
        return 0
    return 1 if item.get("promoted") else 2


def _open_draft(open_draft: OpenDraft) -> Draft:
    draft = Draft(open_draft.draft)
    for delta in open_draft.parts:
        draft.apply(delta)
    return draft
