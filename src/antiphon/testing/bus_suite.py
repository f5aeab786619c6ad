"""The conformance suite of buses: each guarantee of `ports.Bus` is a check with a readable name.

A check is an async function of a `BusCase` that raises AssertionError. A bus may lose and reorder messages; the
checks wait for those that a healthy bus on a quiet machine delivers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from antiphon.ports import Bus

WAIT_S = 10.0
"""How long a check waits for a message, in seconds."""
PAUSE_S = 0.002


class BusCase:
    """Two clients of one bus; for a bus within one process, the same object twice."""

    def __init__(self, first: Bus, second: Bus) -> None:
        self.first = first
        self.second = second
        self._settled = 0

    async def settle(self) -> None:
        """Wait until all subscriptions of both clients are active and all earlier messages are delivered: until both
        receive a later message of each."""
        await self._echo(self.first)
        await self._echo(self.second)

    async def _echo(self, publisher: Bus) -> None:
        self._settled += 1
        channel = f"settle:{self._settled}"
        recorders = [Recorder(), Recorder()]
        ends = [
            bus.subscribe(channel, heard) for bus, heard in zip((self.first, self.second), recorders, strict=True)
        ]
        try:
            async with asyncio.timeout(WAIT_S):
                while not all(heard.messages for heard in recorders):
                    publisher.publish_nowait(channel, b"?")
                    await asyncio.sleep(PAUSE_S)
        finally:
            for end in ends:
                end()


class Recorder:
    """A handler that records messages. `drops` counts the calls that report dropped messages (a networked bus reports
    that once when its server has confirmed a subscription)."""

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
        """Wait for `count` messages; returns all that were received."""
        await self._wait_until(lambda: len(self.messages) >= count)
        return self.messages

    async def wait_for_drops(self, count: int) -> None:
        """Wait until dropped messages were reported `count` times."""
        await self._wait_until(lambda: self.drops >= count)

    async def _wait_until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()


BusCheck = Callable[[BusCase], Awaitable[None]]


async def check_a_message_reaches_every_subscriber_of_its_channel(case: BusCase) -> None:
    here, there, other = Recorder(), Recorder(), Recorder()
    case.first.subscribe("a", here)
    case.second.subscribe("a", there)
    case.second.subscribe("b", other)
    await case.settle()
    case.first.publish_nowait("a", b"one")
    assert await here.wait(1) == [b"one"], "including the subscribers of the publishing client"
    assert await there.wait(1) == [b"one"]
    await case.settle()
    assert other.messages == []


async def check_messages_of_one_publisher_arrive_in_order_if_none_is_lost(case: BusCase) -> None:
    heard = Recorder()
    case.second.subscribe("a", heard)
    await case.settle()
    for i in range(100):
        case.first.publish_nowait("a", b"%d" % i)
    assert await heard.wait(100) == [b"%d" % i for i in range(100)]


async def check_publishing_does_not_call_handlers_synchronously(case: BusCase) -> None:
    heard = Recorder()
    case.first.subscribe("a", heard)
    await case.settle()
    case.first.publish_nowait("a", b"one")
    assert heard.messages == [], "handlers are called by the event loop"
    await heard.wait(1)


async def check_a_subscription_receives_only_messages_published_while_it_is_active(case: BusCase) -> None:
    early, heard = Recorder(), Recorder()
    case.first.publish_nowait("a", b"before")
    case.second.publish_nowait("a", b"before")
    await case.settle()
    end = case.first.subscribe("a", heard)
    case.first.subscribe("a", early)
    await case.settle()
    case.first.publish_nowait("a", b"on its way")
    end()
    await early.wait(1)
    await case.settle()
    assert heard.messages == []
    end()  # a second time does nothing
    case.first.publish_nowait("a", b"after")
    await early.wait(2)
    assert heard.messages == []


async def check_a_handler_may_have_several_subscriptions(case: BusCase) -> None:
    heard = Recorder()
    first, second = case.first.subscribe("a", heard), case.first.subscribe("a", heard)
    await case.settle()
    case.first.publish_nowait("a", b"one")
    assert await heard.wait(2) == [b"one", b"one"]
    first()
    first()
    case.first.publish_nowait("a", b"two")
    await heard.wait(3)
    await case.settle()
    assert heard.messages == [b"one", b"one", b"two"]
    second()


async def check_a_message_may_have_any_bytes_and_a_channel_any_name(case: BusCase) -> None:
    heard = Recorder()
    channel, message = "chat:stream:ü.>* 😀", bytes(range(256)) * 100
    case.second.subscribe(channel, heard)
    await case.settle()
    case.first.publish_nowait(channel, message)
    case.first.publish_nowait(channel, b"")
    assert sorted(await heard.wait(2), key=repr) == [b"", message], "a large one may be overtaken"


async def check_a_handler_may_subscribe_and_unsubscribe(case: BusCase) -> None:
    heard = Recorder()

    def once(message: bytes | None) -> None:
        if message is not None:
            end()
            case.first.subscribe("a", heard)

    end = case.first.subscribe("a", once)
    await case.settle()
    case.first.publish_nowait("a", b"one")
    await case.settle()
    case.first.publish_nowait("a", b"two")
    assert (await heard.wait(1))[-1] == b"two"


async def check_unsubscribing_one_client_does_not_unsubscribe_the_other(case: BusCase) -> None:
    here, there = Recorder(), Recorder()
    end = case.first.subscribe("a", here)
    case.second.subscribe("a", there)
    await case.settle()
    end()
    case.second.publish_nowait("a", b"one")
    assert await there.wait(1) == [b"one"]
    await case.settle()
    assert here.messages == []
    case.first.subscribe("a", here)
    await case.settle()
    case.second.publish_nowait("a", b"two")
    assert await here.wait(1) == [b"two"], "after subscribing again it receives messages again"


async def check_similar_names_are_different_channels(case: BusCase) -> None:
    names = ("a.b", "a b", "a=20b", "a.*", "a.>", ".", "", "A.b", "ä", "x" * 63, "x" * 64, "x" * 5_000, "x" * 5_001)
    recorders = {name: Recorder() for name in names}
    for name, heard in recorders.items():
        case.second.subscribe(name, heard)
    await case.settle()
    for name in names:
        case.first.publish_nowait(name, name.encode())
    for name, heard in recorders.items():
        assert await heard.wait(1) == [name.encode()]
    await case.settle()
    assert all(len(heard.messages) == 1 for heard in recorders.values())


async def check_messages_of_any_size_arrive_whole(case: BusCase) -> None:
    sizes = (1, 7_899, 7_900, 7_901, 8_000, 60_000, 500_000)
    heard = Recorder()
    case.second.subscribe("a", heard)
    await case.settle()
    for size in sizes:
        case.first.publish_nowait("a", b"{" + b"x" * (size - 1))
        case.first.publish_nowait("a", b"\xff" * size)
    heard_sizes = sorted(len(message or b"") for message in await heard.wait(2 * len(sizes)))
    assert heard_sizes == sorted(2 * sizes)


async def check_a_channel_with_a_subscriber_is_reported_as_such_to_every_client(case: BusCase) -> None:
    end = case.second.subscribe("a", Recorder())
    await case.settle()
    assert case.second.has_subscribers("a")
    assert case.first.has_subscribers("a"), "false only if there is certainly no subscriber"
    assert case.first.error is None
    end()


BUS_CHECKS: tuple[BusCheck, ...] = tuple(
    value for name, value in list(globals().items()) if name.startswith("check_")
)
