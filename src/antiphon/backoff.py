"""The delay before a retry: exponential backoff with jitter and a maximum. Every part that retries uses it."""

from __future__ import annotations

from random import Random

from antiphon.core.values import Value

DOUBLINGS_MAX = 30
"""Maximum number of doublings: a much larger power of two does not fit into a float."""


class Backoff(Value):
    """The delay doubles with each failed try, up to a maximum, and part of it is random. Times are in seconds."""

    first_s: float
    """Maximum delay after the first failed try."""
    max_s: float
    """Maximum delay after any failed try."""
    min_s: float = 0.0
    """Added to every delay: no retry follows at once."""
    jitter: float = 1.0
    """The part of a delay that is random, from 0 (none) to 1 (full jitter)."""

    def longest_s(self, tries: int) -> float:
        """Maximum delay after `tries` (from 1) failed tries, `min_s` not included."""
        longest: float = min(self.max_s, self.first_s * 2 ** min(max(tries - 1, 0), DOUBLINGS_MAX))
        return longest

    def delay_s(self, tries: int, random: Random) -> float:
        """The delay after `tries` (from 1) failed tries."""
        return self.min_s + self.longest_s(tries) * (1.0 - self.jitter * (1.0 - random.random()))
