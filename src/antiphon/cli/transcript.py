"""From the events of a stream to the final and the changing text of a chat, without a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from antiphon.cli.clean import clean_line, clean_text
from antiphon.cli.content_text import content_text, outcome_text, part_text
from antiphon.cli.markdown_blocks import finished_length
from antiphon.cli.thoughts import Thoughts
from antiphon.cli.tool_run import DIFF_LINES_MAX, ToolRun, call_words, seconds_between, seconds_text, tool_run
from antiphon.core.events import Delta, Event, FactEvent, Notice, Resync
from antiphon.core.parts import CallStarted, Reasoning, Text, ToolCallOpened, ToolProgress
from antiphon.core.view import View
from antiphon.wire.typed_answers import question_of

RESUMED_MAX = 10
"""Maximum number of earlier messages that are shown of a continued chat."""

GAPS = "this server has no log: lost events are not recovered"


def notice_words(notice: Notice) -> str:
    """A foreign peer's report, on one line."""
    words = clean_line(notice.words)
    return f"another program retries: {words}" if notice.kind == "retry" else f"another program reports: {words}"


LINE_MAX = 200
"""Width of a tool's line where the terminal's is not known, in cells."""
RESULTS_MAX = 256
"""Maximum number of messages that are searched for the last answer and the results of its calls."""


RUNS_MAX = 100
"""Maximum number of tool calls whose results can be shown in full."""


class Kind(StrEnum):
    """How a piece is printed."""

    ANSWER = "answer"
    USER = "user"
    NOTE = "note"
    ERROR = "error"
    TOOL = "tool"
    DIFF = "diff"
    VERBATIM = "verbatim"


class Piece(NamedTuple):
    """A piece of final text; an answer's text is Markdown. A tool's piece has its `run`, whose line is fitted to the
    width of the terminal; a diff is coloured, and verbatim text is printed as it is."""

    kind: Kind
    text: str
    run: ToolRun | None = None


