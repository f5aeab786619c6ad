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

    def has_subscribers(self, channel: str, *, of_own_appends: bool = False) -> bool:
        """False only if the channel certainly has no subscriber: then a message need not be made.

        Args:
            channel: The name of the channel.
            of_own_appends: Whether the message is the hint of an append of this process, which subscribers with
                `sees_own_appends` do not need.
        """
        ...

    def publish_nowait(self, channel: str, message: bytes) -> None:
        """Send to every subscriber, those of this process included. Never waits and never fails: a message that
        cannot be sent is dropped and counted. Of equal messages that are queued for one channel one may be sent."""
        ...

    def subscribe(self, channel: str, handler: Handler, *, sees_own_appends: bool = False) -> Callable[[], None]:
        """Call `handler` for each message from now on. Where a server must know of the subscription, the handler is
        called with None once it does.

        Args:
            channel: The name of the channel.
            handler: Called with each message, or with None where messages were dropped.
            sees_own_appends: Whether the subscriber is called by the command loop of this process at each append, so
                that it does not need the hints of those. It may receive them nevertheless.

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
