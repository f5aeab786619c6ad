"""Tool calls assembled from what their pieces say, however a server cuts, repeats or leaves out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.core.draft import Draft
from antiphon.core.parts import Text, ToolCall, ToolCallOpened
from antiphon.errors import AttemptFailed
from antiphon.models.tool_call_assembly import ObjectScanner, ToolCallAssembly, TooManyCalls
from antiphon.ports import ModelEvent

from .raw_provider import STOP, answer_of, called, sse

TOOLS = {"weather", "echo", "ping", "get_weather"}
PARIS, ROME = '{"city": "Paris"}', '{"city": "Rome"}'

Piece = tuple[int | None, str, str, str]


def assembled(*pieces: Piece | str, tools: set[str] = TOOLS) -> list[ToolCall]:
    """The calls that these pieces (index, id, name, arguments) make; a string is a text between them."""
    return [part for part in parts_of(*pieces, tools=tools) if isinstance(part, ToolCall)]


def parts_of(*pieces: Piece | str, tools: set[str] = TOOLS) -> tuple[Any, ...]:
    assembly = ToolCallAssembly(taken_ids=set(), id_prefix="made-", first=1, tool_names=tools)
    events: list[ModelEvent] = []
    for piece in pieces:
        events += assembly.add_prose(Text(piece)) if isinstance(piece, str) else assembly.add_call(*piece)
    events += assembly.finish()
    draft = Draft(1)
    for event in events:
        draft.write(event)  # type: ignore[arg-type]
    return draft.content()


def made(*calls: tuple[str, str, Any]) -> list[ToolCall]:
    return [ToolCall(*call) for call in calls]


def test_a_new_id_under_the_same_index_takes_the_arguments_that_follow_under_another() -> None:
    pieces = [(0, "c1", "weather", ""), (0, "", "", PARIS), (0, "c2", "echo", ""), (1, "", "", '{"x": 1}')]
    assert assembled(*pieces) == made(("c1", "weather", {"city": "Paris"}), ("c2", "echo", {"x": 1}))


def test_a_new_id_whose_name_follows_is_one_call() -> None:
    pieces = [(0, "c1", "weather", PARIS), (0, "c2", "", ""), (0, "", "echo", ""), (0, "", "", '{"x": 1}')]
    assert assembled(*pieces) == made(("c1", "weather", {"city": "Paris"}), ("c2", "echo", {"x": 1}))


@pytest.mark.parametrize(
    "names",
    [
        ["wea", "ther"],
        ["weather", "weather", "weather"],
        ["wea", "weather"],
        ["weather", ""],
        ["w", "ea", "th", "er"],
        ["wea", "ther", "weather"],
    ],
)
@pytest.mark.parametrize("tools", [TOOLS, set()], ids=["known", "unknown"])
def test_a_name_comes_whole_repeated_growing_or_in_pieces(names: list[str], tools: set[str]) -> None:
    pieces: list[Piece] = [(0, "c1" if not i else "", name, "") for i, name in enumerate(names)]
    assert assembled(*pieces, (0, "", "", PARIS), tools=tools) == made(("c1", "weather", {"city": "Paris"}))


def test_a_name_in_pieces_of_which_one_is_a_tool_is_the_whole_one() -> None:
    pieces = [(0, "c", "get_", ""), (0, "", "weather", ""), (0, "", "", "{}")]
    assert assembled(*pieces) == made(("c", "get_weather", {}))


def test_two_tools_without_ids_and_arguments_are_two_calls() -> None:
    assert assembled((0, "", "ping", ""), (0, "", "echo", "")) == made(("made-1", "ping", {}), ("made-2", "echo", {}))


@pytest.mark.parametrize("placeholder", [["{}"], ["{ }"], ["", "{}"], ["{", "}"], [" {}", " "]])
@pytest.mark.parametrize("rest", [[PARIS], ['{"ci', 'ty": "Par', 'is"}']])
def test_an_empty_object_before_the_arguments_is_a_placeholder(placeholder: list[str], rest: list[str]) -> None:
    pieces: list[Piece] = [(0, "c1" if not i else "", "weather", args) for i, args in enumerate(placeholder)]
    pieces += [(0, "", "", args) for args in rest]
    assert assembled(*pieces) == made(("c1", "weather", {"city": "Paris"}))


def test_an_empty_object_alone_is_no_arguments() -> None:
    assert assembled((0, "c1", "ping", "{}")) == made(("c1", "ping", {}))


@pytest.mark.parametrize("index", [0, None])
@pytest.mark.parametrize("ids", [("", ""), ("c1", "c2"), ("c1", "c1"), ("c1", "")])
@pytest.mark.parametrize("second", ["echo", "weather"])
def test_a_whole_object_behind_a_whole_object_is_another_call(
    index: int | None, ids: tuple[str, str], second: str
) -> None:
    found = assembled((index, ids[0], "weather", PARIS), (index, ids[1], second, ROME))
    assert [(call.tool_name, call.args["city"]) for call in found] == [("weather", "Paris"), (second, "Rome")]
    assert len({call.tool_call_id for call in found}) == 2


def test_a_call_that_is_sent_again_whole_is_one_call() -> None:
    pieces = [(0, "c1", "weather", '{"city": '), (0, "", "", '"Paris"}'), (0, "c1", "weather", PARIS)]
    assert assembled(*pieces) == made(("c1", "weather", {"city": "Paris"}))


def test_a_new_random_id_on_each_piece_is_one_call() -> None:
    pieces = [(0, "r1", "weather", ""), (0, "r2", "", '{"city": '), (0, "r3", "", '"Paris"}')]
    assert [(call.tool_name, call.args) for call in assembled(*pieces)] == [("weather", {"city": "Paris"})]


def test_pieces_of_several_calls_in_turns_come_out_one_call_after_another() -> None:
    pieces: list[Piece | str] = [(0, "a", "weather", '{"city"'), (1, "b", "echo", '{"x"'), "Wait. "]
    pieces += [(1, "", "", ": 1}"), (0, "", "", ': "Rome"}'), "Done."]
    wanted = made(("a", "weather", {"city": "Rome"}), ("b", "echo", {"x": 1}))
    assert parts_of(*pieces) == (*wanted, Text("Wait. Done."))


def test_a_piece_without_a_call_before_it_is_left_out() -> None:
    assert assembled((None, "", "", PARIS)) == []
    assert assembled((0, "", "", PARIS), (0, "", "", ROME)) == []


def test_braces_and_quotes_within_strings_do_not_end_an_object() -> None:
    args = json.dumps({"code": 'if (x) { print("}") } \\', "list": [{"a": "]"}, "\\\\"]})
    for cut in range(1, len(args)):
        scanner = ObjectScanner()
        scanner.feed(args[:cut])
        assert not scanner.is_whole
        scanner.feed(args[cut:])
        assert scanner.is_whole


async def call_count(count: int) -> int:
    function = {"name": "ping", "arguments": '{"n": 1}'}
    pieces = [called({"index": i, "id": "x", "function": function}) for i in range(count)]
    return sum(isinstance(event, ToolCallOpened) for event in await answer_of(sse(*pieces, STOP)))


@pytest.mark.anyio
async def test_an_answer_has_at_most_128_tool_calls() -> None:
    assert await call_count(128) == 128
    for count in (129, 50_000):
        with pytest.raises(AttemptFailed, match="more than 128 tool calls") as failed:
            await call_count(count)
        assert not failed.value.retryable


def test_many_calls_of_one_id_are_renamed_in_linear_time() -> None:
    count = 20_000
    assembly = ToolCallAssembly(taken_ids={"x"}, id_prefix="", first=1, calls_max=count)
    events: list[ModelEvent] = []
    for index in range(count):
        events += assembly.add_call(index, "x", "ping", '{"n": 1}')
    events += assembly.finish()
    names = [event.tool_call_id for event in events if isinstance(event, ToolCallOpened)]
    assert names == [f"x#{n}" for n in range(2, count + 2)]
    with pytest.raises(TooManyCalls):
        assembly.add_call(count, "x", "ping", "{}")


def test_many_pieces_of_white_space_or_of_a_name_are_read_in_linear_time() -> None:
    """Quadratic, these pieces would take minutes."""
    pieces: list[Piece] = [(0, "c1", "n", "")] + [(0, "", "", " ")] * 200_000 + [(0, "", "", PARIS)]
    assert assembled(*pieces) == made(("c1", "n", {"city": "Paris"}))
    pieces = [(0, "c1", "weather", "{}")] + [(0, "", "", " ")] * 200_000
    assert assembled(*pieces) == made(("c1", "weather", {}))
    pieces = [(0, "c1", "xy", "")] + [(0, "", "ab", "")] * 200_000 + [(0, "", "", "{}")]
    assert len(assembled(*pieces)[0].tool_name) < 20_000


CALLS = st.lists(
    st.tuples(
        st.sampled_from(sorted(TOOLS)),
        st.dictionaries(st.text(max_size=3), st.text(max_size=6) | st.integers() | st.lists(st.none(), max_size=2)),
    ),
    min_size=1,
    max_size=4,
)


@given(CALLS, st.data())
def test_any_cut_and_any_interleaving_by_index_gives_the_same_calls(
    wanted: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    streams: list[list[Piece]] = []
    for index, (name, args) in enumerate(wanted):
        text = json.dumps(args)
        cut = data.draw(st.integers(1, len(text)))
        pieces = [(index, f"id{index}", name, "")]
        pieces += [(index, "", "", piece) for piece in (text[:cut], text[cut:]) if piece]
        streams.append(pieces)
    mixed: list[Piece] = [stream.pop(0) for stream in streams]
    while any(streams):
        mixed.append(data.draw(st.sampled_from([stream for stream in streams if stream])).pop(0))
    assert assembled(*mixed) == [ToolCall(f"id{i}", name, args) for i, (name, args) in enumerate(wanted)]


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(0, 2),
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["", "wea", "ther", "weather", "echo"]),
            st.sampled_from(["", "{", "}", "{}", PARIS, ROME, '{"a', '": 1}', "[]", "null", " "]),
        ),
        max_size=10,
    )
)
def test_any_pieces_give_calls_with_different_ids(pieces: list[Piece]) -> None:
    found = assembled(*pieces)
    assert len({call.tool_call_id for call in found}) == len(found)
    assert all(call.tool_name for call in found)
