"""The ids of tokens and sessions that were revoked."""

from __future__ import annotations

from collections.abc import Iterable

REVOKED_MAX = 10_000
"""Maximum number of cached ids. Beyond it the cache is cleared: the store has all of them."""


class RevokedIds:
    """A bounded set. `Tokens` adds ids, `Watch` closes the streams of these tokens and sessions."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def __contains__(self, token_id: str) -> bool:
        return token_id in self._ids

    def update(self, token_ids: Iterable[str]) -> None:
        """Add ids."""
        new = set(token_ids)
        if len(self._ids) + len(new) > REVOKED_MAX:
            self._ids.clear()
        self._ids |= new
