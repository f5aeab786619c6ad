"""Timeouts of the clients, and the delay before a retry: exponential backoff with full jitter, bounded, and never
less than the server's Retry-After."""

from __future__ import annotations

from random import Random

from antiphon.errors import TooMany, Unavailable

TIMEOUT_S = 30.0
"""How long a client waits for a response, in seconds."""
RETRY_S = 30.0
"""How long a repeatable request is retried, in seconds."""
SILENCE_S = 45.0
"""How long a stream may stay silent before the client reconnects, in seconds. The server pings every 15 s."""
FIRST_S = 0.2
"""Maximum delay before the first retry, in seconds; it doubles with each retry."""
DELAY_S_MAX = 10.0
"""Maximum delay before a retry, in seconds."""
DELAY_S_MIN = 0.02
"""Minimum delay, in seconds: a server that accepts and closes connections is not retried in a tight loop."""
DOUBLINGS_MAX = 10
"""Maximum number of doublings of the delay."""


def backoff_s(tries: int, *, random: Random, retry_after_ms: int | None = None) -> float:
    """The delay after `tries` (from 1) failed tries, in seconds; at least the server's `retry_after_ms`."""
    longest: float = min(DELAY_S_MAX, FIRST_S * 2 ** min(tries - 1, DOUBLINGS_MAX))
    if retry_after_ms is None:
        return DELAY_S_MIN + random.random() * longest
    return min(retry_after_ms / 1000, 6 * DELAY_S_MAX) + random.random() * FIRST_S


def retry_after_ms_of(error: Unavailable | TooMany | None) -> int | None:
    """The delay that the server asked for; None: it sent no response, or no delay."""
    return error.retry_after_ms if error is not None and type(error) in (Unavailable, TooMany) else None
