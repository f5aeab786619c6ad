"""The line editor, key by key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cli.line_editor import LineEditor


def typed(keys: str) -> tuple[list[str], str, int]:
    editor = LineEditor()
    return editor.feed(keys), editor.text, editor.cursor


@pytest.mark.parametrize(
    ("keys", "lines", "text", "cursor"),
    [
        ("hello", [], "hello", 5),
        ("hello\r", ["hello"], "", 0),
        ("one\rtwo\nthr", ["one", "two"], "thr", 3),
        (" \r\r", [], "", 0),
        ("helx\x7flo\r", ["hello"], "", 0),
        ("\x7f\x08", [], "", 0),
        ("world\x01hello \r", ["hello world"], "", 0),
        ("ac\x1b[Db\x05d", [], "abcd", 4),
        ("abc\x1b[D\x1b[D\x1b[C\x1b[3~", [], "ab", 2),
        ("one two  \x17x", [], "one x", 5),
        ("one two\x1b[D\x1b[D\x1b[D\x0b", [], "one ", 4),
        ("one two\x1b[D\x1b[D\x1b[D\x15", [], "two", 0),
        ("a\x1b[1;5Cb\x1bOPc\x1bxd", [], "abcd", 4),
        ("\x1b[200~two\rlines\x1b[31m\x1b[201~\r", ["two\nlines"], "", 0),
        ("a\x00\x07b", [], "ab", 2),
        ("grüße 🎶\r", ["grüße 🎶"], "", 0),
    ],
)
def test_keys_edit_the_line(keys: str, lines: list[str], text: str, cursor: int) -> None:
    assert typed(keys) == (lines, text, cursor)


def test_earlier_lines_come_back() -> None:
    editor = LineEditor()
    editor.feed("one\rtwo\r")
    shown = []
    for key in ("\x1b[A", "\x1b[A", "\x1b[A", "\x1b[B", "\x1b[B"):
        editor.feed(key)
        shown.append(editor.text)
    assert shown == ["two", "one", "one", "two", ""]


def test_ctrl_d_quits_only_on_an_empty_line() -> None:
    editor = LineEditor()
    editor.feed("a\x04")
    assert not editor.is_closed
    editor.feed("\x7f\x04")
    assert editor.is_closed


@given(st.text(st.sampled_from("ab\x1b[]200~1DCAO;\r\x7f\x04\x17"), max_size=40), st.integers(0, 40))
def test_a_key_sequence_may_arrive_in_pieces(keys: str, place: int) -> None:
    whole, pieces = LineEditor(), LineEditor()
    lines = pieces.feed(keys[:place]) + pieces.feed(keys[place:])
    assert whole.feed(keys) == lines
    assert (whole.text, whole.cursor) == (pieces.text, pieces.cursor)
    assert 0 <= whole.cursor <= len(whole.text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_every_character_but_control_characters_is_kept(text: str) -> None:
    editor = LineEditor()
    assert editor.feed(text + "\r") == ([text] if text.strip() else [])
