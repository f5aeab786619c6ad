"""What peers subscribe to. libzmq stores every subscription, byte by byte, so they are bounded here."""

from __future__ import annotations

from antiphon.observe.metrics import METRICS

SUBSCRIPTIONS_MAX = 50_000
SUBSCRIBED_BYTES_MAX = 10 * 1024 * 1024
"""libzmq may need 32 bytes for each of them."""
OWN_TOPICS = b"antiphon."


class Subscriptions:
    """The different topics that are subscribed to, as XPUB has told so far."""

    def __init__(self) -> None:
        self._topics: set[bytes] = set()
        self._own: set[bytes] = set()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._topics)

    @property
    def is_followed(self) -> bool:
        """Whether anybody subscribes to what is ours beside the reference's topics."""
        return bool(self._own)

    @property
    def is_flooded(self) -> bool:
        return len(self._topics) > SUBSCRIPTIONS_MAX or self.bytes > SUBSCRIBED_BYTES_MAX

    def apply(self, message: bytes) -> None:
        """libzmq tells the first to subscribe and the last to end it, but also who ends what was none of theirs."""
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
