"""What a typed line means: commands, files, answers to what an agent asks, and the status line."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from rich.cells import cell_len

from antiphon.cli.conversation.actions import Actions, help_text
from antiphon.cli.conversation.asking import (
    Allow,
    Answer,
    Deny,
    EditArguments,
    Problem,
    decide,
    edited_arguments,
    question_lines,
)
from antiphon.cli.conversation.attachments import read_mentions
from antiphon.cli.conversation.call_preview import preview
from antiphon.cli.conversation.commands import COMMANDS, Typed, read_line
from antiphon.cli.conversation.completion import TalkCompleter
from antiphon.cli.conversation.history_file import LINES_MAX, HistoryFile, open_history
from antiphon.cli.conversation.status_line import Status, status_text
from antiphon.cli.conversation.typed_number import typed_number
from antiphon.cli.transcript import Kind
from antiphon.errors import Invalid

PAY = {"tool_call_id": "c1", "tool_name": "pay", "args": {"amount": 5}, "needs": "approval"}


def question(schema: dict[str, Any] | None) -> dict[str, Any]:
    args = {"question": "Which size?"} | ({"schema": schema} if schema else {})
    return {"tool_call_id": "c2", "tool_name": "ask", "args": args, "needs": "answer", "question": "Which size?"}


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("/help", Typed("help", "")),
        ("  /quit  ", Typed("quit", "")),
        ("/exit", Typed("quit", "")),
        ("/edit two\nlines", Typed("edit", "two\nlines")),
        ("/tokens 5", Typed("", "/tokens 5")),
        ("/helpful words", Typed("", "/helpful words")),
        ("//help me", Typed("", "/help me")),
        ("// a comment", Typed("", "// a comment")),
        ("/usr/bin is a folder", Typed("", "/usr/bin is a folder")),
    ],
)
def test_only_the_listed_commands_are_commands(text: str, typed: Typed) -> None:
    assert read_line(text) == typed


def test_every_command_is_carried_out_and_explained_at_any_width() -> None:
    for command in COMMANDS:
        assert callable(getattr(Actions, f"_{command.name}"))
    for width in (40, 80, 200):
        lines = help_text(width).split("\n")
        assert max(map(cell_len, lines)) <= width
        assert not any(line.endswith("…") for line in lines)


@pytest.mark.parametrize(
    ("line", "decision"),
    [
        ("y", Allow()),
        ("YES", Allow()),
        ("a", Allow(always=True)),
        ("n", Deny()),
        ("no, it is too much", Deny("it is too much")),
        ("e", EditArguments('{\n  "amount": 5\n}')),
        ("yes please do it", None),
        ("another question", None),
    ],
)
def test_a_line_decides_about_a_tool_call_or_is_a_message(line: str, decision: object) -> None:
    assert decide(PAY, line) == decision


def test_arguments_that_the_question_shortens_are_shown_in_full_first() -> None:
    assert preview(PAY) == []
    assert question_lines(PAY | {"args": {"command": "x" * 100}}, 0)[0] == "Allow pay, with the arguments above?"
    run = PAY | {"tool_name": "run", "args": {"command": "true && " * 20 + "rm -rf /\x1b[2K"}}
    assert "".join(piece.text for piece in preview(run)).endswith("rm -rf /\\x1b[2K")
    edit = PAY | {"args": {"path": "x.py", "old_string": "a\nb", "new_string": "a\nc"}}
    assert [(piece.kind, piece.text) for piece in preview(edit)][-1] == (Kind.DIFF, "@@ -1,2 +1,2 @@\n a\n-b\n+c")
    (*_, note) = preview(PAY | {"args": {"text": "x" * 100_000}})
    assert note.text == "(80,000 more characters are not shown)"


def test_edited_arguments_are_json_objects() -> None:
    assert edited_arguments('{"amount": 7}') == Allow(args={"amount": 7})
    assert isinstance(edited_arguments("{"), Problem)
    assert isinstance(edited_arguments("[1]"), Problem)


@pytest.mark.parametrize(
    ("schema", "line", "value"),
    [
        (None, " L ", "L"),
        ({"type": "string", "enum": ["S", "M", "L"]}, "2", "M"),
        ({"type": "string", "enum": ["small", "medium"]}, "me", "medium"),
        ({"enum": [1, 2, 3]}, "3", 3),
        ({"enum": ["2", "1"]}, "2", "2"),
        ({"type": "boolean"}, "y", True),
        ({"type": "integer"}, "7", 7),
        ({"type": "array"}, "[1]", [1]),
    ],
)
def test_a_line_answers_a_question_by_its_schema(schema: dict[str, Any] | None, line: str, value: object) -> None:
    assert decide(question(schema), line) == Answer(value)


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        ({"enum": ["S", "M"]}, "XL"),
        ({"type": "boolean"}, "perhaps"),
        ({"type": "integer"}, "1.5"),
        ({"type": "integer"}, "true"),
        ({"type": "object"}, "[]"),
    ],
)
def test_an_answer_that_the_schema_does_not_allow_is_refused_in_a_sentence(schema: dict[str, Any], line: str) -> None:
    decision = decide(question(schema), line)
    assert isinstance(decision, Problem)
    assert decision.message.endswith(".")


def test_a_question_lists_its_choices_and_its_text_has_no_escapes() -> None:
    call = question({"enum": ["S", "M"]}) | {"question": "Which\x1b[31m size?"}
    assert question_lines(call, 1) == [
        "Which size?   (1 more waiting)",
        "1 S   2 M",
        "Type a number, or the choice itself.",
    ]
    assert question_lines(PAY, 0)[0] == "Allow pay(amount=5)?"


def test_files_are_named_with_an_at_sign(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "a b.txt").write_text("x")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    found = read_mentions('see @notes.txt, and @"a b.txt"', tmp_path)
    assert found.paths == [tmp_path / "notes.txt", tmp_path / "a b.txt"]
    text = "mail me@example.org, @name, @app.route('/x') and @@notes.txt"
    assert read_mentions(text, tmp_path) == (text.replace("@@", "@"), [])
    for wrong, reason in {
        "@sub/missing.txt": "there is no such file",
        '@"missing one"': "there is no such file",
        "@folder": "this is a folder",
        "@empty.txt": "this file is empty",
    }.items():
        with pytest.raises(Invalid, match=reason):
            read_mentions(wrong, tmp_path)


def test_the_status_line_fits_and_keeps_what_matters() -> None:
    busy = Status(model="rehearsal", tokens=12_345, cost_micros=12_300, currency="USD", seconds=65, waiting=2)
    assert status_text(busy, 200) == (
        "1 min 5 s · Esc stops · 2 waiting · demo model · 12.3k tokens · 0.0123 USD · Enter: wait (Shift+Tab)"
    )
    assert status_text(busy, 40) == "1 min 5 s · Esc stops · 2 waiting"
    assert status_text(Status(), 80) == "connected · default model · /help"
    assert status_text(Status(lost="the server has not responded for 3 s; retrying", unsent=1), 30).endswith("…")


def test_typed_lines_are_kept_for_their_owner_only_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "state" / "antiphon" / "chat_history"
    history = HistoryFile(path)
    assert list(history.load_history_strings()) == []
    for line in ("one", "two\nlines ✓", " secret"):
        history.store_string(line)
    assert list(HistoryFile(path).load_history_strings()) == ["two\nlines ✓", "one"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.write_bytes(b"cut\n" + b'"x"\n' * (LINES_MAX + 5))
    assert len(list(HistoryFile(path).load_history_strings())) == LINES_MAX
    assert len(path.read_bytes().splitlines()) == LINES_MAX
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    unwritable = HistoryFile(tmp_path / "notes" / "x")
    (tmp_path / "notes").write_text("not a folder")
    unwritable.store_string("one")
    assert list(unwritable.load_history_strings()) == []


@pytest.mark.parametrize("text", ["@~nosuchuser/notes hello", f"@{'a' * 300}.md hello"])
def test_a_name_that_no_file_can_have_is_refused_as_a_missing_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there is no such file"):
        read_mentions(text, tmp_path)
    begun = Document(text.split()[0] + "/")
    assert list(TalkCompleter({}, tmp_path).get_completions(begun, CompleteEvent())) == []


@pytest.mark.parametrize("text", ["²", "0", "-1", "4", "9" * 5_000, ""])
def test_a_text_that_is_no_number_of_the_list_is_none(text: str) -> None:
    assert typed_number(text, 3) == 0
    assert typed_number("3", 3) == 3
    assert isinstance(decide(question({"enum": ["a", "b", "c"]}), text or "d"), Problem)


@pytest.mark.parametrize(
    "hidden", ["\x1b]; rm -rf ~\x07", "\x9d; rm -rf ~\x9c", "\x1b[8m; rm -rf ~", "\u202e; rm -rf ~"]
)
def test_what_a_person_approves_is_shown_with_its_control_characters(hidden: str) -> None:
    for command in (f"ls {hidden}", f"ls {hidden}\npwd", f"{'ls ' * 50}{hidden}"):
        call = {"tool_call_id": "c", "tool_name": "run", "args": {"command": command}, "needs": "approval"}
        shown = "\n".join([*(piece.text for piece in preview(call)), *question_lines(call, 0)])
        assert "; rm -rf ~" in shown
        assert all(char.isprintable() or char == "\n" for char in shown)
    edit = {"old_string": "ls", "new_string": f"ls {hidden}\npwd"}
    shown = "".join(piece.text for piece in preview(PAY | {"args": edit}))
    assert "; rm -rf ~" in shown


def test_a_user_without_a_home_has_a_history_of_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert isinstance(open_history(), InMemoryHistory)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert isinstance(open_history(), HistoryFile)
