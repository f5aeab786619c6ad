"""Limits the connections of a server. At the limit the longest idle connection is evicted for a new one.

A connection is idle until a complete request head has arrived, and again once its answer is complete. So a client
that connects and sends a request is served, however many idle connections others hold.
"""

from __future__ import annotations

from typing import Protocol


class Idle(Protocol):
    """A connection that can be evicted while it is idle."""

    def close_idle(self) -> None: ...


class ConnectionLimit:
    """At most `connections_max` connections of one server."""

    def __init__(self, connections_max: int) -> None:
        self._max = connections_max
        self._open: set[Idle] = set()
        self._idle: dict[Idle, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def acquire(self, connection: Idle) -> bool:
        """Admit a new connection; False if all connections are in use."""
        if len(self._open) >= self._max and not self._evict_idle():
            return False
        self._open.add(connection)
        self.set_idle(connection)
        return True

    def _evict_idle(self) -> bool:
        longest = next(iter(self._idle), None)
        if longest is None:
            return False
        self.release(longest)  # its descriptor is closed a moment later, which the reserve covers
        longest.close_idle()
        return True

    def set_idle(self, connection: Idle) -> None:
        """The connection waits for a request."""
        if connection in self._open:
            self._idle.pop(connection, None)
            self._idle[connection] = None

    def set_busy(self, connection: Idle) -> None:
        self._idle.pop(connection, None)

    def release(self, connection: Idle) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)
