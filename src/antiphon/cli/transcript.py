"""From the events of a stream to the final and the changing text of a chat, without a terminal."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from antiphon.cli.clean import clean_line, clean_text
from antiphon.cli.content_text import call_text, content_text, outcome_text, part_text, summary
from antiphon.cli.markdown_blocks import finished_length
from antiphon.core.events import Delta, Event, FactEvent, Notice, Resync
from antiphon.core.parts import Reasoning, Text, ToolCallOpened, ToolProgress
from antiphon.core.view import View
from antiphon.wire.typed_answers import question_of

RESUMED_MAX = 10
"""Maximum number of earlier messages that are shown of a continued chat."""

GAPS = "this server has no log: lost events are not recovered"


def notice_words(notice: Notice) -> str:
    """A foreign peer's report, on one line."""
    words = clean_line(notice.words)
    return f"another program retries: {words}" if notice.kind == "retry" else f"another program reports: {words}"


RESULTS_MAX = 256
"""Maximum number of messages that are searched for the last answer and the results of its calls."""


class Kind(StrEnum):
    """How a piece is printed."""

    ANSWER = "answer"
    USER = "user"
    NOTE = "note"
    ERROR = "error"


class Piece(NamedTuple):
    """A piece of final text; an answer's text is Markdown."""

    kind: Kind
    text: str


class Transcript:
    """Call `apply` with every event and print the pieces that it returns. `advance` returns the finished blocks of
    the draft; `tail` is the rest of the draft."""

    def __init__(self) -> None:
        self.view = View()
        self.activity = ""
        self._printed = ""
        self._text: str | None = ""

    @property
    def is_busy(self) -> bool:
        return self.view.status in ("running", "interrupting", "requires_action")

    @property
    def tail(self) -> str:
        """The text of the answer that is not printed yet."""
        return clean_text(self._written()[len(self._printed) :])

    def apply(self, event: Event) -> list[Piece]:
        """Apply an event. Returns the final text that it adds."""
        draft = self.view.draft.name
        self.view.apply(event)
        self._text = None
        if isinstance(event, Delta):
            self._note_activity(event)
            return []
        if isinstance(event, Resync):
            self._printed = ""
            pieces = [Piece(Kind.NOTE, f"({GAPS})")] if event.may_have_gaps else []
            pieces += [piece for message in event.messages[-RESUMED_MAX:] for piece in self._message(message)]
            return pieces + [Piece(Kind.NOTE, _waits_for(call)) for call in self.view.open_calls]
        if isinstance(event, Notice):
            return [Piece(Kind.NOTE, f"({notice_words(event)})")]
        if not isinstance(event, FactEvent):
            return []
        pieces = self._fact(event)
        if self.view.draft.name != draft:
            self.activity = ""
            if self._printed:
                pieces.insert(0, Piece(Kind.NOTE, "(the partial answer above is dropped; the answer restarts)"))
                self._printed = ""
        return pieces

    def advance(self) -> list[Piece]:
        """The newly finished blocks of the draft."""
        written = self._written()
        length = finished_length(written, len(self._printed))
        block, self._printed = written[len(self._printed) : length], written[:length]
        return [Piece(Kind.ANSWER, clean_text(block))] if block.strip() else []

    @property
    def running_tools(self) -> list[str]:
        """The names of the running tools: calls of the last answer that have no result yet."""
        if self.view.status != "running":
            return []
        left: dict[str, str] = {}
        for message in self.view.messages[-RESULTS_MAX:]:
            if message["role"] == "assistant":
                left = {}
            for part in message.get("content", ()):
                if part.get("type") == "tool-call":
                    left[part["tool_call_id"]] = clean_line(part["tool_name"])
                elif part.get("type") == "tool-result":
                    left.pop(part["tool_call_id"], None)
        return list(left.values())

    def _written(self) -> str:
        if self._text is None:
            self._text = self.view.draft.text()
        return self._text

    def _note_activity(self, delta: Delta) -> None:
        match delta.part:
            case Text():
                self.activity = ""
            case Reasoning():
                self.activity = "thinking"
            case ToolCallOpened(tool_name=name):
                self.activity = f"calling {clean_line(name)}"
            case ToolProgress(text=text):
                self.activity = clean_line(text)

    def _fact(self, event: FactEvent) -> list[Piece]:
        data = event.data
        match event.type:
            case "message_appended":
                return self._message(data["message"])
            case "history_truncated":
                return [Piece(Kind.NOTE, "(the history was changed from here on)")]
            case "retry_scheduled":
                again = f"retrying in {data['delay_ms'] / 1000:.1f} s"
                return [Piece(Kind.NOTE, f"({clean_line(data['error'])}; {again})")]
            case "attempt_lost":
                return [Piece(Kind.NOTE, "(the worker was lost; another one continues)")]
            case "turn_ended":
                return self._ended(data)
            case "action_required":
                return [Piece(Kind.NOTE, _waits_for(call)) for call in data["calls"]]
            case "chat_deleted":
                return [Piece(Kind.NOTE, "(the chat was deleted)")]
        return []

    def _ended(self, data: dict[str, Any]) -> list[Piece]:
        if data["outcome"] == "failed":
            error = data.get("error") or {}
            return [Piece(Kind.ERROR, f"The turn failed: {clean_line(error.get('message', ''))}")]
        return [Piece(Kind.NOTE, "(interrupted)")] if data["outcome"] == "interrupted" else []

    def _message(self, message: dict[str, Any]) -> list[Piece]:
        content = message.get("content", [])
        if message["role"] == "user":
            return [Piece(Kind.USER, content_text(content))]
        if message["role"] == "assistant":
            outcome = outcome_text(message)
            return self._answer(content) + ([Piece(Kind.NOTE, f"({outcome})")] if outcome else [])
        results = [part for part in content if part.get("type") == "tool-result"]
        return [Piece(Kind.NOTE, f"  → {summary(part.get('result'))}") for part in results]

    def _answer(self, content: list[dict[str, Any]]) -> list[Piece]:
        """The rest of a committed answer: a prefix of it, possibly the whole, was printed from the draft."""
        text = "".join(part["text"] for part in content if part.get("type") == "text")
        pieces = []
        if text.startswith(self._printed):
            rest, self._printed = text[len(self._printed) :], ""
        else:
            rest = text
        if rest.strip():
            pieces.append(Piece(Kind.ANSWER, clean_text(rest)))
        for part in content:
            if part.get("type") == "data":
                pieces.append(Piece(Kind.ANSWER, f"```json\n{part_text(part)}\n```\n"))
            elif part.get("type") == "tool-call":
                pieces.append(Piece(Kind.NOTE, f"  {call_text(part)}"))
        return pieces


def _waits_for(call: dict[str, Any]) -> str:
    if call["needs"] == "approval":
        return f"(waiting for approval: {call_text(call)})"
    if question := question_of(call):
        return f"(waiting for an answer: {clean_line(question)})"
    return f"(waiting for a client's result: {call_text(call)})"


def working_words(transcript: Transcript) -> str:
    """The activity of a running turn, for the line below the answer; empty while text is streamed."""
    if transcript.activity or transcript.tail:
        return transcript.activity
    tools = transcript.running_tools
    return f"running {', '.join(tools)}" if tools else "waiting for the model"
