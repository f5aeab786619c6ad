"""One conformance suite over every bus: each promise of `ports.Bus` is a check with a readable name.

A check is an async function of a `BusCase` that raises AssertionError. A bus may lose messages and reorder
them; the checks ask for those that a healthy one on a quiet machine delivers, and wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from antiphon.ports import Bus

WAIT_S = 5.0


class BusCase:
    """Two ends of one bus: the same object where it lives in one process."""

    def __init__(self, near: Bus, far: Bus) -> None:
        self.near = near
        self.far = far

    async def settle(self) -> None:
        """Wait until what was published before has been delivered: both ends hear a later message."""
        await self._echo(self.near)
        await self._echo(self.far)

    async def _echo(self, publisher: Bus) -> None:
        heard = Heard()
        ends = [bus.subscribe("settle", heard) for bus in (self.near, self.far)]
        try:
            async with asyncio.timeout(WAIT_S):
                while len(heard.messages) < len(ends):
                    publisher.publish_nowait("settle", b"?")
                    await asyncio.sleep(0)
        finally:
            for end in ends:
                end()


class Heard:
    """A handler that remembers; `wait(n)` returns when it has heard so many messages."""

    def __init__(self) -> None:
        self.messages: list[bytes | None] = []
        self._changed = asyncio.Event()

    def __call__(self, message: bytes | None) -> None:
        self.messages.append(message)
        self._changed.set()

    async def wait(self, count: int) -> list[bytes | None]:
        async with asyncio.timeout(WAIT_S):
            while len(self.messages) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.messages


BusCheck = Callable[[BusCase], Awaitable[None]]


async def check_a_message_reaches_every_subscriber_of_its_channel(case: BusCase) -> None:
    here, there, elsewhere = Heard(), Heard(), Heard()
    case.near.subscribe("a", here)
    case.far.subscribe("a", there)
    case.far.subscribe("b", elsewhere)
    await case.settle()
    case.near.publish_nowait("a", b"one")
    assert await here.wait(1) == [b"one"], "its publisher's own subscribers too"
    assert await there.wait(1) == [b"one"]
    await case.settle()
    assert elsewhere.messages == []


async def check_messages_of_one_publisher_come_in_order_where_nothing_is_lost(case: BusCase) -> None:
    heard = Heard()
    case.far.subscribe("a", heard)
    await case.settle()
    for i in range(100):
        case.near.publish_nowait("a", b"%d" % i)
    assert await heard.wait(100) == [b"%d" % i for i in range(100)]


async def check_publishing_never_calls_a_handler_itself(case: BusCase) -> None:
    heard = Heard()
    case.near.subscribe("a", heard)
    await case.settle()
    case.near.publish_nowait("a", b"one")
    assert heard.messages == [], "a handler is called by the loop, so that publishers need not expect it"
    await heard.wait(1)


async def check_nothing_is_heard_before_a_subscription_or_after_its_end(case: BusCase) -> None:
    early, heard = Heard(), Heard()
    case.near.publish_nowait("a", b"before")
    await case.settle()
    end = case.near.subscribe("a", heard)
    case.near.subscribe("a", early)
    await case.settle()
    case.near.publish_nowait("a", b"on its way")
    end()
    await early.wait(1)
    await case.settle()
    assert heard.messages == []
    end()  # a second time does nothing
    case.near.publish_nowait("a", b"after")
    await early.wait(2)
    assert heard.messages == []


async def check_each_subscription_of_one_handler_is_its_own(case: BusCase) -> None:
    heard = Heard()
    first, second = case.near.subscribe("a", heard), case.near.subscribe("a", heard)
    await case.settle()
    case.near.publish_nowait("a", b"one")
    assert await heard.wait(2) == [b"one", b"one"]
    first()
    first()
    case.near.publish_nowait("a", b"two")
    await heard.wait(3)
    await case.settle()
    assert heard.messages == [b"one", b"one", b"two"]
    second()


async def check_a_message_may_hold_any_bytes_and_a_channel_any_text(case: BusCase) -> None:
    heard = Heard()
    channel, message = "chat:stream:ü.>* 😀", bytes(range(256)) * 100
    case.far.subscribe(channel, heard)
    await case.settle()
    case.near.publish_nowait(channel, message)
    case.near.publish_nowait(channel, b"")
    assert await heard.wait(2) == [message, b""]


async def check_a_handler_may_subscribe_and_unsubscribe(case: BusCase) -> None:
    heard = Heard()

    def once(message: bytes | None) -> None:
        end()
        case.near.subscribe("a", heard)

    end = case.near.subscribe("a", once)
    await case.settle()
    case.near.publish_nowait("a", b"one")
    await case.settle()
    case.near.publish_nowait("a", b"two")
    assert (await heard.wait(1))[-1] == b"two"


BUS_CHECKS: tuple[BusCheck, ...] = tuple(
    value for name, value in list(globals().items()) if name.startswith("check_")
)
