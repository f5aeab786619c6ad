"""How many connections a server has at once, and which one makes room when there are too many: the longest idle.

A connection is idle until a whole request head came, and again once its answer is complete. So a client that connects
and sends a request finds a place, however many others hold connections that they do not use.
"""

from __future__ import annotations

from typing import Protocol


class Idle(Protocol):
    """A connection that can make room."""

    def close_idle(self) -> None: ...


class ConnectionPlaces:
    """Places for `connections_max` connections of one server."""

    def __init__(self, connections_max: int) -> None:
        self._max = connections_max
        self._taken: set[Idle] = set()
        self._idle: dict[Idle, None] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, connection: Idle) -> bool:
        """A place for a new connection; False: all are in use."""
        if len(self._taken) >= self._max and not self._make_room():
            return False
        self._taken.add(connection)
        self.set_idle(connection)
        return True

    def _make_room(self) -> bool:
        longest = next(iter(self._idle), None)
        if longest is None:
            return False
        self.release(longest)  # its descriptor is free a moment later: there is a reserve
        longest.close_idle()
        return True

    def set_idle(self, connection: Idle) -> None:
        """It waits for a request, from now on."""
        if connection in self._taken:
            self._idle.pop(connection, None)
            self._idle[connection] = None

    def set_busy(self, connection: Idle) -> None:
        self._idle.pop(connection, None)

    def release(self, connection: Idle) -> None:
        self._taken.discard(connection)
        self._idle.pop(connection, None)
