"""Sockets that notice within some ten seconds that the machine at their other end is gone, and nobody said so."""

from __future__ import annotations

import socket
from asyncio.trsock import TransportSocket

IDLE_S, PAUSE_S, TRIES = 4, 2, 3
"""A connection on which nothing comes for so long is asked whether it lives, with these pauses, so often."""

UNANSWERED_MS = 10_000
"""What was sent, and not even its arrival confirmed for so long, has not arrived."""

OPTIONS = (
    ("TCP_KEEPIDLE", IDLE_S),
    ("TCP_KEEPINTVL", PAUSE_S),
    ("TCP_KEEPCNT", TRIES),
    ("TCP_USER_TIMEOUT", UNANSWERED_MS),
)
"""Where a system has no such option its own time counts."""


def keep_alive(
    end: socket.socket | TransportSocket,
    *,
    idle_s: int = 0,
    pause_s: int = 0,
    tries: int = 0,
    unanswered_ms: int = 0,
) -> None:
    """Have the system end the connection once its other end is gone; 0 means our own value. A connection within this
    machine is left as it is."""
    if end.family not in (socket.AF_INET, socket.AF_INET6):
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    given = dict(zip((name for name, _ in OPTIONS), (idle_s, pause_s, tries, unanswered_ms), strict=True))
    for name, value in OPTIONS:
        value = given[name] or value
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
