"""Bounded send queue of a networked bus, plus the channels whose subscribers must be notified of dropped messages."""

from __future__ import annotations

import asyncio
from collections import deque

from antiphon.core.values import Value
from antiphon.observe.metrics import METRICS

BATCH_MAX = 1_000
"""Maximum number of messages in one batch."""

DROPPED_CHANNEL = "antiphon:dropped"
"""Every networked bus subscribes to it. A message here means: messages of many channels were dropped."""

Message = tuple[str, bytes | None]
"""A channel and the message; None: messages of this channel were dropped."""


class QueueLimits(Value):
    """Bounds of a send queue. A message beyond them is dropped, and its channel is notified once there is room."""

    messages_max: int = 10_000
    """Maximum number of queued messages."""
    bytes_max: int = 16 * 1024 * 1024
    """Maximum size of the queued messages, in bytes."""
    dropped_max: int = 1_000
    """Maximum number of channels that are notified one by one of dropped messages. Beyond it all channels are."""


class ChannelSet:
    """A set of channels. Beyond its maximum size it stands for all channels."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._names: dict[str, None] = {}
        self._is_all = False

    def __bool__(self) -> bool:
        return self._is_all or bool(self._names)

    def add(self, channel: str) -> None:
        if len(self._names) < self._size_max:
            self._names[channel] = None
        elif channel not in self._names:
            self._is_all = True

    def merge(self, other: ChannelSet) -> None:
        self._is_all = self._is_all or other._is_all
        for channel in other._names:
            self.add(channel)

    def markers(self) -> list[Message]:
        """The messages that notify the subscribers of these channels."""
        if self._is_all:
            return [(DROPPED_CHANNEL, None)]
        return [(channel, None) for channel in self._names]


class SendQueue:
    """Messages on their way to the server: queued, then sent, then confirmed by a round trip that came after them.

    When a connection is lost, the channels of queued and of unconfirmed messages count as dropped.
    """

    def __init__(self, kind: str, limits: QueueLimits) -> None:
        self._kind = kind
        self._limits = limits
        self._queued: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._dropped = self._channels()
        self._unconfirmed = self._channels()
        self._has_some = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def _channels(self) -> ChannelSet:
        return ChannelSet(self._limits.dropped_max)

    def put_nowait(self, channel: str, message: bytes) -> None:
        limits = self._limits
        if len(self._queued) >= limits.messages_max or self._bytes + len(message) > limits.bytes_max:
            self.drop(channel, "overflow")
        else:
            self._queued.append((channel, message))
            self._bytes += len(message)
            self._is_idle.clear()
            self._has_some.set()

    def drop(self, channel: str, reason: str) -> None:
        """Count a message of the channel as dropped; its subscribers are notified once there is room."""
        METRICS.bus_dropped.labels(self._kind, reason).inc()
        self._dropped.add(channel)

    async def next_batch(self) -> list[Message]:
        """Wait for messages; then the next ones. If the queue is less than half full, the notifications of dropped
        messages are appended."""
        if not (self._queued or self._dropped):
            self._has_some.clear()
            self._is_idle.set()
            await self._has_some.wait()
        batch: list[Message] = [self._queued.popleft() for _ in range(min(len(self._queued), BATCH_MAX))]
        self._bytes -= sum(len(message or b"") for _, message in batch)
        if len(self._queued) <= self._limits.messages_max // 2:
            dropped, self._dropped = self._dropped, self._channels()
            batch += dropped.markers()
        for channel, _ in batch:
            self._unconfirmed.add(channel)
        return batch

    async def wait_idle(self) -> None:
        """Wait until every queued message has been handed to the connection."""
        await self._is_idle.wait()

    # --- confirmation

    def begin_check(self) -> ChannelSet:
        """The channels of the messages sent since the last check. A completed round trip confirms them."""
        sent, self._unconfirmed = self._unconfirmed, self._channels()
        return sent

    def fail_check(self, sent: ChannelSet) -> None:
        """The round trip failed: these messages remain unconfirmed."""
        self._unconfirmed.merge(sent)

    def fail(self) -> None:
        """The connection is lost: queued and unconfirmed messages are dropped."""
        for channel, _ in self._queued:
            self.drop(channel, "connection lost")
        self._queued.clear()
        self._bytes = 0
        self._dropped.merge(self._unconfirmed)
        self._unconfirmed = self._channels()
        self._is_idle.set()

    def resume(self) -> None:
        """There is a new connection: send the notifications of dropped messages."""
        self._has_some.set()
