"""Hints within one process: handlers are called soon, in the loop's thread, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from antiphon.ports import Handler


class MemoryBus:
    """Keeps the promises of `ports.Bus`. When a handler fails, the others are still called."""

    error: str | None = None

    def __init__(self) -> None:
        self._subscriptions: dict[str, list[_Subscription]] = {}
        self._loop = asyncio.get_running_loop()

    def has_subscribers(self, channel: str, *, of_own_appends: bool = False) -> bool:
        subscriptions = self._subscriptions.get(channel, ())
        return any(not (of_own_appends and subscription.sees_own_appends) for subscription in subscriptions)

    def publish_nowait(self, channel: str, message: bytes) -> None:
        for subscription in self._subscriptions.get(channel, ()):
            self._loop.call_soon(subscription.deliver, message)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that have subscribers."""
        return tuple(self._subscriptions)

    def notify_dropped_nowait(self, channel: str | None = None) -> None:
        """Call the handlers of the channel (None: of all channels) with None: messages were dropped."""
        channels = self._subscriptions if channel is None else (channel,)
        for each in channels:
            for subscription in self._subscriptions.get(each, ()):
                self._loop.call_soon(subscription.deliver, None)

    def subscribe(self, channel: str, handler: Handler, *, sees_own_appends: bool = False) -> Callable[[], None]:
        subscription = _Subscription(handler, sees_own_appends)
        self._subscriptions.setdefault(channel, []).append(subscription)

        def unsubscribe() -> None:
            subscription.is_open = False
            subscriptions = self._subscriptions.get(channel, [])
            if subscription in subscriptions:
                subscriptions.remove(subscription)
            if not subscriptions:
                self._subscriptions.pop(channel, None)

        return unsubscribe

    def is_subscribed(self, channel: str) -> bool:
        return True

    async def aclose(self) -> None:
        """Nothing to close."""


class _Subscription:
    """A handler until it is unsubscribed. Messages that were published but not yet delivered are then dropped."""

    __slots__ = ("handler", "is_open", "sees_own_appends")

    def __init__(self, handler: Handler, sees_own_appends: bool) -> None:
        self.handler = handler
        self.sees_own_appends = sees_own_appends
        self.is_open = True

    def deliver(self, message: bytes | None) -> None:
        if self.is_open:
            self.handler(message)
