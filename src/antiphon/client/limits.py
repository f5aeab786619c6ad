"""The limits of what a client reads of a response."""

from __future__ import annotations

from antiphon.core.values import Value

ERROR_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 128 * 1024 * 1024
"""A list has up to 16 MiB and one more item; characters may be escaped."""


class BodyLimits(Value):
    """Sizes in bytes, times in seconds (`_s`)."""

    error_bytes_max: int = ERROR_BYTES_MAX
    """Maximum size of the body of an error; the rest is not read."""
    answer_bytes_max: int = ANSWER_BYTES_MAX
    """Maximum size of another body."""
    error_s: float = 15.0
    """How long reading the body of an error may take."""
    answer_s: float = 600.0
    """How long reading another body may take."""
