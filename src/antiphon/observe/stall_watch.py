"""Detects stalls of the event loop from a separate thread, and logs the stack of the loop."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from types import TracebackType

import structlog

from antiphon.observe.metrics import METRICS

BEAT_S = 0.5
"""How often the loop reports that it runs, in seconds."""
STALL_S = 1.0
"""How long the loop may not report before that counts as a stall, in seconds."""
RECENT_S = 5.0
"""How long after a stall `was_stalled_recently` is true, in seconds."""
FRAMES_MAX = 12
"""Maximum number of logged stack frames."""

log = structlog.get_logger(__name__)


class StallWatch:
    """While it is open, the loop must call `beat` at least every `stall_s`, or its stack is logged once per stall."""

    def __init__(self, *, stall_s: float = STALL_S) -> None:
        self._stall_s = stall_s
        self._loop_thread = threading.get_ident()
        self._beaten_at = time.monotonic()
        self._stalled_at: float | None = None
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._check, name="antiphon-stalls", daemon=True)

    def __enter__(self) -> StallWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._is_closed.set()
        self._thread.join()

    def beat(self) -> None:
        self._beaten_at = time.monotonic()

    @property
    def was_stalled_recently(self) -> bool:
        return self._stalled_at is not None and time.monotonic() - self._stalled_at < RECENT_S

    def _check(self) -> None:
        logged = 0.0
        while not self._is_closed.wait(BEAT_S):
            beaten_at = self._beaten_at
            if time.monotonic() - beaten_at < self._stall_s:
                continue
            self._stalled_at = time.monotonic()
            if logged != beaten_at:
                logged = beaten_at
                METRICS.stalls.inc()
                log.warning("loop_stalled", stack=self._stack())

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)[-FRAMES_MAX:]) if frame else ""
