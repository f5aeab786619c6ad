"""What peers subscribe to. libzmq stores every subscription, byte by byte, so they are bounded here."""

from __future__ import annotations

from antiphon.api.zmq.limits import SocketLimits
from antiphon.observe.metrics import METRICS

OWN_TOPICS = b"antiphon."


class Subscriptions:
    """The distinct subscribed topics, as reported by XPUB."""

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._topics: set[bytes] = set()
        self._own: set[bytes] = set()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._topics)

    @property
    def is_followed(self) -> bool:
        """Whether a peer subscribes to a topic of ours beside those of the reference."""
        return bool(self._own)

    @property
    def is_flooded(self) -> bool:
        return len(self._topics) > self._limits.subscriptions_max or self.bytes > self._limits.subscribed_bytes_max

    def apply(self, message: bytes) -> None:
        """libzmq reports the first subscription to a topic and the end of the last one, but also the end of a
        subscription that a peer never had."""
        kind, topic = message[:1], message[1:]
        if kind == b"\1" and topic not in self._topics:
            self._topics.add(topic)
            self.bytes += len(topic)
            if topic.startswith(OWN_TOPICS):
                self._own.add(topic)
        elif kind == b"\0" and topic in self._topics:
            self._topics.remove(topic)
            self._own.discard(topic)
            self.bytes -= len(topic)
        elif kind not in (b"\0", b"\1"):
            METRICS.unexpected.labels("malformed_subscription").inc()

    def clear(self) -> None:
        self._topics.clear()
        self._own.clear()
        self.bytes = 0
