"""Two ends of a far bus, and what its tests do with them whatever server is between."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from antiphon.bus.networked import NetworkedBus
from antiphon.testing.bus_suite import BusCase, Heard

UUID = "0b0b0b0b-1111-4222-8333-444444444444"
QUICK = {"check_s": 0.1, "answer_s": 1.0}
"""A server that is silent is noticed soon."""

CHANNELS = 10_000

OpenBus = Callable[..., AbstractAsyncContextManager[NetworkedBus]]
TwoEnds = Callable[..., AbstractAsyncContextManager[BusCase]]


def two_ends_of(open_bus: OpenBus) -> TwoEnds:
    """`two_ends(url, **options)`: a near and a far bus on that server."""

    @contextlib.asynccontextmanager
    async def two_ends(url: str, **options: float) -> AsyncIterator[BusCase]:
        async with open_bus(url, **options) as near, open_bus(url, **options) as far:
            yield BusCase(near, far)

    return two_ends


def connection_count(case: BusCase) -> tuple[int, int]:
    """How many connection_count each end has had."""
    assert isinstance(case.near, NetworkedBus)
    assert isinstance(case.far, NetworkedBus)
    return case.near.connection_count, case.far.connection_count


async def check_many_channels(case: BusCase) -> None:
    """Listened to, and let go."""
    heard = Heard()
    ends = [case.far.subscribe(f"chat:stream:{i}", heard) for i in range(CHANNELS)]
    await case.settle()
    case.near.publish_nowait(f"chat:stream:{CHANNELS - 1}", b"x")
    case.near.publish_nowait("chat:stream:0", b"y")
    assert set(await heard.wait(2)) == {b"x", b"y"}
    for end in ends:
        end()
    await case.settle()
    case.near.publish_nowait(f"chat:stream:{CHANNELS - 1}", b"z")
    await case.settle()
    assert len(heard.messages) == 2
    assert connection_count(case) == (1, 1)


async def check_goes_on(case: BusCase, heard: Heard) -> None:
    """After whatever it was: what is published on `a` is heard again, by who has heard nothing yet."""
    await case.settle()
    case.near.publish_nowait("a", b"again")
    assert await heard.wait(1) == [b"again"]
