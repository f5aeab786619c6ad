"""One conformance suite over every bus: each promise of `ports.Bus` is a check with a readable name.

A check is an async function of a `BusCase` that raises AssertionError. A bus may lose messages and reorder
them; the checks ask for those that a healthy one on a quiet machine delivers, and wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from antiphon.ports import Bus

WAIT_S = 10.0
PAUSE_S = 0.002


class BusCase:
    """Two ends of one bus: the same object where it lives in one process."""

    def __init__(self, local: Bus, remote: Bus) -> None:
        self.local = local
        self.remote = remote
        self._settled = 0

    async def settle(self) -> None:
        """Wait until what was subscribed to is, on both ends, and what was published before has been delivered: both
        ends hear a later message of each."""
        await self._echo(self.local)
        await self._echo(self.remote)

    async def _echo(self, publisher: Bus) -> None:
        self._settled += 1
        channel = f"settle:{self._settled}"
        ears = [Heard(), Heard()]
        ends = [bus.subscribe(channel, heard) for bus, heard in zip((self.local, self.remote), ears, strict=True)]
        try:
            async with asyncio.timeout(WAIT_S):
                while not all(heard.messages for heard in ears):
                    publisher.publish_nowait(channel, b"?")
                    await asyncio.sleep(PAUSE_S)
        finally:
            for end in ends:
                end()


class Heard:
    """A handler that remembers; `wait(n)` returns when it has heard so many messages. `drops` counts the calls that
    say that messages were dropped (a bus with a remote end says so once, when its server knows of a subscription)."""

    def __init__(self) -> None:
        self.messages: list[bytes | None] = []
        self.drops = 0
        self._changed = asyncio.Event()

    def __call__(self, message: bytes | None) -> None:
        if message is None:
            self.drops += 1
        else:
            self.messages.append(message)
        self._changed.set()

    async def wait(self, count: int) -> list[bytes | None]:
        await self._wait_until(lambda: len(self.messages) >= count)
        return self.messages

    async def wait_for_drops(self, count: int) -> None:
        """Until it was told so often that messages were dropped."""
        await self._wait_until(lambda: self.drops >= count)

    async def _wait_until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()


BusCheck = Callable[[BusCase], Awaitable[None]]


async def check_a_message_reaches_every_subscriber_of_its_channel(case: BusCase) -> None:
    here, there, elsewhere = Heard(), Heard(), Heard()
    case.local.subscribe("a", here)
    case.remote.subscribe("a", there)
    case.remote.subscribe("b", elsewhere)
    await case.settle()
    case.local.publish_nowait("a", b"one")
    assert await here.wait(1) == [b"one"], "its publisher's own subscribers too"
    assert await there.wait(1) == [b"one"]
    await case.settle()
    assert elsewhere.messages == []


async def check_messages_of_one_publisher_come_in_order_where_nothing_is_lost(case: BusCase) -> None:
    heard = Heard()
    case.remote.subscribe("a", heard)
    await case.settle()
    for i in range(100):
        case.local.publish_nowait("a", b"%d" % i)
    assert await heard.wait(100) == [b"%d" % i for i in range(100)]


async def check_publishing_never_calls_a_handler_itself(case: BusCase) -> None:
    heard = Heard()
    case.local.subscribe("a", heard)
    await case.settle()
    case.local.publish_nowait("a", b"one")
    assert heard.messages == [], "a handler is called by the loop, so that publishers need not expect it"
    await heard.wait(1)


async def check_nothing_is_heard_before_a_subscription_or_after_its_end(case: BusCase) -> None:
    early, heard = Heard(), Heard()
    case.local.publish_nowait("a", b"before")
    case.remote.publish_nowait("a", b"before")
    await case.settle()
    end = case.local.subscribe("a", heard)
    case.local.subscribe("a", early)
    await case.settle()
    case.local.publish_nowait("a", b"on its way")
    end()
    await early.wait(1)
    await case.settle()
    assert heard.messages == []
    end()  # a second time does nothing
    case.local.publish_nowait("a", b"after")
    await early.wait(2)
    assert heard.messages == []


async def check_each_subscription_of_one_handler_is_its_own(case: BusCase) -> None:
    heard = Heard()
    first, second = case.local.subscribe("a", heard), case.local.subscribe("a", heard)
    await case.settle()
    case.local.publish_nowait("a", b"one")
    assert await heard.wait(2) == [b"one", b"one"]
    first()
    first()
    case.local.publish_nowait("a", b"two")
    await heard.wait(3)
    await case.settle()
    assert heard.messages == [b"one", b"one", b"two"]
    second()


async def check_a_message_may_hold_any_bytes_and_a_channel_any_text(case: BusCase) -> None:
    heard = Heard()
    channel, message = "chat:stream:ü.>* 😀", bytes(range(256)) * 100
    case.remote.subscribe(channel, heard)
    await case.settle()
    case.local.publish_nowait(channel, message)
    case.local.publish_nowait(channel, b"")
    assert sorted(await heard.wait(2), key=repr) == [b"", message], "a large one may be overtaken"


async def check_a_handler_may_subscribe_and_unsubscribe(case: BusCase) -> None:
    heard = Heard()

    def once(message: bytes | None) -> None:
        if message is not None:
            end()
            case.local.subscribe("a", heard)

    end = case.local.subscribe("a", once)
    await case.settle()
    case.local.publish_nowait("a", b"one")
    await case.settle()
    case.local.publish_nowait("a", b"two")
    assert (await heard.wait(1))[-1] == b"two"


async def check_ends_of_a_subscription_are_the_ends_own(case: BusCase) -> None:
    here, there = Heard(), Heard()
    end = case.local.subscribe("a", here)
    case.remote.subscribe("a", there)
    await case.settle()
    end()
    case.remote.publish_nowait("a", b"one")
    assert await there.wait(1) == [b"one"]
    await case.settle()
    assert here.messages == []
    case.local.subscribe("a", here)
    await case.settle()
    case.remote.publish_nowait("a", b"two")
    assert await here.wait(1) == [b"two"], "subscribed to again it is heard again"


async def check_similar_names_are_different_channels(case: BusCase) -> None:
    names = ("a.b", "a b", "a=20b", "a.*", "a.>", ".", "", "A.b", "ä", "x" * 63, "x" * 64, "x" * 5_000, "x" * 5_001)
    ears = {name: Heard() for name in names}
    for name, heard in ears.items():
        case.remote.subscribe(name, heard)
    await case.settle()
    for name in names:
        case.local.publish_nowait(name, name.encode())
    for name, heard in ears.items():
        assert await heard.wait(1) == [name.encode()]
    await case.settle()
    assert all(len(heard.messages) == 1 for heard in ears.values())


async def check_messages_of_any_size_come_whole(case: BusCase) -> None:
    sizes = (1, 7_899, 7_900, 7_901, 8_000, 60_000, 500_000)
    heard = Heard()
    case.remote.subscribe("a", heard)
    await case.settle()
    for size in sizes:
        case.local.publish_nowait("a", b"{" + b"x" * (size - 1))
        case.local.publish_nowait("a", b"\xff" * size)
    heard_sizes = sorted(len(message or b"") for message in await heard.wait(2 * len(sizes)))
    assert heard_sizes == sorted(2 * sizes)


async def check_somebody_may_always_listen_where_somebody_does(case: BusCase) -> None:
    end = case.remote.subscribe("a", Heard())
    await case.settle()
    assert case.remote.has_subscribers("a")
    assert case.local.has_subscribers("a"), "false only where certainly nobody does"
    assert case.local.error is None
    end()


BUS_CHECKS: tuple[BusCheck, ...] = tuple(
    value for name, value in list(globals().items()) if name.startswith("check_")
)
