"""Tracebacks for the log, as plain text.

structlog's own form for a terminal also prints the local variables, which may have messages and secrets. A program
that embeds an instance may use that form, so an exception is passed to the log as text.
"""

from __future__ import annotations

import sys
import traceback

TRACEBACK_MAX = 16 * 1024
"""Maximum length of a traceback in the log, in characters. Its end, with the error itself, is kept."""


def traceback_of(error: BaseException | None = None) -> str:
    """The traceback of an error, by default of the one that is being handled."""
    error = sys.exception() if error is None else error
    text = "" if error is None else "".join(traceback.format_exception(error)).rstrip()
    return text if len(text) <= TRACEBACK_MAX else f"…{text[-TRACEBACK_MAX:]}"
