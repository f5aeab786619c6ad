"""What an editor's session must know of its chat: the turn, the open calls, the draft, the model."""

from __future__ import annotations

from typing import Any

from antiphon.core.events import Delta, Event, FactEvent, Resync


class ChatState:
    """The fold of the events of a chat that are needed to act on it."""

    def __init__(self) -> None:
        self.seq = 0
        self.status = ""
        self.turn_id: int | None = None
        self.open_calls: list[dict[str, Any]] = []
        self.model = ""
        self.draft = 0
        self.position = 0
        """How much of the draft was received."""
        self.last_message_id = 0

    def apply(self, event: Event) -> None:
        if isinstance(event, Delta):
            if event.draft == self.draft:
                self.position = max(self.position, event.to)
        elif isinstance(event, FactEvent):
            self._fact(event)
        elif isinstance(event, Resync):
            self._resync(event)

    def begin(self, turn_id: int) -> None:
        """The chat was created with its first message."""
        self.seq = self.turn_id = self.draft = self.last_message_id = turn_id
        self.status = "running"

    def set_model(self, model: str) -> None:
        """The editor has changed the model itself."""
        self.model = model

    def _fact(self, event: FactEvent) -> None:
        data = event.data
        self.seq, self.status = event.seq, event.status
        if event.draft != self.draft:
            self.draft, self.position = event.draft, 0
        match event.type:
            case "message_appended":
                self.last_message_id = event.seq
                if data["message"]["role"] == "user":
                    self.turn_id = data["message"]["turn_id"]
            case "turn_restarted":
                self.turn_id = data["turn_id"]
            case "turn_ended":
                self.turn_id = None
            case "action_required":
                self.open_calls = [call | {"deadline": data["deadline"]} for call in data["calls"]]
            case "action_resolved":
                resolved = data["tool_call_id"]
                self.open_calls = [call for call in self.open_calls if call["tool_call_id"] != resolved]
            case "model_changed":
                self.model = data["model"]
        if event.status != "requires_action":
            self.open_calls = []

    def _resync(self, event: Resync) -> None:
        chat = event.chat
        self.seq, self.status, self.turn_id = chat["seq"], chat["status"], chat.get("turn_id")
        self.open_calls, self.model = list(chat.get("open_calls", ())), chat.get("model", "")
        self.draft, self.position = event.open_draft.draft, event.open_draft.to
        if event.messages:
            self.last_message_id = event.messages[-1]["id"]
