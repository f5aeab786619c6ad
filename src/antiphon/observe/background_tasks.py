"""Background tasks of an owner. Failures are counted and logged."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from antiphon.observe.metrics import METRICS
from antiphon.tracebacks import traceback_of

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """The background tasks of one owner: `start` adds one; `cancel` them all when the owner is closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            METRICS.unexpected.labels("background_task_failure").inc()
            log.error("background_task_failed", exception=traceback_of(error))
