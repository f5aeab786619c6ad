"""The fake clock and the seeded ids."""

from __future__ import annotations

import uuid

import pytest

from antiphon.testing.clock import START_US, FakeClock
from antiphon.testing.ids import SeededIds


def test_the_clock_advances_only_by_advance() -> None:
    clock = FakeClock()
    assert (clock.now_us(), clock.now_us()) == (START_US, START_US)
    assert clock.monotonic() == 0
    clock.advance(2.5)
    assert clock.now_us() == START_US + 2_500_000
    assert clock.monotonic() == 2.5
    with pytest.raises(AssertionError):
        clock.advance(-1)


def test_a_ticking_clock_never_says_the_same_twice() -> None:
    clock = FakeClock(1000, tick_us=1)
    assert [clock.now_us() for _ in range(3)] == [1001, 1002, 1003]


def test_a_seed_repeats_its_names() -> None:
    first, same, other = SeededIds(7), SeededIds(7), SeededIds(8)
    names = [first.uuid() for _ in range(100)]
    assert names == [same.uuid() for _ in range(100)]
    assert len(set(names)) == 100
    assert not set(names) & {other.uuid() for _ in range(100)}
    assert all(str(uuid.UUID(name)) == name and uuid.UUID(name).version == 4 for name in names)
    assert first.secret() == same.secret() != other.secret()
    assert len(first.secret()) == 43
