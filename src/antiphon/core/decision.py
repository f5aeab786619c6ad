"""A decision in the making: the facts decided so far and the chat after them.

A rule adds facts one at a time and reads the resulting chat in between. The steps that people's and workers'
commands share are methods here: delivering queued messages, resolving open tool calls, and ending a turn.
"""

from __future__ import annotations

import msgspec

from antiphon.core import facts as f
from antiphon.core.evolve import evolve
from antiphon.core.model import Call, Chat, ErrorInfo, Outcome, Queued
from antiphon.core.model_usage import ModelUsage, added
from antiphon.core.parts import NO_USAGE, Role, ToolResult, Usage


class Decision:
    """Starts from `chat` (None: not yet created); `add` appends a fact with the time `at`, in microseconds."""

    __slots__ = ("_chat", "at", "entries")

    def __init__(self, chat: Chat | None, at: int) -> None:
        self._chat = chat
        self.at = at
        self.entries: list[f.Entry] = []

    @property
    def chat(self) -> Chat:
        assert self._chat is not None, "the chat exists from its first fact on"
        return self._chat

    @property
    def next_seq(self) -> int:
        return self._chat.seq + 1 if self._chat else 1

    def add(self, fact: f.Fact) -> None:
        recorded = f.Recorded(self.next_seq, self.at, fact)
        self._chat = chat = evolve(self._chat, recorded)
        content = fact.content or None if isinstance(fact, f.WITH_CONTENT) else None
        self.entries.append(f.Entry(recorded=recorded, status=chat.status, draft=chat.draft, content=content))

    # --- steps that several rules share

    def append_user_message(
        self,
        content: bytes,
        *,
        client_message_id: str = "",
        model: str = "",
        by: str = "",
        trace: str = "",
        via: str = "",
    ) -> None:
        """Start a turn with a new message."""
        self.add(
            f.MessageAppended(
                role=Role.USER,
                turn_id=self.next_seq,
                content=content,
                content_size=len(content),
                client_message_id=client_message_id,
                model=model,
                created_by=by,
                trace=trace,
                via=via,
            )
        )

    def deliver(self, item: Queued) -> None:
        """Move a queued message into the history: it joins the turn in progress, or starts a new turn."""
        self.add(
            f.MessageAppended(
                role=Role.USER,
                turn_id=self.chat.turn_id or self.next_seq,
                content_seq=item.content_seq,
                content_size=item.content_size,
                queued_id=item.id,
                client_message_id=item.client_message_id,
                model=item.model,
                created_by=item.created_by,
                trace=item.trace,
                via=item.via,
            )
        )

    def deliver_steering(self) -> None:
        for item in self.chat.steering:
            self.deliver(item)

    def deliver_next(self) -> None:
        """Deliver all steering messages as one turn, else the head of the queue."""
        if self.chat.steering:
            self.deliver_steering()
        elif self.chat.queue:
            self.deliver(self.chat.queue[0])

    def close_calls(self, why: str) -> None:
        """Resolve every open call with an error, so that a user message may follow."""
        for call in self.chat.calls:
            self.resolve_with_error(call, why)

    def resolve_with_error(self, call: Call, why: str) -> None:
        self.resolve(call, content_of_error(call, why))

    def resolve(self, call: Call, content: bytes) -> None:
        self.add(
            f.MessageAppended(
                role=Role.TOOL,
                turn_id=self.chat.turn_id,
                content=content,
                content_size=len(content),
                resolves=call.tool_call_id,
            )
        )

    def append_unfinished(self, content: bytes) -> None:
        """Store the beginning that an earlier attempt left as a message: the turn ends, so no model goes on from it.
        It was the text of a draft that is closed already."""
        self.add(
            f.MessageAppended(
                role=Role.ASSISTANT,
                turn_id=self.chat.turn_id,
                content=content,
                content_size=len(content),
                interrupted=True,
            )
        )

    def end_turn(
        self,
        outcome: Outcome,
        *,
        error: ErrorInfo | None = None,
        usage: Usage = NO_USAGE,
        used: tuple[ModelUsage, ...] = (),
    ) -> None:
        """End the turn. After `answered` and `interrupted`, the same append delivers the next queued message.

        Args:
            outcome: How it ends.
            error: Why it failed.
            usage: What it has used that no fact has yet.
            used: The same by model.
        """
        chat = self.chat
        self.add(
            f.TurnEnded(
                turn_id=chat.turn_id,
                outcome=outcome,
                error=error,
                usage=chat.turn_usage + usage,
                used=added(chat.turn_used, used),
            )
        )
        if outcome in (Outcome.ANSWERED, Outcome.INTERRUPTED):
            self.deliver_next()


RESULTS = {
    "cancelled": "The call was cancelled before it finished.",
    "unknown": "The worker was lost while this call ran; whether it took effect is unknown.",
    "expired": "No answer arrived before the deadline.",
    "denied": "The call was denied.",
}


def content_of_error(call: Call, why: str, detail: str = "") -> bytes:
    """The content of a tool message that reports why the call has no result of its own."""
    sentence = RESULTS[why] + (f" {detail}" if detail else "")
    part = ToolResult(
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        result={"error": why, "message": sentence},
        is_error=True,
    )
    return msgspec.json.encode([part])
