"""The pure parts of the window: entries, positions, rows and the fields of a form."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from antiphon.cli.conversation.asking import Answer, Problem
from antiphon.cli.tui.chat_rows import Listed, RowKind, counts_text, rows_of
from antiphon.cli.tui.entries import ENTRY_CHARACTERS_MAX, Entry, EntryKind, message_entries, text_entries
from antiphon.cli.tui.entry_lines import Colours, EntryLines
from antiphon.cli.tui.line_positions import LinePositions
from antiphon.cli.tui.question_form import answer_of, fields_of

CALL = {"type": "tool-call", "tool_call_id": "c", "tool_name": "add", "args": {"a": 1}}
RESULT = {"type": "tool-result", "tool_call_id": "c", "tool_name": "add", "result": 3}
NOW = datetime.fromisoformat("2026-12-01T12:00:00+00:00")


def message(number: int, role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"id": number, "role": role, "content": list(content), "created_at": f"2026-12-01T12:00:0{number}Z"}


def test_a_result_is_put_into_the_entry_of_its_call() -> None:
    asked = [message(1, "user", {"type": "text", "text": "add"}), message(2, "assistant", CALL)]
    assert message_entries(asked, is_running=True)[1].head == "add(1)  running"
    assert message_entries(asked, waiting=["c"])[1].head == "add(1)  waits for you"
    done = message_entries([*asked, message(3, "tool", RESULT)])
    assert [entry.kind for entry in done] == [EntryKind.USER, EntryKind.TOOL]
    assert done[1].run is not None
    assert done[1].run.line(40) == "add(1) → 3  1.0 s"
    alone = message_entries([message(3, "tool", RESULT)])  # its call is on an earlier page
    assert [entry.kind for entry in alone] == [EntryKind.TOOL]


def test_a_long_answer_is_cut_into_entries_that_keep_their_keys_while_it_grows() -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "word " * 100 for number in range(30))
    whole, begun = list(text_entries("k", text)), list(text_entries("k", text[:9000]))
    assert len(whole) > 5
    assert "\n\n".join(entry.text for entry in whole) == text
    assert begun[:-1] == whole[: len(begun) - 1]
    cut = list(text_entries("k", "```\n" + "x = 1\n" * 20_000))
    assert all(len(entry.text) <= ENTRY_CHARACTERS_MAX for entry in cut)
    assert {entry.kind for entry in cut} == {EntryKind.PLAIN}


def test_no_line_is_wider_than_the_screen_and_none_has_escapes() -> None:
    lines = EntryLines(Colours())
    for kind in EntryKind:
        entry = Entry("k", kind, "```python\n" + "x" * 300 + "\n```\n\n| a | b |\n|-|-|\n| 日本語 | c |\n")
        for width in (10, 40, 120):
            for strip in lines.draw(entry, width, is_unfolded=True):
                assert strip.cell_length <= width
                assert "\x1b" not in strip.text


def test_positions_find_the_entry_of_a_line() -> None:
    positions = LinePositions([3, 1, 5])
    assert positions.total == 9
    assert [positions.at(line) for line in (-1, 0, 2, 3, 4, 8, 99)] == [
        (0, 0), (0, 0), (0, 2), (1, 0), (2, 0), (2, 4), (2, 4),
    ]  # fmt: skip
    assert list(positions.between(2, 4)) == [0, 1, 2]
    positions.set_heights({0: 1})
    assert (positions.total, positions.at(1)) == (7, (1, 0))
    assert LinePositions().at(5) == (0, 0)


def chat(title: str, **fields: Any) -> Any:
    known = {"id": title, "title": title, "status": "waiting", "pin_order": 0, "has_unread": False}
    return known | {"updated_at": "2026-12-01T11:00:00Z"} | fields


def test_rows_are_sorted_into_sections_and_a_folded_server_shows_its_counts() -> None:
    chats = [
        chat("old", updated_at="2026-01-01T00:00:00Z"),
        chat("second", pin_order=2),
        chat("first", pin_order=1, status="running"),
        chat("new", has_unread=True),
        chat("eve", updated_at="2026-11-30T00:00:00Z", status="requires_action"),
    ]
    rows = rows_of(
        [Listed("s", "server", "", chats), Listed("t", "other", "", [], is_open=False, counts="2 chats")], NOW
    )
    assert [(row.mark, row.text) for row in rows if row.kind in (RowKind.CHAT, RowKind.SECTION)] == [
        (" ", "Pinned"), ("●", "first"), (" ", "second"),
        (" ", "Today"), ("•", "new"), (" ", "Yesterday"), ("?", "eve"), (" ", "Earlier"), (" ", "old"),
    ]  # fmt: skip
    assert rows[-1].text == "other · 2 chats"
    assert counts_text(chats=1, running=1, waiting=0, unread=2) == "1 chat, 1 running, 2 new"
    found = rows_of([Listed("s", "server", "", chats, found=[])], NOW)
    assert found[-1].text == "No chat has this title."


def test_a_form_reads_its_fields_and_says_what_is_wrong() -> None:
    schema = {
        "type": "object",
        "required": ["name", "age"],
        "properties": {
            "name": {"type": "string", "title": "Your name"},
            "age": {"type": "integer"},
            "ratio": {"type": "number"},
            "news": {"type": "boolean", "default": True},
            "colour": {"enum": ["red", 2]},
            "more": {"type": "array"},
        },
    }
    fields = fields_of({"needs": "answer", "args": {"schema": schema}})
    texts = {"name": "Ada", "age": "36", "ratio": "0.5", "news": "yes", "colour": "2", "more": "[1]"}
    assert answer_of(fields, texts) == Answer(
        {"name": "Ada", "age": 36, "ratio": 0.5, "news": True, "colour": 2, "more": [1]}
    )
    assert answer_of(fields, texts | {"name": " "}) == Problem("Your name is needed.")
    assert answer_of(fields, texts | {"age": "old"}) == Problem("age must be a whole number.")
    assert answer_of(fields, texts | {"ratio": "nan"}) == Problem("ratio must be a number.")
    assert answer_of(fields, texts | {"more": "["}) == Problem("more must be JSON.")
    assert answer_of(fields, {"name": "Ada", "age": "1"}) == Answer({"name": "Ada", "age": 1, "news": False})
    assert fields_of({"needs": "answer", "args": {"schema": {"type": "string"}}}) == []
