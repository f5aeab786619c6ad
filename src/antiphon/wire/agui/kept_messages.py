"""The messages that a stream keeps, for a snapshot where an answer is begun again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from antiphon.wire.codec import encode

BYTES_MAX = 1024 * 1024
"""Maximum size of the messages, as JSON in bytes; above it none are kept."""


class KeptMessages:
    """Those before the run, then those of the run, as JSON."""

    def __init__(self, history: Iterable[dict[str, Any]] | None) -> None:
        """None: none are to be kept."""
        self.size = 0
        """In bytes."""
        self._history: list[bytes] | None = None
        self._own: list[bytes] = []
        if history is not None:
            self._history = list(map(encode, history))
            self._count(self._history)

    @property
    def messages(self) -> list[msgspec.Raw] | None:
        if self._history is None:
            return None
        return [msgspec.Raw(message) for message in (*self._history, *self._own)]

    def add(self, *messages: dict[str, Any]) -> None:
        if self._history is not None:
            encoded = list(map(encode, messages))
            self._own += encoded
            self._count(encoded)

    def forget(self) -> bool:
        """Forget the messages of the run; whether there were any."""
        had = bool(self._own)
        self.size -= sum(map(len, self._own))
        self._own.clear()
        return had

    def _count(self, added: list[bytes]) -> None:
        self.size += sum(map(len, added))
        if self.size > BYTES_MAX:
            self._history, self.size = None, 0
            self._own.clear()
