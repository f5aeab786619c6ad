"""The records of a trial for the checker: sends, interrupts, watched events, model calls, and the final state."""

from __future__ import annotations

from typing import Any

from antiphon.core.events import Event
from antiphon.core.values import Value


class Sent(Value):
    """One send of a client. `answer` is None if the connection was lost."""

    chat_id: str
    client_message_id: str
    text: str
    status: int = 0
    answer: dict[str, Any] | None = None

    @property
    def is_acked(self) -> bool:
        return self.answer is not None and 200 <= self.status < 300


class Interrupted(Value):
    """An acknowledged interrupt; `at` is its time, in seconds of the monotonic clock."""

    chat_id: str
    turn_id: int
    was_interrupted: bool
    seq: int
    at: float


class Watched(Value):
    """The events that one watcher received over all of its connections, each with its time in seconds of the
    monotonic clock. `breaks` are the indexes at which it reconnected with its cursor."""

    chat_id: str
    events: list[tuple[Event, float]]
    breaks: list[int] = []


class ModelCall(Value):
    """A request that the model server received: its number, the tokens of its answer, and the chat if it is known.
    `beginning` is the text from which it was to go on, `canaries` are those in its prompt."""

    number: int
    tokens: tuple[str, ...]
    chat_id: str = ""
    beginning: str = ""
    canaries: frozenset[str] = frozenset()


class ToolRun(Value):
    """One run of a tool's function. `canaries` are those in its arguments."""

    chat_id: str
    tool_call_id: str
    tool_name: str = ""
    canaries: frozenset[str] = frozenset()


class FinalChat(Value):
    """The final state of a chat: the Chat, all messages, the queue, and the whole log from the first fact."""

    chat_id: str
    chat: dict[str, Any]
    messages: list[dict[str, Any]]
    queued_messages: list[dict[str, Any]]
    log: list[Event]


class Evidence(Value):
    """All records of a trial."""

    sent: list[Sent]
    interrupted: list[Interrupted]
    watched: list[Watched]
    model_calls: list[ModelCall]
    final: list[FinalChat]
    tool_runs: list[ToolRun] = []
    idempotent_tools: frozenset[str] = frozenset()
    denied_calls: frozenset[tuple[str, str]] = frozenset()
    """The calls that a person has denied, each a chat and a tool call id."""
    canaries: dict[str, str] = {}
    """By chat, the canary of its owner; empty: the trial has none."""
    is_stop_timed: bool = True
    stop_s: float = 3.0
    """How long a turn may continue after an acknowledged interrupt, in seconds, if `is_stop_timed`."""
    stuck_s: float = 15.0
    """How long a turn may wait for a worker, in seconds, restarts of the server included."""
