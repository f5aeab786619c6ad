"""Notices from a thread of its own when the event loop stands still, and where it stands."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from types import TracebackType

import structlog

from antiphon.observe.metrics import METRICS

BEAT_S = 0.25
STALL_S = 1.0
REMEMBERED_S = 5.0
FRAMES_SHOWN = 12

log = structlog.get_logger(__name__)


class StallWatch:
    """While open, `beat` must be called from the loop at least every STALL_S; else its stack is logged, once each."""

    def __init__(self) -> None:
        self._loop_thread = threading.get_ident()
        self._beaten_at = time.monotonic()
        self._stalled_at: float | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="antiphon-stalls", daemon=True)

    def __enter__(self) -> StallWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def beat(self) -> None:
        self._beaten_at = time.monotonic()

    @property
    def was_stalled_lately(self) -> bool:
        return self._stalled_at is not None and time.monotonic() - self._stalled_at < REMEMBERED_S

    def _look(self) -> None:
        told = 0.0
        while not self._is_over.wait(BEAT_S):
            beaten_at = self._beaten_at
            if time.monotonic() - beaten_at < STALL_S:
                continue
            self._stalled_at = time.monotonic()
            if told != beaten_at:
                told = beaten_at
                METRICS.stalls.inc()
                log.warning("loop_stalled", stack=self._stack())

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)[-FRAMES_SHOWN:]) if frame else ""
