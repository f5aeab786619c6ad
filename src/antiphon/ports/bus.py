"""Hints between and within instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Handler = Callable[[bytes | None], None]


class Bus(Protocol):
    """Hints between and within instances: at most once, in any order. A subscriber reads the store when one arrives.

    A handler is called in the event loop's thread with the message, or with None: messages were dropped, so it reads
    everything that it follows.
    """

    @property
    def error(self) -> str | None:
        """Why no messages arrive now (readiness); None while they do."""
        ...

    def has_subscribers(self, channel: str) -> bool:
        """False only if the channel certainly has no subscriber: then a message need not be made."""
        ...

    def publish_nowait(self, channel: str, message: bytes) -> None:
        """Send to every subscriber, those of this process included. Never waits and never fails: a message that
        cannot be sent is dropped and counted. Of equal messages that are queued for one channel one may be sent."""
        ...

    def subscribe(self, channel: str, handler: Handler) -> Callable[[], None]:
        """Call `handler` for each message from now on. Where a server must know of the subscription, the handler is
        called with None once it does.

        Returns:
            A function that ends the subscription.
        """
        ...

    def is_subscribed(self, channel: str) -> bool:
        """Whether messages of other processes arrive on this channel; False between `subscribe` and its first
        None."""
        ...

    async def aclose(self) -> None:
        """Send the queued messages, then close."""
        ...
