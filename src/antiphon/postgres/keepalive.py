"""TCP keep-alive: a socket detects within about ten seconds that its peer's machine is gone without closing it."""

from __future__ import annotations

import socket
from asyncio.trsock import TransportSocket

IDLE_S = 4
"""How long a connection must be idle before the first probe, in seconds."""
INTERVAL_S = 2
"""Time between two probes, in seconds."""
PROBES_MAX = 3
"""Maximum number of unanswered probes before the connection is closed."""
UNACKNOWLEDGED_MS = 10_000
"""How long sent data may remain unacknowledged before the connection is closed, in milliseconds."""

OPTIONS = (
    ("TCP_KEEPIDLE", IDLE_S),
    ("TCP_KEEPINTVL", INTERVAL_S),
    ("TCP_KEEPCNT", PROBES_MAX),
    ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
)
"""An option that the operating system lacks keeps the system's own value."""


def keep_alive(
    end: socket.socket | TransportSocket,
    *,
    idle_s: int = 0,
    interval_s: int = 0,
    probes_max: int = 0,
    unacknowledged_ms: int = 0,
) -> None:
    """Let the system close the connection once its peer is gone. 0 means our own value. A connection that is not TCP
    is not changed."""
    if end.family not in (socket.AF_INET, socket.AF_INET6):
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    given = dict(zip((name for name, _ in OPTIONS), (idle_s, interval_s, probes_max, unacknowledged_ms), strict=True))
    for name, value in OPTIONS:
        value = given[name] or value
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
