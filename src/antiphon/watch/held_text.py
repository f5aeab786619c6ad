"""Counts the text that translations for other protocols hold: an answer until its end, once for each of its watchers.

Watchers of this server's own stream hold nothing but a cursor. Other protocols repeat the whole text at the end, so
their translations need it.
"""

from __future__ import annotations

from collections import Counter

OWNER_SHARE = 2
"""One owner may hold this part of the total: one half."""


class HeldText:
    """Sizes in code points; a translation needs about four bytes for each code point that it holds."""

    def __init__(self, total_max: int) -> None:
        self._total_max = total_max
        self._total = 0
        self._owners: Counter[str] = Counter()

    def add(self, owner_id: str, size: int) -> bool:
        """Count `size` more. Returns False if that is more than the maximum; it is counted in any case."""
        self._total += size
        self._owners[owner_id] += size
        return self._total <= self._total_max and self._owners[owner_id] <= self._total_max // OWNER_SHARE

    def release(self, owner_id: str, size: int) -> None:
        self._total -= size
        self._owners[owner_id] -= size
        if not self._owners[owner_id]:
            del self._owners[owner_id]

    def __len__(self) -> int:
        return self._total
