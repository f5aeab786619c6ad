"""The stopwatch counts sleep and work, and not the wait for a core."""

from __future__ import annotations

import os
import time

import pytest

from support import stopwatch
from support.stopwatch import Stopwatch


def test_sleep_and_a_process_that_has_ended_count_in_full() -> None:
    watch = Stopwatch(2**22 - 1)
    time.sleep(0.05)
    assert watch.elapsed_s() >= 0.04


def test_the_wait_for_a_core_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([5.0, 7.0, 5.5, 7.25])
    monkeypatch.setattr(stopwatch, "_wait_s", lambda pid, otherwise=0.0: next(waits))
    monkeypatch.setattr(time, "monotonic", iter([100.0, 102.0]).__next__)
    assert Stopwatch(os.getpid() + 1).elapsed_s() == 2.0 - 0.5 - 0.25
