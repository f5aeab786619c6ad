"""The delay before a retry grows up to its maximum, and its random part is as large as it says."""

from __future__ import annotations

from random import Random

import pytest

from antiphon.backoff import Backoff


def test_the_delay_doubles_up_to_its_maximum() -> None:
    backoff = Backoff(first_s=0.5, max_s=3.0, jitter=0.0)
    assert [backoff.delay_s(tries, Random(0)) for tries in (1, 2, 3, 4, 1_000_000)] == [0.5, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("jitter", [0.1, 0.5, 1.0])
def test_the_random_part_is_drawn_over_its_whole_range(jitter: float) -> None:
    backoff, random = Backoff(first_s=1.0, max_s=1.0, min_s=0.25, jitter=jitter), Random(1)
    delays = [backoff.delay_s(1, random) for _ in range(1_000)]
    lowest = 1.25 - jitter
    assert lowest <= min(delays) < lowest + 0.02 * jitter
    assert 1.25 - 0.02 * jitter < max(delays) <= 1.25
