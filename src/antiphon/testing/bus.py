"""A bus that loses, repeats, delays and reorders messages. Hints may be lost, so no guarantee may depend on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from antiphon.ports import Bus, Handler

COPIES_MAX = 5
"""Maximum number of copies of a repeated message."""
OVERSIZE_BYTES = 1_500_000
"""Size of the padding of an oversized message."""
HELD_MAX = 64
"""Maximum number of messages held back. Beyond it, the oldest one is published."""


class FaultyBus:
    """Wraps a bus and injects faults. A seeded `random` makes the same faults in every run.

    Args:
        inner: The bus; subscriptions are its own.
        random: Decides which message gets which fault.
        drop: Probability (0 to 1) that a message is dropped.
        double: Probability that a message is delivered two to five times.
        delay_s_max: Maximum delay of each copy, in seconds.
        reorder: Probability that a message is held back until later ones were published.
        hold_s: How long a message may be held back, in seconds.
        oversize: Probability that spaces are added to a message, beyond the maximum size of a server.
    """

    def __init__(
        self,
        inner: Bus,
        random: Random,
        *,
        drop: float = 0.0,
        double: float = 0.0,
        delay_s_max: float = 0.0,
        reorder: float = 0.0,
        hold_s: float = 1.0,
        oversize: float = 0.0,
    ) -> None:
        self._inner = inner
        self._random = random
        self._drop = drop
        self._double = double
        self._delay_s_max = delay_s_max
        self._reorder = reorder
        self._hold_s = hold_s
        self._oversize = oversize
        self._held: list[tuple[str, bytes]] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self.dropped = 0
        self.doubled = 0
        self.reordered = 0
        self.oversized = 0

    @property
    def error(self) -> str | None:
        return self._inner.error

    def has_subscribers(self, channel: str, *, of_own_appends: bool = False) -> bool:
        return self._inner.has_subscribers(channel, of_own_appends=of_own_appends)

    def publish_nowait(self, channel: str, message: bytes) -> None:
        if self._chance(self._drop):
            self.dropped += 1
            return
        if self._chance(self._oversize):
            self.oversized += 1
            message += b" " * OVERSIZE_BYTES
        copies = 1
        if self._chance(self._double):
            self.doubled += 1
            copies = self._random.randint(2, COPIES_MAX)
        for _ in range(copies):
            if self._chance(self._reorder):
                self._hold(channel, message)
            else:
                self._pass_on(channel, message)
                self._release_some()

    def subscribe(self, channel: str, handler: Handler, *, sees_own_appends: bool = False) -> Callable[[], None]:
        return self._inner.subscribe(channel, handler, sees_own_appends=sees_own_appends)

    def is_subscribed(self, channel: str) -> bool:
        return self._inner.is_subscribed(channel)

    async def aclose(self) -> None:
        self.close()
        await self._inner.aclose()

    def close(self) -> None:
        """Drop the messages that are held back or delayed."""
        self._held.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def _hold(self, channel: str, message: bytes) -> None:
        self.reordered += 1
        self._held.append((channel, message))
        if len(self._held) > HELD_MAX:
            self._pass_on(*self._held.pop(0))
        self._after(self._hold_s, self._release_all)

    def _release_some(self) -> None:
        """Publish some of the held messages after the one that has just overtaken them, in random order."""
        for _ in range(self._random.randint(0, len(self._held))):
            self._pass_on(*self._held.pop(self._random.randrange(len(self._held))))

    def _release_all(self) -> None:
        held, self._held = self._held, []
        for channel, message in held:
            self._pass_on(channel, message)

    def _pass_on(self, channel: str, message: bytes) -> None:
        if self._delay_s_max <= 0:
            self._inner.publish_nowait(channel, message)
        else:
            delay_s = self._random.uniform(0, self._delay_s_max)
            self._after(delay_s, lambda: self._inner.publish_nowait(channel, message))

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(timer)
