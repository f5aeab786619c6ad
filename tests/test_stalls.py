"""A loop that stands still is noticed, with the place where it stands."""

from __future__ import annotations

import time

import pytest
import structlog

from antiphon.observe import stall_watch as stalls
from antiphon.observe.stall_watch import StallWatch


def stand_still(watch: StallWatch) -> None:
    deadline = time.monotonic() + 10
    while not watch.was_stalled_lately and time.monotonic() < deadline:
        pass


def test_a_loop_that_stands_still_is_logged_with_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "STALL_S", 0.3)
    with structlog.testing.capture_logs() as logs, StallWatch() as watch:
        watch.beat()
        assert not watch.was_stalled_lately
        stand_still(watch)
    assert watch.was_stalled_lately
    assert "stand_still" in logs[0]["stack"]


def test_a_loop_that_beats_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with structlog.testing.capture_logs() as logs, StallWatch() as watch:
        for _ in range(100):
            watch.beat()
    assert not watch.was_stalled_lately
    assert logs == []
