"""The agent's state: a JSON document per chat, which is stored with the next message (`turn.state`)."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.core.depth import DEPTH_MAX, is_deeper
from antiphon.errors import AttemptFailed
from antiphon.wire.codec import NOT_JSON, encode

EMPTY = b"{}"


class AgentState:
    """`value` is what the agent reads and changes; `stored` is the JSON that the chat has."""

    def __init__(self, stored: bytes = EMPTY, *, bytes_max: int) -> None:
        self._stored = stored
        self._bytes_max = bytes_max
        self._value: Any = None
        self._is_read = False

    @property
    def value(self) -> Any:
        if not self._is_read:
            self._value, self._is_read = msgspec.json.decode(self._stored), True
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value, self._is_read = value, True

    def changed(self) -> bytes | None:
        """The JSON to store, None if it is what is stored. Raises `AttemptFailed` for what cannot be stored."""
        if not self._is_read:
            return None
        try:
            encoded = encode(self._value)
        except NOT_JSON as error:
            raise _refused(f"is not JSON: {error}") from error
        if encoded == self._stored:
            return None
        if len(encoded) > self._bytes_max:
            limit = f"at most {self._bytes_max:,} are allowed (--limit state_bytes)"
            raise _refused(f"has {len(encoded):,} bytes; {limit}")
        if is_deeper(encoded, DEPTH_MAX):
            raise _refused(f"is nested deeper than {DEPTH_MAX} levels")
        return encoded

    def set_stored(self, encoded: bytes) -> None:
        """The chat has this state now."""
        self._stored = encoded

    def reset(self) -> None:
        """Forget what the agent has changed since the last message: it starts again."""
        self._value, self._is_read = None, False


def _refused(what: str) -> AttemptFailed:
    return AttemptFailed("unknown", f"turn.state {what}.", retryable=False)
