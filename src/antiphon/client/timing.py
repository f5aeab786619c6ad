"""Timeouts of the clients, and the delay before a retry: backoff with full jitter, and never less than the server's
Retry-After."""

from __future__ import annotations

from random import Random

from antiphon.backoff import Backoff
from antiphon.errors import TooMany, Unavailable

TIMEOUT_S = 30.0
"""How long a client waits for a response, in seconds."""
RETRY_S = 30.0
"""How long a repeatable request is retried, in seconds."""
SILENCE_S = 45.0
"""How long a stream may stay silent before the client reconnects, in seconds. The server pings every 15 s."""
BACKOFF = Backoff(first_s=0.2, max_s=10.0, min_s=0.02)
"""Its minimum: a server that accepts and closes connections is not retried in a tight loop."""
RETRY_AFTER_S_MAX = 60.0
"""Maximum delay that a server may ask for, in seconds."""


def retry_delay_s(tries: int, *, random: Random, retry_after_ms: int | None = None) -> float:
    """The delay after `tries` (from 1) failed tries, in seconds; at least the server's `retry_after_ms`."""
    if retry_after_ms is None:
        return BACKOFF.delay_s(tries, random)
    return min(retry_after_ms / 1000, RETRY_AFTER_S_MAX) + random.random() * BACKOFF.first_s


def retry_after_ms_of(error: Unavailable | TooMany | None) -> int | None:
    """The delay that the server asked for; None: it sent no response, or no delay."""
    return error.retry_after_ms if error is not None and type(error) in (Unavailable, TooMany) else None
