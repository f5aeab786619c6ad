"""Text of models is printed without terminal escape sequences."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cli.clean import clean_line, clean_text, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 🎶\n\ttext", "plain ü 🎶\n\ttext"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone?", "gone?"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGk=\x9cclip", "clip"),
        ("\x1bPq#0;2;0;0;0\x1b\\sixel", "sixel"),
        ("\x1b]0;never ended\nnext line", "\nnext line"),
        ("a\x1bcb", "ab"),
        ("ring\x07 back\x08space \x7f \x00", "ring backspace  "),
        ("one\r\ntwo\rover", "one\ntwoover"),
        ("abc\u202edef\u2066g", "abcdefg"),
        ("\x1b", ""),
        ("\x1b[", ""),
    ],
)
def test_escape_sequences_and_control_characters_are_removed(text: str, shown: str) -> None:
    assert clean_text(text) == shown


@given(st.text(st.one_of(st.characters(), st.sampled_from("\x1b[]\\;0m\x07\x9b\x9d\r\n\x00"))))
def test_no_control_character_is_left(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", clean_text(text))
    assert not re.search(r"[\n\t]", clean_line(text))


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"])))
def test_safe_text_stays_unchanged(text: str) -> None:
    assert clean_text(text) == text


def test_long_lines_are_shortened_with_an_ellipsis() -> None:
    assert shorten("a  title\nof two lines", 12) == "a title of …"
    assert shorten("short", 12) == "short"
