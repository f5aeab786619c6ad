"""A stall of the event loop is logged with the stack of the loop."""

from __future__ import annotations

import time

import structlog

from antiphon.observe.stall_watch import StallWatch


def block(watch: StallWatch) -> None:
    deadline = time.monotonic() + 10
    while not watch.was_stalled_recently and time.monotonic() < deadline:
        pass


def test_a_stalled_loop_is_logged_with_its_stack() -> None:
    with structlog.testing.capture_logs() as logs, StallWatch(stall_s=0.3) as watch:
        watch.beat()
        assert not watch.was_stalled_recently
        block(watch)
    assert watch.was_stalled_recently
    assert "block" in logs[0]["stack"]


def test_a_loop_that_reports_is_not_logged() -> None:
    with structlog.testing.capture_logs() as logs, StallWatch() as watch:
        for _ in range(100):
            watch.beat()
    assert not watch.was_stalled_recently
    assert logs == []
