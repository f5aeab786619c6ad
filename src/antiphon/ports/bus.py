"""Hints between and within instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Handler = Callable[[bytes | None], None]


class Bus(Protocol):
    """Hints between and within instances. At most once, in any order: a hint means look.

    A handler is called in the loop's thread with the message, or with None: messages were dropped, look at
    everything.
    """

    @property
    def error(self) -> str | None:
        """Why nothing comes through now (readiness); None while it does."""
        ...

    def has_subscribers(self, channel: str) -> bool:
        """False only if certainly nobody subscribes to the channel: then a message need not be made."""
        ...

    def publish_nowait(self, channel: str, message: bytes) -> None:
        """Send to whoever subscribes, this process included. Never waits and never fails: what cannot be sent is
        dropped, and counted. Of equal messages that wait for one channel one may be sent."""
        ...

    def subscribe(self, channel: str, handler: Handler) -> Callable[[], None]:
        """Call `handler` for each message from now on; returns the call that ends it. Where a far end has to be told
        of the subscription, the handler is called with None once it is."""
        ...

    def is_subscribed(self, channel: str) -> bool:
        """Whether messages of far ends come in on this channel; False between `subscribe` and its first None."""
        ...

    async def aclose(self) -> None:
        """Send what was published, then end."""
        ...
