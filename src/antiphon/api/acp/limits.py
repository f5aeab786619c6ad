"""The limits of a connection of an editor."""

from __future__ import annotations

from antiphon.core.values import Value


class AcpLimits(Value):
    """Sizes in bytes, times in seconds (`_s`)."""

    line_bytes_max: int = 16 << 20
    """Maximum size of a message of the editor. A larger one is skipped, and answered with an error."""
    requests_max: int = 256
    """Maximum number of requests of the editor in progress."""
    sessions_max: int = 100
    """Maximum number of open sessions."""
    drain_s: float = 5.0
    """How long messages that are being sent to the instance may take after the end of the input."""
    stop_s: float = 10.0
    """How long a stop waits for an instance that is unavailable. Then the prompt is answered with an error."""
    retry_s: float = 0.5
    """Delay before a stop or an answer is sent again, while the instance is unavailable."""
