"""The scenes of the instance protocol's edge, as small as they go: no figure is judged, only that nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.instance import CASES, Case, Folded, fold_sessions, measure_rpc
from benchmarks.runner import Scale
from benchmarks.subscribers import Subscribers

TOKENS = 2_000
SOME_CHATS = Case(name="some chats", chats=5)


@pytest.fixture(scope="module")
def subscribers() -> Iterator[Subscribers]:
    with Subscribers(2) as running:
        yield running


@pytest.mark.parametrize("case", [*CASES[:2], SOME_CHATS], ids=lambda case: case.name)
def test_every_subscriber_folds_all_that_was_handed_in(subscribers: Subscribers, case: Case) -> None:
    folded = Folded()
    asyncio.run(fold_sessions(subscribers, folded, case, tokens=TOKENS))
    assert folded.tokens_per_frame[0] >= 1
    assert len(folded.rates) == 1


def test_what_is_lost_on_the_way_is_asked_for(subscribers: Subscribers) -> None:
    folded = Folded()
    asyncio.run(fold_sessions(subscribers, folded, SOME_CHATS, tokens=TOKENS, lost_every=2))
    assert folded.asked[0] >= subscribers.count


def test_a_ping_is_timed_beside_an_echo() -> None:
    [figure] = measure_rpc(Scale(repeats=1, is_quick=True))
    assert figure.value > 0
    assert figure.ratio is not None
