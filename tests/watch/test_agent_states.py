"""Facts from the store get the agent's states, in bounded pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from antiphon.core.facts import Entry, Recorded, StateChanged, TitleChanged
from antiphon.core.model import Status
from antiphon.ports import Store
from antiphon.watch.agent_states import with_states
from antiphon.wire.stream import fact_frame

pytestmark = pytest.mark.anyio

SIZE = 10


class _Contents:
    """The contents of the states of one chat; those of `lost` are gone."""

    def __init__(self, lost: frozenset[int] = frozenset()) -> None:
        self._lost = lost

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        return {seq: b"[%8d]" % seq for seq in seqs if seq not in self._lost}


def entry(seq: int) -> Entry:
    fact = StateChanged(content_size=SIZE) if seq % 2 else TitleChanged(title="t", by="person")
    return Entry(recorded=Recorded(seq, 0, cast("Any", fact)), status=Status.RUNNING, draft=1)


ENTRIES = tuple(map(entry, range(1, 9)))


async def test_states_are_read_up_to_a_size() -> None:
    store = cast("Store", _Contents())
    whole = await with_states(store, "c", ENTRIES, bytes_max=1_000)
    assert [found.content is not None for found in whole] == [True, False] * 4
    cut = await with_states(store, "c", ENTRIES, bytes_max=2 * SIZE)
    assert cut == whole[:3]
    assert await with_states(store, "c", ENTRIES[1:2], bytes_max=1) == ENTRIES[1:2]


async def test_facts_without_their_states_are_not_cut() -> None:
    store = cast("Store", _Contents(lost=frozenset({1})))
    found = await with_states(store, "c", ENTRIES, bytes_max=2 * SIZE)
    assert [one.seq for one in found] == [one.seq for one in ENTRIES]


async def test_the_state_is_in_the_event_and_not_in_what_is_sent() -> None:
    (with_state,) = await with_states(cast("Store", _Contents()), "c", ENTRIES[:1], bytes_max=100)
    frame = fact_frame("c", with_state, position=0)
    event: Any = frame.event
    assert bytes(event.data["state"]) == b"[       1]"
    assert b"[  " not in frame.data
    without: Any = fact_frame("c", ENTRIES[0], position=0).event
    assert "state" not in without.data
