"""Two buses on one server, and the checks that hold for every server between them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from antiphon.bus.networked import NetworkedBus
from antiphon.testing.bus_suite import BusCase, Recorder

UUID = "0b0b0b0b-1111-4222-8333-444444444444"
QUICK = {"check_s": 0.1, "answer_s": 1.0}
"""Fields of a timing with which a silent server is detected soon."""

CHANNELS = 10_000

OpenBus = Callable[..., AbstractAsyncContextManager[NetworkedBus]]
TwoEnds = Callable[..., AbstractAsyncContextManager[BusCase]]


def two_ends_of(open_bus: OpenBus) -> TwoEnds:
    """`two_ends(url, **options)`: two buses on that server."""

    @contextlib.asynccontextmanager
    async def two_ends(url: str, **options: Any) -> AsyncIterator[BusCase]:
        async with open_bus(url, **options) as first, open_bus(url, **options) as second:
            yield BusCase(first, second)

    return two_ends


def connection_counts(case: BusCase) -> tuple[int, int]:
    """How many connections each bus has had."""
    assert isinstance(case.first, NetworkedBus)
    assert isinstance(case.second, NetworkedBus)
    return case.first.connection_count, case.second.connection_count


async def check_many_channels(case: BusCase) -> None:
    """Subscribe to ten thousand channels and unsubscribe from them."""
    heard = Recorder()
    subscriptions = [case.second.subscribe(f"chat:stream:{i}", heard) for i in range(CHANNELS)]
    await case.settle()
    case.first.publish_nowait(f"chat:stream:{CHANNELS - 1}", b"x")
    case.first.publish_nowait("chat:stream:0", b"y")
    assert set(await heard.wait(2)) == {b"x", b"y"}
    for unsubscribe in subscriptions:
        unsubscribe()
    await case.settle()
    case.first.publish_nowait(f"chat:stream:{CHANNELS - 1}", b"z")
    await case.settle()
    assert len(heard.messages) == 2
    assert connection_counts(case) == (1, 1)


async def check_messages_arrive(case: BusCase, heard: Recorder) -> None:
    """A message published on channel `a` arrives; it is the first one that `heard` gets."""
    await case.settle()
    case.first.publish_nowait("a", b"again")
    assert await heard.wait(1) == [b"again"]
