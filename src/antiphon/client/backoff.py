"""How long to wait: for an answer, and before the next try (full jitter, bounded, never less than what the server
asked for)."""

from __future__ import annotations

from random import Random

from antiphon.errors import TooMany, Unavailable

TIMEOUT_S = 30.0
RETRY_S = 30.0
SILENCE_S = 45.0
"""A client's usual patience. The server pings every 15 s: a stream that is silent for so long is dead."""
FIRST_S = 0.2
DELAY_S_MAX = 10.0
DELAY_S_MIN = 0.02
"""So that a server that takes a connection and drops it is not asked in a tight loop."""
DOUBLINGS_MAX = 10


def backoff_s(tries: int, *, random: Random, wish_ms: int | None = None) -> float:
    """The wait after `tries` (from 1) fruitless tries. `wish_ms` is the server's: at least that long."""
    longest = min(DELAY_S_MAX, FIRST_S * 2 ** min(tries - 1, DOUBLINGS_MAX))
    jittered = DELAY_S_MIN + random.random() * longest
    return jittered if wish_ms is None else min(wish_ms / 1000, 6 * DELAY_S_MAX) + random.random() * FIRST_S


def wish_of(error: Unavailable | TooMany | None) -> int | None:
    """What the server asked for when it answered at all (an error of our own making has no wish)."""
    return error.retry_after_ms if error is not None and type(error) in (Unavailable, TooMany) else None
