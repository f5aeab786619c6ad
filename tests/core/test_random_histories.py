"""Whatever is asked, in whatever order, the promises hold: `History` checks them after every command."""

from __future__ import annotations

import pytest

from antiphon.core import commands as c
from antiphon.core.facts import KINDS, kind_of
from antiphon.core.model import Status
from antiphon.core.transitions import TABLE

from .chats import held
from .random_histories import random_history

SEEDS_ALWAYS = 80
SEEDS = 2_000
STEPS = 400
BATCHES = 10


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_histories_keep_the_invariants(batch: int) -> None:
    for seed in range(batch, SEEDS_ALWAYS, BATCHES):
        random_history(seed, STEPS).check_fold()


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_many_random_histories_keep_the_invariants(batch: int) -> None:
    for seed in range(SEEDS_ALWAYS + batch, SEEDS, BATCHES):
        random_history(seed, STEPS).check_fold()


def test_random_histories_reach_every_cell_of_the_table() -> None:
    """Else they would try little: all statuses, all kinds of facts and nearly all cells of the table."""
    cells: set[tuple[Status, str]] = set()
    kinds: set[str] = set()
    longest = 0
    for seed in range(90):
        history = random_history(seed, STEPS)
        cells |= history.cells
        kinds |= {kind_of(entry.fact) for entry in history.entries}
        longest = max(longest, history.chat.seq)
    assert kinds == set(KINDS)
    assert len(cells) >= len(TABLE) - 4
    assert longest > 150


def test_the_same_seed_gives_the_same_history() -> None:
    assert random_history(7, STEPS).entries == random_history(7, STEPS).entries


def test_a_queue_is_delivered_steering_first_then_promoted_then_the_rest() -> None:
    history = held()
    for text, mode in (("q1", "queue"), ("q2", "queue"), ("s1", "steer"), ("p1", "interrupt"), ("s2", "steer")):
        history.send(text, mode)
    history.send("p2", "interrupt")
    delivered = []
    while history.chat.waits:
        before = len(history.entries)
        history.do(c.ExpireAttempt(attempt=history.chat.attempt, reason="dead"))
        if history.chat.status is Status.RUNNING and not history.chat.attempt:
            history.start()
        history.interrupt()
        delivered += [entry.fact.queued_id for entry in history.entries[before:] if hasattr(entry.fact, "queued_id")]
    waited = {entry.seq: entry.content for entry in history.entries if kind_of(entry.fact) == "message_queued"}
    order = [waited[queued_id].split(b'"')[-2].decode() for queued_id in delivered if queued_id]
    assert order == ["s1", "s2", "p1", "p2", "q1", "q2"]
