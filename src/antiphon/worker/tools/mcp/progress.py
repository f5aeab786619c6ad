"""The progress of an MCP tool as the text that watchers of the chat see."""

from __future__ import annotations

import asyncio

from antiphon.worker.tools.tool import ToolContext

TEXT_MAX = 1_000
"""Maximum length of one report of progress, in characters."""
REPORT_S = 0.1
"""Minimum time between two reports of one call, in seconds. Reports in between are dropped."""
REPORTS_MAX = 1_000
"""Maximum number of reports of one call."""


class ProgressReporter:
    """The progress callback of one call. Watchers get at most REPORTS_MAX reports, at most one per REPORT_S."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._reported_at = 0.0
        self._reports = 0

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        now = asyncio.get_running_loop().time()
        if self._reports >= REPORTS_MAX or now - self._reported_at < REPORT_S:
            return
        self._reports += 1
        self._reported_at = now
        share = f"{progress:g}" if total is None else f"{progress:g}/{total:g}"
        self._context.progress(f"{share} {message}"[:TEXT_MAX] if message else share)
