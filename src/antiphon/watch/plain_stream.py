"""A stream without cursors: each event is sent once, to the streams that are open then."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, TypeVar

from antiphon.wire.stream import PING, Frame, bye_frame


class Supervised(Protocol):
    """What `Watch` pings, counts, and ends when its time has come."""

    owner_id: str
    token_id: str
    sending_since: float
    stop_sending: Callable[[], object] | None

    def end(self, reason: str, retry_ms: int | None = None) -> bool: ...

    def ping(self) -> None: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Supervised)


class PlainStream(ABC):
    """Implements `ports.EventStream`. Subclasses give the events by `_frames`, and call `wake` when there are new
    ones."""

    def __init__(self, owner_id: str, *, token_id: str) -> None:
        self.owner_id = owner_id
        self.token_id = token_id
        self.sending_since = 0.0
        self.stop_sending: Callable[[], object] | None = None
        self.is_closed = False
        self._is_ping_due = False
        self._bye: Frame | None = None
        self._event = asyncio.Event()
        self._event.set()

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what the stream holds; it is not read any more."""

    def end(self, reason: str, retry_ms: int | None = None) -> bool:
        """Close it with a `bye`. Returns False if it was closed before."""
        if self._bye is not None:
            return False
        self._bye = bye_frame(reason, retry_ms)
        self.wake()
        return True

    def ping(self) -> None:
        self._is_ping_due = True
        self.wake()

    def wake(self) -> None:
        self._event.set()

    async def next_batch(self) -> list[Frame]:
        """The next events, waiting for them; a bye is the last."""
        while True:
            if self._bye is not None:
                self.is_closed = True
                return [self._bye]
            frames = await self._frames()
            if not frames and self._is_ping_due:
                frames = [PING]
            self._is_ping_due = False
            if frames:
                return frames
            self._event.clear()
            await self._event.wait()

    @abstractmethod
    async def _frames(self) -> list[Frame]:
        """The events to send now."""
