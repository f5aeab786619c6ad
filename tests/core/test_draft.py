"""A draft is its positions: however its deltas are cut, merged or repeated, the same draft comes out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.core.draft import Draft, draft_of_message, replace_surrogates
from antiphon.core.events import Delta
from antiphon.core.parts import (
    CallStarted,
    Reasoning,
    Text,
    ToolCall,
    ToolCallArgs,
    ToolCallOpened,
    ToolProgress,
    delta_length,
)

from .drafts import broken_texts, copy_of, pieces_of, text_in, texts, window, windows, write

properties = settings(max_examples=80, deadline=None, derandomize=True)
anything = pieces_of(texts)


@properties
@given(pieces_of(broken_texts))
def test_each_delta_takes_the_draft_from_one_position_to_the_next(pieces: list) -> None:
    draft, deltas = write(pieces)
    position = 0
    for delta in deltas:
        assert (delta.draft, delta.from_) == (7, position)
        assert delta.to - delta.from_ == delta_length(delta.part) >= 1
        position = delta.to
    assert draft.position == position


@properties
@given(anything)
def test_the_content_is_what_was_written(pieces: list) -> None:
    """Against a reading of the pieces that knows nothing of positions."""
    parts: list[list] = []
    for piece in pieces:
        if isinstance(piece, Text | Reasoning) and piece.text:
            if not (parts and isinstance(parts[-1][0], type(piece))):
                parts.append([piece, ""])
            parts[-1][1] += piece.text
        elif isinstance(piece, ToolCallOpened):
            parts.append([piece, ""])
        elif isinstance(piece, ToolCallArgs):
            parts[-1][1] += piece.args_delta
    draft, _ = write(pieces)
    kept, dropped = draft.partial()
    assert [(type(part), part.text) for part in kept] == [
        (type(first), text) for first, text in parts if not isinstance(first, ToolCallOpened)
    ]
    assert sorted(call.tool_call_id for call in dropped) == sorted(
        first.tool_call_id for first, _ in parts if isinstance(first, ToolCallOpened)
    )
    assert draft.text() == "".join(text for first, text in parts if isinstance(first, Text))


@properties
@given(pieces_of(broken_texts), st.data())
def test_read_from_any_position_gives_the_rest(pieces: list, data: st.DataObject) -> None:
    draft, _ = write(pieces)
    position = data.draw(st.integers(0, draft.position))
    reader = copy_of(draft, position)
    for delta in draft.read(position):
        assert reader.apply(delta)
    assert same(reader, draft)
    assert draft.read(draft.position) == draft.read(draft.position + 5) == []


@properties
@given(anything)
def test_read_merges_the_neighbours_of_one_part(pieces: list) -> None:
    draft, deltas = write(pieces)
    read = draft.read(0)
    assert [delta.from_ for delta in read] == [0, *(delta.to for delta in read[:-1])][: len(read)]
    assert len(read) <= len(deltas)
    for a, b in pairwise(read):
        is_text = text_in(a.part) is not None
        assert not (is_text and a.part_index == b.part_index and type(a.part) is type(b.part))


@properties
@given(anything, st.data())
def test_deltas_cut_merged_and_repeated_anywhere_give_the_same_draft(pieces: list, data: st.DataObject) -> None:
    draft, deltas = write(pieces)
    reader = Draft(draft.name)
    while reader.position < draft.position:
        end = data.draw(st.integers(reader.position + 1, draft.position))
        start = data.draw(st.integers(0, reader.position))
        for delta in windows(draft, start, end):
            assert reader.apply(delta)
        if data.draw(st.booleans()):
            assert reader.apply(data.draw(st.sampled_from([d for d in deltas if d.from_ <= reader.position])))
    assert same(reader, draft)


@properties
@given(anything, st.data())
def test_a_gap_is_reported_and_changes_nothing(pieces: list, data: st.DataObject) -> None:
    draft, deltas = write(pieces)
    reader = Draft(draft.name)
    for delta in deltas:
        ahead = [other for other in deltas if other.from_ > reader.position]
        if ahead:
            before = reader.read(0)
            assert not reader.apply(data.draw(st.sampled_from(ahead)))
            assert reader.read(0) == before
        assert reader.apply(delta)
    assert same(reader, draft)


@properties
@given(anything, anything)
def test_a_received_draft_can_be_continued(first: list, second: list) -> None:
    """As when a reader's copy and the author's original are given the same pieces."""
    draft, _ = write(first)
    reader = copy_of(draft, draft.position)
    for piece in second:
        assert reader.write(piece) == draft.write(piece)
    assert same(reader, draft)


@properties
@given(pieces_of(broken_texts))
def test_lone_surrogates_become_replacement_characters_before_they_count(pieces: list) -> None:
    draft, deltas = write(pieces)
    for delta in [*deltas, *draft.read(0)]:
        text = text_in(delta.part)
        if text is not None:
            text.encode()
            assert len(text) == delta.to - delta.from_
    draft.text().encode()


def test_a_position_counts_code_points() -> None:
    draft = Draft(1)
    for text, position in (("é", 1), ("e\u0301", 3), ("😀", 4), ("🇩🇪", 6), ("👩\u200d👧", 9), ("\x00\u2028", 11)):
        draft.write(Text(text))
        assert draft.position == position
    (rest,) = draft.read(3)
    assert rest.part == Text("😀🇩🇪👩\u200d👧\x00\u2028")


def test_line_breaks_are_kept_as_they_are() -> None:
    draft = Draft(1)
    for text in ("a\r", "\nb\r\n", "\r"):
        draft.write(Text(text))
    assert draft.text() == "a\r\nb\r\n\r"
    (rest,) = draft.read(2)
    assert rest.part == Text("\nb\r\n\r")


def test_a_delta_without_text_counts_one_and_is_never_merged_or_cut() -> None:
    draft = Draft(1)
    for piece in (CallStarted(model="m"), CallStarted(model="m"), ToolProgress("t", "working")):
        assert draft.write(piece) is not None
    assert draft.position == 3
    assert [(delta.from_, delta.to, delta.part_index) for delta in draft.read(0)] == [
        (0, 1, None),
        (1, 2, None),
        (2, 3, None),
    ]
    assert draft.read(2) == [Delta(draft=1, from_=2, to=3, part=ToolProgress("t", "working"))]


def test_an_empty_piece_is_no_delta_and_opens_no_part() -> None:
    draft = Draft(1)
    assert draft.write(Text("")) is None
    assert draft.write(Reasoning("")) is None
    draft.write(Text("a"))
    assert draft.content() == (Text("a"),)


def test_notes_between_two_texts_do_not_split_the_part() -> None:
    draft, deltas = write([Text("a"), ToolProgress("t", "x"), Text("b"), Reasoning("r"), Text("c")])
    assert [delta.part_index for delta in deltas] == [0, None, 0, 1, 2]
    assert draft.content() == (Text("ab"), Reasoning("r"), Text("c"))


def test_interleaved_arguments_are_appended_to_their_calls() -> None:
    draft = Draft(1)
    draft.write(ToolCallOpened("a", "run"))
    draft.write(ToolCallOpened("b", "find"))
    for call, args in (("a", '{"x"'), ("b", "[1"), ("a", ":1}"), ("b", ",2]")):
        draft.write_args(call, args)
    assert draft.content() == (ToolCall("a", "run", {"x": 1}), ToolCall("b", "find", [1, 2]))
    reader = copy_of(draft, 9)
    reader.apply(window(draft.read(9)[0], 9, draft.read(9)[0].to))
    for delta in draft.read(reader.position):
        reader.apply(delta)
    assert reader.content() == draft.content()


def test_a_copy_of_a_draft_accepts_arguments_of_its_calls() -> None:
    draft = Draft(1)
    draft.write(ToolCallOpened("a", "run"))
    draft.write(ToolCallOpened("b", "find"))
    reader = copy_of(draft, 2)
    assert reader.write_args("a", "{}") == draft.write_args("a", "{}")


def test_a_call_without_arguments_has_none() -> None:
    draft, _ = write([ToolCallOpened("a", "run")])
    assert draft.content() == (ToolCall("a", "run", {}),)


def test_a_partial_keeps_text_and_lists_the_dropped_calls() -> None:
    draft, _ = write([Text("a"), ToolCallOpened("x", "run"), ToolCallArgs('{"y": 1}'), ToolCallOpened("z", "find")])
    kept, dropped = draft.partial()
    assert kept == (Text("a"),)
    assert [(call.tool_call_id, call.tool_name) for call in dropped] == [("x", "run"), ("z", "find")]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\ud83d", "a\ufffd"),
        ("\ude00b", "\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("\ud83dx\ude00", "\ufffdx\ufffd"),
        ("é😀", "é😀"),
    ],
)
def test_surrogates_are_replaced_one_by_one_and_pairs_become_their_character(text: str, clean: str) -> None:
    assert replace_surrogates(text) == clean
    draft = Draft(1)
    draft.write(Text(text))
    assert (draft.text(), draft.position) == (clean, len(clean))


def same(a: Draft, b: Draft) -> bool:
    return (a.position, a.read(0), a.content(), a.text(), a.partial()) == (
        b.position,
        b.read(0),
        b.content(),
        b.text(),
        b.partial(),
    )


@properties
@given(st.booleans(), st.lists(st.tuples(st.sampled_from((Text, Reasoning)), texts), max_size=6))
def test_a_draft_of_text_and_reasoning_is_rebuilt_from_its_message(has_call: bool, prose: list) -> None:
    draft, _ = write([*([CallStarted()] if has_call else []), *(kind(text) for kind, text in prose)])
    again = draft_of_message(7, draft.content(), draft.position)
    assert again is not None
    assert again.read(0) == draft.read(0)


@pytest.mark.parametrize(
    "pieces",
    [
        [Text("I search. "), ToolCallOpened("c", "find"), ToolCallArgs("{}")],
        [CallStarted(), CallStarted(), Text("again")],
        [CallStarted(), ToolProgress("c", "half"), Text("so")],
    ],
)
def test_a_draft_with_other_parts_is_not_rebuilt_from_its_message(pieces: list) -> None:
    draft, _ = write(pieces)
    assert draft_of_message(7, draft.content(), draft.position) is None


def test_a_draft_with_adjacent_texts_is_not_rebuilt_from_its_message() -> None:
    assert draft_of_message(7, (Text("one"), Text("two")), 6) is None
