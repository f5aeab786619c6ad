"""The limits of the HTTP API's connections, bodies and calls of other instances."""

from __future__ import annotations

from antiphon.core.values import Value


class HttpLimits(Value):
    """Sizes in bytes, times in seconds (`_s`)."""

    body_s: float = 120.0
    """How long a request's body may take until it is complete."""
    body_idle_s: float = 10.0
    """How long may pass between two pieces of a body."""
    bodies_bytes_max: int = 256 * 1024 * 1024
    """Maximum size of all bodies that are being read or handled."""
    owner_bytes_max: int = 64 * 1024 * 1024
    """Maximum size of one owner's bodies."""
    small_bytes_max: int = 64 * 1024
    """Maximum size of a body that is not counted."""
    upload_s: float = 3600.0
    """How long the upload of a file may take. Between two pieces of it, `body_idle_s` may pass."""
    download_idle_s: float = 30.0
    """How long a client may read nothing of a file before its connection is closed."""

    head_s: float = 10.0
    """How long the head of a request may take until it is complete; then the connection is closed."""
    keep_alive_s: float = 75.0
    """How long an idle connection is kept open."""

    instance_answer_s: float = 2.0
    """How long another instance may take to respond before it is shown as silent."""
    instance_command_s: float = 10.0
    """How long a command at another instance may take."""
    instance_message_bytes_max: int = 32 * 1024 * 1024
    """Maximum size of another instance's reply or event frame."""
    instance_check_s: float = 5.0
    """How often another instance's liveness is checked while its events are streamed."""
    instance_checks_missed_max: int = 3
    """Maximum number of failed liveness checks in a row; then the stream of the instance's events ends."""
    events_max: int = 1_000
    """Maximum number of buffered events of another instance. Beyond it, the oldest are dropped and counted."""
    events_bytes_max: int = 4 * 1024 * 1024
    """Maximum size of the buffered events of another instance."""
