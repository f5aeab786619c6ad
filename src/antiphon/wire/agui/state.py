"""The agent's state as AG-UI's clients have it: a snapshot first, then JSON patches."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.wire.json_patch import json_patch

OPERATIONS_MAX = 500
"""Maximum number of operations of a patch; a greater change is a snapshot."""


class AgentStateView:
    """What the clients of one stream have. `stored` is the JSON of the state at the beginning, None: unknown."""

    def __init__(self, stored: bytes | None) -> None:
        self._begin = stored
        self._value = msgspec.json.decode(stored) if stored is not None else None
        self._is_known = stored is not None

    def opening(self, given: Any) -> list[dict[str, Any]]:
        """The event for a client that has `given` (None: it has nothing, which counts as the empty state)."""
        if not self._is_known:
            return []
        has = {} if given is None else given
        return [] if json_patch(has, self._value, operations_max=1) == [] else [snapshot(self._value)]

    def change(self, stored: bytes) -> list[dict[str, Any]]:
        """The events of another state: a patch where that is known and short."""
        new = msgspec.json.decode(stored)
        patch = json_patch(self._value, new, operations_max=OPERATIONS_MAX) if self._is_known else None
        self._value, self._is_known = new, True
        if patch is None:
            return [snapshot(new)]
        return [{"type": "STATE_DELTA", "delta": patch}] if patch else []

    def go_back(self, *, is_known: bool) -> list[dict[str, Any]]:
        """The answer is begun again: an earlier state holds, if `is_known` that of the beginning."""
        if is_known and self._begin is not None:
            return self.change(self._begin)
        self._is_known = False
        return []


def snapshot(state: Any) -> dict[str, Any]:
    return {"type": "STATE_SNAPSHOT", "snapshot": state}
