"""A Response resumes after any number, to the code point, and its events depend on positions only."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from antiphon.core.events import Event
from antiphon.errors import NotFound, PeerError
from antiphon.wire.ids import named_chat_id
from antiphon.wire.openai.ids import ResponseId, parse_conversation_id, parse_response_id
from antiphon.wire.openai.numbers import FACTS_MAX, STEPS_MAX, sequence_number
from antiphon.wire.openai.response import ResponseInfo, ResponseStream
from antiphon.wire.turn_output import Place, TurnOutput

from .protocols import CHAT_ID, Recording, cut, recordings, stored, whole

DELTAS = ("response.output_text.delta", "response.reasoning_summary_text.delta")


def translated(recording: Recording, events: list[Event], after: int, starting_after: int = -1) -> list[Any]:
    """The events of the protocol for the response that begins after the fact `after`."""
    turn = TurnOutput(recording.turn_id, after)
    info = ResponseInfo(id=ResponseId(CHAT_ID, recording.turn_id, after), model="m", created_at=1)
    stream = ResponseStream(info, starting_after)
    made = stream.begin()
    for event in events:
        made += stream.apply(turn.apply(event))
    return [json.loads(event.data) for event in made]


def by_code_point(events: list[Any], starting_after: int = -1) -> list[Any]:
    """The events, with a delta for each code point that has a number. A value that comes at once has one number."""
    found: list[Any] = []
    for event in events:
        text = event["delta"] if event["type"] in DELTAS else ""
        first = event["sequence_number"] - len(text) + 1
        if not text or first <= (found[-1]["sequence_number"] if found else starting_after):
            found.append(event)
            continue
        found += [event | {"delta": char, "sequence_number": first + i} for i, char in enumerate(text)]
    return found


def responses_of(recording: Recording) -> list[int]:
    """The facts after which a response begins: the turn, and each wait for clients."""
    waits = [entry.seq for entry in recording.entries if type(entry.fact).__name__ == "ActionRequired"]
    return [recording.turn_id, *waits]


def test_any_cut_of_the_deltas_gives_the_same_events_and_numbers() -> None:
    for number, recording in enumerate(recordings()):
        for after in responses_of(recording):
            reference = by_code_point(translated(recording, whole(recording, after=after - 1), after))
            assert by_code_point(translated(recording, stored(recording, after=after - 1), after)) == reference
            events = cut(recording, Random(number), after=after - 1)
            assert by_code_point(translated(recording, events, after)) == reference, (number, after)


def test_numbers_grow_strictly_and_are_exact_in_javascript() -> None:
    for recording in (*recordings(), *recordings(retries=True)):
        for after in responses_of(recording):
            events = translated(recording, cut(recording, Random(1), after=after - 1), after)
            numbers = [event["sequence_number"] for event in events]
            assert numbers == sorted(set(numbers))
            assert all(0 <= number < 2**53 for number in numbers)


def test_a_stream_resumes_after_every_number_to_the_code_point() -> None:
    random = Random(7)
    for recording in recordings(4):
        for after in responses_of(recording):
            reference = by_code_point(translated(recording, whole(recording, after=after - 1), after))
            for event in reference:
                number = event["sequence_number"]
                events = random.choice((stored, whole))(recording, after=after - 1)
                resumed = by_code_point(translated(recording, events, after, number), number)
                assert resumed == [other for other in reference if other["sequence_number"] > number]


def test_the_final_object_has_the_items_that_the_events_have_finished() -> None:
    for recording in recordings():
        for after in responses_of(recording):
            events = translated(recording, cut(recording, Random(2), after=after - 1), after)
            finished = {e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
            last = events[-1]
            assert last["type"] in ("response.completed", "response.incomplete", "response.failed")
            if last["response"]["status"] == "completed":
                assert [item for _, item in sorted(finished.items())] == last["response"]["output"]


def test_an_abandoned_answer_is_incomplete_and_not_in_the_final_object() -> None:
    seen = 0
    for recording in recordings(retries=True):
        events = translated(recording, whole(recording), recording.turn_id)
        items = [e["item"] for e in events if e["type"] == "response.output_item.done"]
        abandoned = {item["id"] for item in items if item.get("status") == "incomplete"}
        last = events[-1]["response"]
        if last["status"] == "completed":
            seen += len(abandoned)
            assert not abandoned & {item["id"] for item in last["output"]}
    assert seen > 5


def test_a_number_outside_the_range_is_refused() -> None:
    assert sequence_number(5, Place(5, 3)) == 3
    assert sequence_number(5, Place(5 + FACTS_MAX - 1, STEPS_MAX - 1)) == 2**53 - 1
    for place in (Place(4, 0), Place(5 + FACTS_MAX, 0), Place(5, STEPS_MAX)):
        with pytest.raises(PeerError):
            sequence_number(5, place)


@pytest.mark.parametrize("after", [2, 9])
def test_an_id_names_the_chat_the_turn_and_the_fact(after: int) -> None:
    response_id = ResponseId(CHAT_ID, 2, after)
    assert parse_response_id(str(response_id)) == response_id


@pytest.mark.parametrize(
    "text",
    ["", "resp_", "resp_x_2", f"resp_{CHAT_ID}_2", "resp_" + "a" * 32, "resp_" + "a" * 32 + "_0",
     "resp_" + "a" * 32 + "_5_4", "resp_" + "A" * 32 + "_2", "resp_" + "a" * 32 + "_" + "9" * 16, "conv_" + "a" * 32],
)  # fmt: skip
def test_another_text_is_the_id_of_no_response(text: str) -> None:
    with pytest.raises(NotFound):
        parse_response_id(text)
    with pytest.raises(NotFound):
        parse_conversation_id(text.replace("conv_", "c"))


def test_a_name_of_a_client_is_always_the_same_chat_of_its_owner() -> None:
    names = ["", "a", "😀", "\ud800", "x" * 10_000]
    made = {named_chat_id(owner, protocol, name) for owner in "ab" for protocol in "pq" for name in names}
    assert len(made) == 4 * len(names)
    assert named_chat_id("a", "p", "x") == named_chat_id("a", "p", "x")
