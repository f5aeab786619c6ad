"""Hints within one process: handlers are called soon, in the loop's thread, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from antiphon.ports import Handler


class MemoryBus:
    """Keeps the promises of `ports.Bus`. A handler's failure is its own: the others are still called."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler]] = {}
        self._loop = asyncio.get_running_loop()

    def publish_nowait(self, channel: str, message: bytes) -> None:
        for handler in self._handlers.get(channel, ()):
            self._loop.call_soon(handler, message)

    def subscribe(self, channel: str, handler: Handler) -> Callable[[], None]:
        self._handlers.setdefault(channel, []).append(handler)

        def unsubscribe() -> None:
            handlers = self._handlers.get(channel, [])
            if handler in handlers:
                handlers.remove(handler)
            if not handlers:
                self._handlers.pop(channel, None)

        return unsubscribe
