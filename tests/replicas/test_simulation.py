"""Several instances in virtual time, on a store, a bus and links that fail: each seed is a life of its own, and the
same whenever it is lived."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.simulation import Outcome, simulate

TESTS = Path(__file__).parent.parent
SEEDS_ALWAYS = 50
SEEDS = 1_000
GROUP = 10


def check_seeds(first: int, count: int, *, busy_s: float) -> list[Outcome]:
    outcomes = []
    for seed in range(first, first + count):
        outcome = simulate(seed, busy_s=busy_s)
        assert not outcome.violations, outcome.report()
        outcomes.append(outcome)
    return outcomes


@pytest.mark.parametrize("first", range(0, SEEDS_ALWAYS, GROUP))
def test_no_seed_breaks_a_promise(first: int) -> None:
    outcomes = check_seeds(first, GROUP, busy_s=12.0)
    happened = Counter(fault for outcome in outcomes for fault in outcome.faults)
    assert len(happened) >= 6, "something goes wrong"
    assert sum(outcome.acknowledged for outcome in outcomes) > 20 * GROUP, "and something goes well"
    assert sum(outcome.deleted for outcome in outcomes) > 2 * GROUP, "and chats are deleted while they are busy"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SEEDS_ALWAYS, SEEDS_ALWAYS + SEEDS, 50))
def test_none_of_a_thousand_seeds_breaks_a_promise(first: int) -> None:
    check_seeds(first, 50, busy_s=25.0)


def test_a_life_that_has_no_end_is_ended_and_says_what_it_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody rests, so it looks again and again."""
    monkeypatch.setattr("support.simulation.LIMIT_S", 100.0)
    monkeypatch.setattr("support.simulation.IDLE_S", 1000.0)
    monkeypatch.setattr("support.simulation._Simulation._busy", lambda self: self.clients.chat_ids)
    outcome = simulate(7, busy_s=3.0)
    assert [violation.invariant for violation in outcome.violations] == ["NO-END"]
    assert "100 s were not enough: it waits for the chats" in outcome.report()


def test_a_chat_that_stays_stuck_ends_the_life_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: an attempt has no lease, so nobody sees that its holder is dead."""
    monkeypatch.setattr("antiphon.chats.append_batch.AppendBatch._lease", lambda self: None)
    outcome = simulate(0, busy_s=12.0)
    assert "NO-STUCK" in {violation.invariant for violation in outcome.violations}
    assert "running, attempt" in outcome.report()


def test_a_seed_is_replayed_byte_for_byte() -> None:
    first, again = simulate(7), simulate(7)
    assert first.trace == again.trace
    assert first.digest == again.digest
    assert simulate(8).digest != first.digest


def test_a_seed_is_the_same_in_another_process_whatever_its_hashes() -> None:
    def replay(hash_seed: str) -> str:
        command = [sys.executable, "-m", "support.simulation", "7"]
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(TESTS)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stdout

    told = replay("1")
    assert told == replay("2")
    assert simulate(7).digest in told
