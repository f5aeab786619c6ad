"""Where a growing Markdown text may be cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cli.markdown_blocks import finished_length


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("", ""),
        ("one paragraph", ""),
        ("one paragraph\n\n", ""),
        ("one paragraph\n\nt", "one paragraph\n\n"),
        ("one\n\ntwo\n\nthree", "one\n\ntwo\n\n"),
        ("one\n   \n\n# two", "one\n   \n\n"),
        ("- item\n\n  still the item\n\nafter", "- item\n\n  still the item\n\n"),
        ("```py\na = 1\n\nb = 2\n", ""),
        ("```py\na = 1\n\nb = 2\n```\n\nafter", "```py\na = 1\n\nb = 2\n```\n\n"),
        ("````\n```\n\nx\n````\n\nafter", "````\n```\n\nx\n````\n\n"),
        ("~~~\n```\n\nx\n~~~\n\nafter", "~~~\n```\n\nx\n~~~\n\n"),
        ("```\nx\n``` not closed\n\ny", ""),
    ],
)
def test_a_text_is_cut_after_finished_blocks_only(text: str, finished: str) -> None:
    assert text[: finished_length(text)] == finished


@given(st.text(st.sampled_from("a \n`~-"), max_size=60), st.integers(0, 60))
def test_finished_blocks_stay_finished(text: str, place: int) -> None:
    before = finished_length(text[:place])
    assert before <= place
    assert finished_length(text, before) == finished_length(text)
