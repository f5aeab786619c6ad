"""The output of a turn depends on positions only: any cut of the deltas, live or stored, gives the same."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import pytest

from antiphon.core.events import Event
from antiphon.core.parts import Text
from antiphon.wire.turn_output import (
    CallArgs,
    CallBegun,
    CallProgress,
    MessageDone,
    PartDone,
    PartKey,
    PartText,
    Place,
    TurnEnd,
    TurnOutput,
)

from .protocols import Recording, content_of, cut, recordings, stored, whole


class CodePoint(NamedTuple):
    """A code point of a part, at its own place."""

    place: Place
    key: PartKey
    text: str


def outputs(recording: Recording, events: list[Event], *, with_abandoned: bool = True) -> list[Any]:
    """The output, with each code point by itself and without what is transient."""
    turn = TurnOutput(recording.turn_id, recording.turn_id)
    found: list[Any] = []
    for event in events:
        for output in turn.apply(event):
            if isinstance(output, PartText):
                (seq, step), key = output.place, output.key
                found += [CodePoint(Place(seq, step + i), key, char) for i, char in enumerate(output.text)]
            elif not isinstance(output, CallProgress | CallBegun | CallArgs):
                found.append(output)
    kept = {output.draft for output in found if isinstance(output, MessageDone)}
    return [o for o in found if with_abandoned or not hasattr(o, "key") or o.key.draft in kept]


@pytest.mark.parametrize("is_live", [True, False], ids=["watching", "later"])
def test_any_cut_of_the_deltas_gives_the_same_output_at_the_same_places(is_live: bool) -> None:
    for number, recording in enumerate(recordings()):
        reference = outputs(recording, whole(recording))
        if not is_live:
            assert outputs(recording, stored(recording)) == reference, number
            continue
        for seed in range(2):
            assert outputs(recording, cut(recording, Random(seed))) == reference, (number, seed)


def test_places_only_grow() -> None:
    for retries in (False, True):
        for recording in recordings(retries=retries):
            places = [output[0] for output in outputs(recording, whole(recording))]
            assert places == sorted(set(places))


def test_an_abandoned_answer_moves_nothing_that_follows() -> None:
    """A client that comes later never learns of it, and still gets the rest at the same places."""
    recorded = [recording for recording in recordings(retries=True) if recording.is_retried]
    assert len(recorded) > 10
    for recording in recorded:
        live = outputs(recording, whole(recording), with_abandoned=False)
        assert outputs(recording, stored(recording), with_abandoned=False) == live


def test_the_output_has_all_text_of_the_committed_messages() -> None:
    for recording in recordings():
        found = outputs(recording, whole(recording))
        texts = [o.text for o in found if isinstance(o, PartDone) and not o.is_abandoned]
        prose = [part.text for part in content_of(recording) if isinstance(part, Text) or hasattr(part, "text")]
        assert texts == [text for text in prose if text]


def test_a_turn_ends_once_and_last() -> None:
    for recording in recordings():
        found = outputs(recording, whole(recording))
        assert [type(o) for o in found if isinstance(o, TurnEnd)] == [TurnEnd]
        assert isinstance(found[-1], TurnEnd)
