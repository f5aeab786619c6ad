"""Large messages on their way out: libzmq bounds what waits for a peer in number only; here it is bytes."""

from __future__ import annotations

from collections.abc import Hashable

import zmq

LARGE_BYTES = 64 * 1024
"""A message of at least this size is counted until it was sent to every peer, in bytes."""


class LargeMessages:
    """What is under way of one socket's large messages, for each peer and in all."""

    def __init__(self, *, peer_bytes_max: int, bytes_max: int) -> None:
        self._peer_bytes_max = peer_bytes_max
        self._bytes_max = bytes_max
        self._waiting: list[tuple[Hashable, int, zmq.MessageTracker]] = []

    def has_room(self, peer: Hashable, size: int) -> bool:
        """Whether one more of this size may be sent."""
        self._waiting = [item for item in self._waiting if not item[2].done]
        if sum(waiting for _, waiting, _ in self._waiting) + size > self._bytes_max:
            return False
        return sum(waiting for of, waiting, _ in self._waiting if of == peer) + size <= self._peer_bytes_max

    def add(self, peer: Hashable, size: int, tracker: zmq.MessageTracker) -> None:
        """One was sent, with `copy=False, track=True`."""
        self._waiting.append((peer, size, tracker))
