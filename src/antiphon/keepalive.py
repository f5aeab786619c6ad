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


def keep_alive(end: socket.socket | TransportSocket) -> None:
    """Have the system end the connection once its other end is gone. One within this machine is left as it is."""
    if end.family not in (socket.AF_INET, socket.AF_INET6):
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in OPTIONS:
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
