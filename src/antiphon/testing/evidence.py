"""What a trial leaves for the checker: what was sent and answered, watched, seen by the model, and read last."""

from __future__ import annotations

from typing import Any

from antiphon.core.events import Event
from antiphon.core.values import Value


class Sent(Value):
    """One send of a client: `answer` None where none came (the connection broke)."""

    chat_id: str
    client_message_id: str
    text: str
    status: int = 0
    answer: dict[str, Any] | None = None

    @property
    def is_acked(self) -> bool:
        return self.answer is not None and 200 <= self.status < 300


class Interrupted(Value):
    """One interrupt that was acknowledged; `at` is when (seconds, monotonic)."""

    chat_id: str
    turn_id: int
    was_interrupted: bool
    seq: int
    at: float


class Watched(Value):
    """What one watcher received over all of its connections: (event, seconds monotonic), in order.

    `breaks` are the places (indexes) at which it came back with its cursor.
    """

    chat_id: str
    events: list[tuple[Event, float]]
    breaks: list[int] = []


class ModelCall(Value):
    """One request the model server saw: its number, the tokens it sent in answer, and (if known) for which chat."""

    number: int
    tokens: tuple[str, ...]
    chat_id: str = ""


class ToolRun(Value):
    """One run of a tool's function."""

    chat_id: str
    tool_call_id: str


class FinalChat(Value):
    """The last look at a chat: the Chat, all messages, the queue, and its whole log told from the beginning."""

    chat_id: str
    chat: dict[str, Any]
    messages: list[dict[str, Any]]
    queued_messages: list[dict[str, Any]]
    log: list[Event]


class Evidence(Value):
    """Everything the checker looks at."""

    sent: list[Sent]
    interrupted: list[Interrupted]
    watched: list[Watched]
    model_calls: list[ModelCall]
    final: list[FinalChat]
    tool_runs: list[ToolRun] = []
    idempotent_tools: frozenset[str] = frozenset()
    is_stop_timed: bool = True
    stop_s: float = 3.0
    """An acknowledged stop must end its turn within so many seconds, where it is timed."""
    stuck_s: float = 15.0
    """A turn that wants a worker must have one within so many seconds (of which the server may be away some)."""
