"""What a far bus still has to send, and whom it owes a word that messages were dropped. Everything has a bound."""

from __future__ import annotations

import asyncio
from collections import deque

from antiphon.observe.metrics import METRICS

WAITING_MAX = 10_000
WAITING_BYTES_MAX = 16 * 1024 * 1024
"""So much may wait to be sent; what is more is dropped, and its channels' handlers are told once there is room."""
BATCH_MAX = 1_000
MISSED_MAX = 1_000
"""So many channels are told one by one that messages of theirs were dropped; if there are more, everybody is."""

DROPPED_CHANNEL = "antiphon:dropped"
"""Every far bus listens here: somebody dropped messages of many channels."""

Message = tuple[str, bytes | None]
"""A channel and what is sent there; None says that messages were dropped."""


class Channels:
    """A set of channels, or so many that all are meant."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._are_all = False

    def __bool__(self) -> bool:
        return self._are_all or bool(self._names)

    def add(self, channel: str) -> None:
        if len(self._names) < MISSED_MAX:
            self._names[channel] = None
        elif channel not in self._names:
            self._are_all = True

    def merge(self, other: Channels) -> None:
        self._are_all = self._are_all or other._are_all
        for channel in other._names:
            self.add(channel)

    def markers(self) -> list[Message]:
        """What tells their handlers to look."""
        if self._are_all:
            return [(DROPPED_CHANNEL, None)]
        return [(channel, None) for channel in self._names]


class SendQueue:
    """Messages on their way: waiting, handed to the carrier, and proven by the round trip that came after them."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._missed = Channels()
        self._handed = Channels()
        self._has_some = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def put_nowait(self, channel: str, message: bytes) -> None:
        if len(self._waiting) >= WAITING_MAX or self._bytes + len(message) > WAITING_BYTES_MAX:
            self.miss(channel, "overflow")
        else:
            self._waiting.append((channel, message))
            self._bytes += len(message)
            self._is_idle.clear()
            self._has_some.set()

    def miss(self, channel: str, why: str) -> None:
        """A message of that channel was dropped."""
        METRICS.bus_dropped.labels(self._kind, why).inc()
        self._missed.add(channel)

    async def take(self) -> list[Message]:
        """The next batch, waiting for it. With it go the marks for those who missed messages, once there is room."""
        if not (self._waiting or self._missed):
            self._has_some.clear()
            self._is_idle.set()
            await self._has_some.wait()
        batch: list[Message] = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
        self._bytes -= sum(len(message or b"") for _, message in batch)
        if len(self._waiting) <= WAITING_MAX // 2:
            missed, self._missed = self._missed, Channels()
            batch += missed.markers()
        for channel, _ in batch:
            self._handed.add(channel)
        return batch

    async def wait_idle(self) -> None:
        """Until everything has been handed on."""
        await self._is_idle.wait()

    # --- proof

    def begin_proof(self) -> Channels:
        """What has been handed on by now; a round trip that comes back proves that it arrived."""
        handed, self._handed = self._handed, Channels()
        return handed

    def fail_proof(self, handed: Channels) -> None:
        self._handed.merge(handed)

    def lose(self) -> None:
        """The carrier is lost, with what waited and what it had not proven."""
        for channel, _ in self._waiting:
            self.miss(channel, "carrier lost")
        self._waiting.clear()
        self._bytes = 0
        self._missed.merge(self._handed)
        self._handed = Channels()
        self._is_idle.set()

    def resume(self) -> None:
        """There is a carrier again: those who missed messages are told."""
        self._has_some.set()
