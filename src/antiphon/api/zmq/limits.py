"""Limits of the sockets of the instance protocol."""

from __future__ import annotations

from antiphon.core.values import Value


class SocketLimits(Value):
    """What peers may make the sockets store."""

    subscriptions_max: int = 50_000
    """Maximum number of distinct topics that are subscribed to. Beyond it all subscriptions are dropped."""
    subscribed_bytes_max: int = 10 * 1024 * 1024
    """Maximum size of all topics, in bytes: libzmq may need 32 bytes for each of them."""
    queued_frames_max: int = 20_000
    """Maximum number of frames queued for one subscriber; newer ones are dropped."""
