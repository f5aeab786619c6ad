"""Follows what becomes of one message: it waits in the queue, joins or starts a turn, and is answered.

A caller gets one status, and not each event. So the status is a function of the chat's facts up to now, however
they are delivered, and a second call gets what the first one would have got.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antiphon.core.events import CaughtUp, Event, FactEvent
from antiphon.core.parts import Part, Text
from antiphon.errors import one_line
from antiphon.wire.codec import convert
from antiphon.wire.mcp_server.content import Budget, attachments_of, open_call_results
from antiphon.wire.mcp_server.tools import AnswerResult, AnswerStatus
from antiphon.wire.queued_message import Delivered, Removed, queue_outcome
from antiphon.wire.stream import OpenCall
from antiphon.wire.turn_output import (
    CallDone,
    CallMade,
    CallProgress,
    MessageDone,
    Output,
    PartBegun,
    PartDone,
    PartText,
    Restarted,
    Retrying,
    TurnEnd,
    TurnOutput,
)

PROGRESS_MAX = 200
"""Maximum length of what a report of progress says, in characters."""
WAITING = "waiting for the model"

NEXT = {
    AnswerStatus.QUEUED: "Call wait_for_answer with this message_id: the message waits for an earlier answer to end.",
    AnswerStatus.RUNNING: "Call wait_for_answer with this message_id: the answer is still being written.",
    AnswerStatus.REQUIRES_ACTION: "Call answer_call for each of the open calls.",
}
NEXT_BLOCKED = "The chat waits: call answer_call for each of the open calls, then wait_for_answer."
NEXT_FAILED = "The answer before this message has failed: send another message, or stop with clear_queue."


class AnswerFollower:
    """The state of one message, from the events of its chat. Begin with those after the fact before the message."""

    def __init__(self, message_id: int, *, turn_id: int = 0) -> None:
        """`turn_id` 0: the message waits in the queue."""
        self.message_id = message_id
        self.is_deleted = False
        self._output = TurnOutput(turn_id, message_id) if turn_id else None
        self._has_caught_up = False
        self._chat_status = ""
        self._end: TurnEnd | None = None
        self._text = ""
        self._parts: tuple[Part, ...] = ()
        self._draft: list[str] = []
        self._is_prose = False
        self._activity = ""

    def apply(self, event: Event) -> bool:
        """Apply an event; whether the message needs no further wait."""
        if isinstance(event, CaughtUp):
            self._has_caught_up = True
        elif isinstance(event, FactEvent):
            self._chat_status = event.status
            if self._output is None:
                self._note_queued(event)
        if self._output is not None:
            for output in self._output.apply(event):
                self._note(output)
        return self.is_settled

    @property
    def is_settled(self) -> bool:
        """Whether the message is answered, or waits for a client. Facts that are read from the
        store say nothing yet: a turn that failed may have been restarted."""
        if self.is_deleted or (self._output is not None and self._output.is_past):
            return True
        if not self._has_caught_up:
            return False
        is_complete = self._output is not None and self._output.is_complete
        return is_complete or self._chat_status in ("requires_action", "error")

    @property
    def status(self) -> AnswerStatus:
        if self.is_deleted:
            return AnswerStatus.DELETED
        if self._output is None:
            return AnswerStatus.QUEUED
        if self._output.is_complete:
            return AnswerStatus(self._end.outcome) if self._end is not None else AnswerStatus.REPLACED
        is_blocked = self._chat_status == "requires_action"
        return AnswerStatus.REQUIRES_ACTION if is_blocked else AnswerStatus.RUNNING

    @property
    def activity(self) -> str:
        """What is happening, on one line."""
        if self._output is None:
            return "waiting in the queue"
        written = sum(map(len, self._draft))
        if written and not self._activity:
            return f"writing: {written:,} characters"
        return self._activity or WAITING

    def result(self, chat_id: str, open_calls: Iterable[OpenCall]) -> AnswerResult:
        """The result of a call now."""
        budget, status = Budget(), self.status
        calls = open_call_results(open_calls, budget)
        draft = "".join(self._draft)
        answer = budget.text(draft or self._text)
        following = NEXT.get(status, "")
        if status is AnswerStatus.QUEUED and calls:
            following = NEXT_BLOCKED
        elif status is AnswerStatus.QUEUED and self._chat_status == "error":
            following = NEXT_FAILED
        error = self._end.error if self._end is not None and status is AnswerStatus.FAILED else None
        attachments = [] if draft else attachments_of(self._parts, budget)
        return AnswerResult(
            chat_id=chat_id,
            status=status,
            message_id=self.message_id,
            answer=answer,
            is_cut=budget.is_cut,
            attachments=attachments,
            open_calls=calls,
            error=str((error or {}).get("message", "")),
            next=following,
        )

    def _note_queued(self, event: FactEvent) -> None:
        """What becomes of a message that waits."""
        if event.type == "chat_deleted":
            self.is_deleted = True
        match queue_outcome(event, self.message_id):
            case Delivered(turn_id, seq):
                self._output = TurnOutput(turn_id, seq)
            case Removed():
                self.is_deleted = True

    def _note(self, output: Output) -> None:
        match output:
            case PartText(text=text):
                if self._is_prose:
                    self._draft.append(text)
            case PartBegun(kind=kind):
                self._is_prose = kind is Text
                self._activity = "" if self._is_prose else "thinking"
                if self._is_prose and self._draft:
                    self._draft.append("\n")
            case PartDone(is_abandoned=True) | Restarted():
                self._draft.clear()
                self._activity = ""
                if isinstance(output, Restarted):
                    self._text, self._parts, self._end = "", (), None
            case MessageDone(message=message):
                self._note_message(message)
            case CallMade(call=call):
                self._activity = one_line(f"running {call.tool_name}", PROGRESS_MAX)
            case CallProgress(text=text):
                self._activity = one_line(text, PROGRESS_MAX)
            case CallDone():
                self._activity = ""
            case Retrying(data=data):
                self._activity = f"the model call failed and is repeated in {data['delay_ms'] / 1000:.1f} s"
            case TurnEnd():
                self._end = output

    def _note_message(self, message: dict[str, Any]) -> None:
        """A message of the assistant is committed. The last one with a text is the answer."""
        self._draft.clear()
        parts = convert(message["content"], tuple[Part, ...])
        if text := "\n".join(part.text for part in parts if isinstance(part, Text)):
            self._text = text
        self._parts = parts
