"""Requests that another request may cancel, for protocols whose clients say so in a message of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

REQUESTS_MAX = 10_000
"""Maximum number of requests that can be cancelled at a time. Further ones run to their end."""

Key = tuple[str, ...]


class CancellableRequests:
    """The running requests by a key that the protocol chooses. It names the owner's token first."""

    def __init__(self, requests_max: int = REQUESTS_MAX) -> None:
        self._requests_max = requests_max
        self._running: dict[Key, asyncio.Event] = {}

    @contextlib.contextmanager
    def running(self, key: Key) -> Iterator[asyncio.Event]:
        """While the block runs, `cancel` sets the event. Of two requests with one key the first can be cancelled."""
        cancelled = asyncio.Event()
        if len(self._running) < self._requests_max:
            self._running.setdefault(key, cancelled)
        try:
            yield cancelled
        finally:
            if self._running.get(key) is cancelled:
                del self._running[key]

    def cancel(self, key: Key) -> bool:
        """Whether such a request was running."""
        found = self._running.get(key)
        if found is not None:
            found.set()
        return found is not None
