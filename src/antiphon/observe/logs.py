"""Structured logs on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

SILENT_LIBRARIES = ("mcp", "client")
"""The loggers of the MCP SDK. Their errors contain what foreign servers send, of any length; each is also reported by
an event of ours."""


def configure_logging(*, as_json: bool, level: str = "info") -> None:
    """Write structured logs to stderr, as JSON lines or for a terminal."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    for name in SILENT_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
