"""The tokens and sessions that are known to be revoked."""

from __future__ import annotations

from collections.abc import Iterable

REVOKED_MAX = 10_000
"""Maximum number of cached ids; the store has them all."""


class RevokedIds:
    """A bounded set. `Tokens` adds to it, `Watch` closes the streams of its members."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def __contains__(self, token_id: str) -> bool:
        return token_id in self._ids

    def update(self, token_ids: Iterable[str]) -> None:
        new = set(token_ids)
        if len(self._ids) + len(new) > REVOKED_MAX:
            self._ids.clear()
        self._ids |= new
