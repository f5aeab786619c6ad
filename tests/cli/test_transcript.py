"""What is printed of a chat, and when: every word of an answer once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cli.content_text import answer_text
from antiphon.cli.event_text import EventText
from antiphon.cli.transcript import Kind, Piece, Transcript
from antiphon.core.events import Bye, Delta, FactEvent
from antiphon.core.parts import Reasoning, Text, ToolCallOpened


class Scenario:
    """Makes events with increasing sequence numbers."""

    def __init__(self) -> None:
        self.transcript = Transcript()
        self.seq = 0
        self.draft = 0
        self.position = 0

    def fact(self, kind: str, *, opens: bool = True, status: str = "running", **data: Any) -> list[Piece]:
        self.seq += 1
        if opens:
            self.draft, self.position = self.seq, 0
        return self.transcript.apply(
            FactEvent(type=kind, seq=self.seq, at="", status=status, draft=self.draft, data=data)
        )

    def message(self, role: str, *content: dict[str, Any], at: str = "") -> list[Piece]:
        message = {"id": self.seq + 1, "role": role, "content": list(content), "turn_id": 2, "created_at": at}
        return self.fact("message_appended", message=message)

    def delta(self, part: Any, index: int = 0) -> list[Piece]:
        start, self.position = self.position, self.position + len(getattr(part, "text", " "))
        delta = Delta(draft=self.draft, from_=start, to=self.position, part_index=index, part=part)
        return self.transcript.apply(delta)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.fixture
def scenario() -> Scenario:
    made = Scenario()
    made.fact("chat_created", title="")
    made.message("user", text("question"))
    made.fact("attempt_started", instance_id="")
    return made


def test_finished_blocks_are_printed_and_the_rest_with_the_message(scenario: Scenario) -> None:
    scenario.delta(Text("one\n\ntw"))
    assert scenario.transcript.advance() == [Piece(Kind.ANSWER, "one\n\n")]
    assert scenario.transcript.tail == "tw"
    assert scenario.transcript.advance() == []
    assert scenario.message("assistant", text("one\n\ntwo")) == [Piece(Kind.ANSWER, "two")]
    assert scenario.transcript.tail == ""


def test_a_dropped_draft_is_announced_if_parts_of_it_were_printed(scenario: Scenario) -> None:
    scenario.delta(Text("one\n\ntwo"))
    scenario.transcript.advance()
    pieces = scenario.fact("retry_scheduled", delay_ms=1500, error="too \x1b[1mbusy", tries=1)
    assert [piece.kind for piece in pieces] == [Kind.NOTE, Kind.NOTE]
    assert "dropped" in pieces[0].text
    assert pieces[1].text == "(too busy; retrying in 1.5 s)"
    assert scenario.message("assistant", text("one\n\ntwo")) == [Piece(Kind.ANSWER, "one\n\ntwo")]


def test_a_message_that_differs_from_the_printed_draft_is_printed_whole(scenario: Scenario) -> None:
    scenario.delta(Text("one\n\ntwo"))
    scenario.transcript.advance()
    pieces = scenario.message("assistant", text("other"))
    assert pieces[-1] == Piece(Kind.ANSWER, "other")
    assert pieces[0].kind is Kind.NOTE


def test_calls_results_and_the_end_of_a_turn_are_printed(scenario: Scenario) -> None:
    scenario.delta(Reasoning("hm"))
    assert scenario.transcript.activity == "thinking"
    scenario.delta(ToolCallOpened("c1", "a\x1b[1mdd"), 1)
    assert scenario.transcript.activity == "calling add"
    call = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "add", "args": {"a": 1}}
    assert scenario.message("assistant", call, at="2026-12-01T10:00:00.5Z") == []
    result = {"type": "tool-result", "tool_call_id": "c1", "tool_name": "add", "result": "two\nlines"}
    (piece,) = scenario.message("tool", result, at="2026-12-01T10:00:00.75Z")
    assert (piece.kind, piece.text) == (Kind.TOOL, "add(1) → two … (2 lines)  0.2 s")
    assert piece.run is not None
    failed = scenario.fact("turn_ended", turn_id=2, outcome="failed", error={"message": "no\x07"}, status="error")
    assert failed == [Piece(Kind.ERROR, "The turn failed: no")]


def test_the_value_of_a_structured_answer_is_printed_as_json(scenario: Scenario) -> None:
    scenario.delta(Text("Here: "))
    value = {"type": "data", "data": {"é": [1]}, "name": "answer"}
    text, data = scenario.message("assistant", {"type": "text", "text": "Here: "}, value)
    assert (text, data.kind) == (Piece(Kind.ANSWER, "Here: "), Kind.ANSWER)
    assert data.text == '```json\n{\n  "é": [\n    1\n  ]\n}\n```\n'
    assert answer_text([{"type": "text", "text": "a"}, {"type": "data", "data": 1}]) == "a\n1"


@given(st.text(st.sampled_from("ab \n`-"), max_size=80), st.lists(st.integers(1, 9), max_size=20))
def test_every_word_is_printed_once_in_any_chunks(words: str, sizes: list[int]) -> None:
    scenario = Scenario()
    scenario.fact("attempt_started", instance_id="")
    printed, rest = "", words
    for size in sizes:
        piece, rest = rest[:size], rest[size:]
        if piece:
            scenario.delta(Text(piece))
        printed += "".join(piece.text for piece in scenario.transcript.advance())
    printed += "".join(piece.text for piece in scenario.message("assistant", text(words)))
    assert printed.split() == words.split()


def test_facts_start_on_a_new_line_after_streamed_text() -> None:
    lines = EventText()
    fact = FactEvent(
        type="title_changed", seq=9, at="", status="running", draft=2, data={"title": "x", "by": "person"}
    )
    delta = Delta(draft=2, from_=0, to=2, part_index=0, part=Text("ab"))
    shown = [lines.text(event) for event in (delta, delta, fact, Bye(reason="idle"))]
    assert "".join(shown) == "abab\n    9  title_changed            title=x by=person\n(the stream has ended: idle)\n"
