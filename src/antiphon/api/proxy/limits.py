"""The limits of a standby's proxy."""

from __future__ import annotations

from antiphon.client.limits import ANSWER_BYTES_MAX, ERROR_BYTES_MAX
from antiphon.core.values import Value


class ProxyLimits(Value):
    """How long a standby waits for its primary, in seconds, and how much it buffers."""

    retry_s: float = 0.02
    """How long to wait after a failure before the next attempt to reach a primary."""
    check_s: float = 2.0
    """How often the primary's liveness is checked, and how long one check may take."""
    silent_s: float = 15.0
    """How long a primary may not respond before it is reported. It is not replaced while it holds the lock."""
    connect_s: float = 2.0
    """How long connecting to the primary may take."""
    answer_s: float = 60.0
    """How long the primary may take to respond to a request that is not a stream."""
    takeover_s: float = 10.0
    """How long a request waits for the next primary."""
    stream_head_s: float = 15.0
    """How long the primary may take to start a stream."""
    slow_reader_s: float = 30.0
    """How long a client may read nothing of a stream before its connection is closed."""
    event_bytes_max: int = 64 * 1024 * 1024
    """Maximum size of an event of a stream."""
    answer_bytes_max: int = ANSWER_BYTES_MAX
    """Maximum size of a response body."""
    error_bytes_max: int = ERROR_BYTES_MAX
    """Maximum size of the body of an error response."""
    health_bytes_max: int = 64 * 1024
    """Maximum size of the response to a liveness check."""
    idle_connections_max: int = 64
    """Maximum number of idle connections to the primary."""
    requests_max: int = 1_000
    """Maximum number of requests being forwarded, streams not counted."""
    transfers_max: int = 64
    """Maximum number of uploads and downloads being forwarded."""
    sender_transfers_max: int = 8
    """Maximum number of them of one sender. All senders that the primary has not accepted yet count as one."""
    accepted_max: int = 10_000
    """Maximum number of accepted secrets that are cached. The least recently used one is dropped first."""