class Transcript:
    """Call `apply` with every event and print the pieces that it returns. `advance` returns the finished blocks of
    the draft; `tail` is the rest of the draft."""

    def __init__(self, *, announces_calls: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """`announces_calls`: a line is printed for each call that waits; otherwise they are shown in another way."""
        self._announces_calls = announces_calls
        self.view = View()
        self.activity = ""
        self.model = ""
        self.thoughts = Thoughts(clock)
        self.runs: deque[ToolRun] = deque(maxlen=RUNS_MAX)
        self._printed = ""
        self._text: str | None = ""
        self._shown_id = 0
        self._calls: dict[str, dict[str, Any]] = {}
        """The calls without a result, each with `at`: when it began, as far as is known."""

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
            return self._delta(event)
        if isinstance(event, Resync):
            return self._resync(event)
        if isinstance(event, Notice):
            return [Piece(Kind.NOTE, f"({notice_words(event)})")]
        if not isinstance(event, FactEvent):
            return []
        pieces = self._fact(event)
        if self.view.draft.name != draft:
            self.activity = ""
            self.thoughts.on_dropped()
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

    def _resync(self, event: Resync) -> list[Piece]:
        """The messages that were not shown yet; at the beginning the last ones."""
        self._printed = ""
        self.thoughts.on_dropped()
        pieces = [Piece(Kind.NOTE, f"({GAPS})")] if event.may_have_gaps else []
        messages = [message for message in event.messages if message["id"] > self._shown_id]
        if not self._shown_id:
            pieces += self._earlier(event, len(messages))
            for message in messages[:-RESUMED_MAX]:
                self._message(message)  # its calls may get their results later
            messages = messages[-RESUMED_MAX:]
        pieces += [piece for message in messages for piece in self._message(message)]
        return pieces + self._waiting(self.view.open_calls)

    def _earlier(self, event: Resync, count: int) -> list[Piece]:
        if count <= RESUMED_MAX and not event.has_more:
            return []
        return [
            Piece(Kind.NOTE, f"(the last {min(RESUMED_MAX, count)} messages; `antiphon show` has the earlier ones)")
        ]

    def _delta(self, delta: Delta) -> list[Piece]:
        """Note what the model does. Returns the line that ends its thinking."""
        match delta.part:
            case Reasoning():
                rest = [] if self.thoughts.is_thinking else self._flush()
                self.thoughts.on_reasoning()
                self.activity = "thinking"
                return rest
            case CallStarted(model=model):
                self.model = clean_line(model) or self.model
                return []
            case Text():
                self.activity = ""
            case ToolCallOpened(tool_name=name):
                self.activity = f"calling {clean_line(name)}"
            case ToolProgress(text=text):
                self.activity = clean_line(text)
        ended = self.thoughts.on_other()
        return [Piece(Kind.NOTE, ended)] if ended else []

    def _flush(self) -> list[Piece]:
        """The text of the draft that is not printed yet, so that what follows is printed below it."""
        written = self._written()
        rest, self._printed = written[len(self._printed) :], written
        return [Piece(Kind.ANSWER, clean_text(rest))] if rest.strip() else []

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
                return [Piece(Kind.NOTE, "(the server stopped in between; the answer goes on)")]
            case "turn_ended":
                return self._ended(data)
            case "action_required":
                return self._waiting(data["calls"])
            case "action_resolved":
                self._calls.get(data["tool_call_id"], {})["at"] = event.at
            case "chat_deleted":
                return [Piece(Kind.NOTE, "(the chat was deleted)")]
        return []

    def _waiting(self, calls: list[dict[str, Any]]) -> list[Piece]:
        return [Piece(Kind.NOTE, _waits_for(call)) for call in calls] if self._announces_calls else []

    def _ended(self, data: dict[str, Any]) -> list[Piece]:
        if data["outcome"] == "failed":
            error = data.get("error") or {}
            return [Piece(Kind.ERROR, f"The turn failed: {clean_line(error.get('message', ''))}")]
        return [Piece(Kind.NOTE, "(interrupted)")] if data["outcome"] == "interrupted" else []

    def _message(self, message: dict[str, Any]) -> list[Piece]:
        content = message.get("content", [])
        self._shown_id = max(self._shown_id, message["id"])
        if message["role"] == "user":
            return [Piece(Kind.USER, content_text(content))]
        if message["role"] == "assistant":
            self.model = clean_line(message.get("model", "")) or self.model  # its deltas may have been missed
            thought = self.thoughts.on_message(content)
            outcome = outcome_text(message)
            self._calls = {
                part["tool_call_id"]: part | {"at": message.get("created_at", "")}
                for part in content
                if part.get("type") == "tool-call"
            }
            pieces = [Piece(Kind.NOTE, thought)] if thought else []
            return pieces + self._answer(content) + ([Piece(Kind.NOTE, f"({outcome})")] if outcome else [])
        results = [part for part in content if part.get("type") == "tool-result"]
        return [piece for part in results for piece in self._result(part, message.get("created_at", ""))]

    def _result(self, part: dict[str, Any], at: str) -> list[Piece]:
        """The line of a finished call, and the diff that it returned."""
        call = self._calls.pop(part["tool_call_id"], {})
        run = tool_run(call, part, seconds_between(call.get("at", ""), at))
        self.runs.append(run)
        line = Piece(Kind.TOOL, run.line(LINE_MAX), run)
        return [line, *shortened_diff(run)] if run.diff else [line]

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
        return pieces


def shortened_diff(run: ToolRun) -> list[Piece]:
    """The beginning of a diff, and how many lines are left."""
    lines = run.diff.rstrip("\n").split("\n")
    pieces = [Piece(Kind.DIFF, "\n".join(lines[:DIFF_LINES_MAX]))]
    left = len(lines) - DIFF_LINES_MAX
    return [*pieces, Piece(Kind.NOTE, f"  ({left} more lines)")] if left > 0 else pieces


def _waits_for(call: dict[str, Any]) -> str:
    if call["needs"] == "approval":
        return f"(waiting for approval: {call_words(call, named=True)})"
    if question := question_of(call):
        return f"(waiting for an answer: {clean_line(question)})"
    return f"(waiting for the result of another program: {call_words(call, named=True)})"


def working_words(transcript: Transcript) -> str:
    """The activity of a running turn, for the line below the answer; empty while text is streamed."""
    if transcript.thoughts.is_thinking:
        return f"thinking ({seconds_text(transcript.thoughts.seconds)})"
    if transcript.activity or transcript.tail:
        return transcript.activity
    tools = transcript.running_tools
    return f"running {', '.join(tools)}" if tools else "waiting for the model"
