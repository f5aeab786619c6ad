"""The events of a stream as text: a line for each fact, and the text of the draft as it is streamed."""

from __future__ import annotations

from typing import Any

from antiphon.cli.clean import clean_line, clean_text, shorten
from antiphon.cli.content_text import content_text
from antiphon.cli.transcript import GAPS, notice_words
from antiphon.core.events import Bye, Delta, Event, FactEvent, Notice, Resync
from antiphon.core.parts import Text, ToolCallOpened

LINE_MAX = 200
"""Maximum length of the summary of a fact, in characters."""


class EventText:
    """`text(event)` is the text to print. It tracks whether the last printed line is complete."""

    def __init__(self) -> None:
        self._is_line_open = False

    def text(self, event: Event) -> str:
        if isinstance(event, Delta):
            return self._words(event)
        line = self._line(event)
        if not line:
            return ""
        begin, self._is_line_open = "\n" if self._is_line_open else "", False
        return f"{begin}{line}\n"

    def _words(self, delta: Delta) -> str:
        part = delta.part
        if isinstance(part, Text):
            words = clean_text(part.text)
            self._is_line_open = not words.endswith("\n") if words else self._is_line_open
            return words
        if isinstance(part, ToolCallOpened):
            begin, self._is_line_open = "\n" if self._is_line_open else "", False
            return f"{begin}[calls {clean_line(part.tool_name)}]\n"
        return ""

    def _line(self, event: Event) -> str:
        if isinstance(event, FactEvent):
            return f"{event.seq:>5}  {event.type:<24} {_about(event.type, event.data)}".rstrip()
        if isinstance(event, Resync):
            title = clean_line(event.chat["title"]) or "Untitled chat"
            head = f"{title} ({event.chat['status']}, {event.chat['seq']} facts)"
            begun = "".join(clean_text(d.part.text) for d in event.open_draft.parts if isinstance(d.part, Text))
            gaps = f"\n({GAPS})" if event.may_have_gaps else ""
            return f"{head}{gaps}\n{begun}".rstrip("\n")
        if isinstance(event, Notice):
            return f"({notice_words(event)})"
        if isinstance(event, Bye):
            return f"(the stream has ended: {event.reason})"
        return ""


def _about(kind: str, data: dict[str, Any]) -> str:
    """A summary of a fact, on one line."""
    match kind:
        case "message_appended":
            message = data["message"]
            return f"{message['role']}: {shorten(content_text(message.get('content', [])), LINE_MAX)}"
        case "message_queued":
            return shorten(content_text(data["queued_message"]["content"]), LINE_MAX)
        case "turn_ended":
            error = data.get("error") or {}
            return f"{data['outcome']}{': ' + clean_line(error.get('message', '')) if error else ''}"
        case "retry_scheduled":
            return f"{clean_line(data['error'])}; again in {data['delay_ms'] / 1000:g} s (try {data['tries']})"
        case "history_truncated":
            return f"from #{data['from_message_id']} on"
        case "action_required":
            return ", ".join(f"{clean_line(call['tool_name'])}: {call['needs']}" for call in data["calls"])
    words = (f"{name}={value}" for name, value in data.items() if value not in (None, ""))
    return shorten(" ".join(words), LINE_MAX)
