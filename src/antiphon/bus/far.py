"""A bus with far ends: what is the same for every server that carries hints between processes.

A process's own hints never depend on the server: they are delivered within it at once, and sent as well. The
server is reached by a *carrier*, which one task opens, proves alive by a round trip every CHECK_S, and replaces when
it is lost. Wherever messages may have been missed (a new carrier, a queue that was full, a message too large) the
handlers are told so with None.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import structlog

from antiphon.bus.memory import MemoryBus
from antiphon.observe import METRICS
from antiphon.ports import Handler

CHECK_S = 2.0
ANSWER_S = 2.5
"""A carrier that has not answered for so long is lost: a frozen server is noticed within CHECK_S + ANSWER_S."""

OPEN_S = 5.0
CLOSE_S = 1.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 2.0

WAITING_MAX = 10_000
WAITING_BYTES_MAX = 16 * 1024 * 1024
"""So much may wait to be sent; what is more is dropped, and its channels' handlers are told once there is room."""
BATCH_MAX = 1_000
MISSED_MAX = 1_000
"""So many channels are told one by one that messages of theirs were dropped; if there are more, everybody is."""

DROPPED_CHANNEL = "antiphon:dropped"
"""Every far bus listens here: somebody dropped messages of many channels."""

log = structlog.get_logger(__name__)

T = TypeVar("T")
Message = tuple[str, bytes | None]
"""A channel and what is sent there; None says that messages were dropped."""


class CarrierLost(Exception):
    """The server cannot be reached, does not answer, or has ended the connection; the text says which."""


class Receiver(Protocol):
    """Where a carrier hands over what comes in."""

    def receive(self, channel: str, message: bytes | None) -> None:
        """A message, or None: some of this channel were dropped on their way."""
        ...

    def lose(self, reason: str) -> None:
        """The carrier has ended by itself. (What fails while it is asked for something raises CarrierLost.)"""
        ...


class Carrier(Protocol):
    """One connection to the server, from its opening until it is lost. Every call may raise CarrierLost."""

    async def listen(self, channels: Sequence[str]) -> None: ...

    async def unlisten(self, channels: Sequence[str]) -> None: ...

    async def send(self, messages: Sequence[Message]) -> Sequence[str]:
        """Hand these to the server, in order; returns the channels of those it would not take."""
        ...

    async def check(self) -> None:
        """One round trip, by the way messages take."""
        ...

    async def aclose(self) -> None:
        """Let go of it, whatever state it is in."""
        ...


OpenCarrier = Callable[[Receiver], Coroutine[Any, Any, Carrier]]


class FarBus:
    """Keeps the promises of `ports.Bus` over carriers. `start` it; `error` tells why there is no carrier now."""

    def __init__(
        self, kind: str, open_carrier: OpenCarrier, *, check_s: float = CHECK_S, answer_s: float = ANSWER_S
    ) -> None:
        self.kind = kind
        self.error: str | None = "not connected yet"
        self.carriers = 0
        self._near = MemoryBus()
        self._open_carrier = open_carrier
        self._check_s = check_s
        self._answer_s = answer_s
        self._is_up = False
        self._is_ending = False
        self._is_fresh = False
        """Whether there has been a carrier since the last wait: the next try comes soon."""
        self._first_try = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._changed: dict[str, None] = {}
        self._has_changed = asyncio.Event()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._missed: dict[str, None] = {}
        self._has_missed_many = False
        self._has_waiting = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._listened: set[str] = set()
        self._published = METRICS.bus_published.labels(kind)

    # --- the port

    def is_heard(self, channel: str) -> bool:
        """Who listens elsewhere is not known."""
        return True

    def publish_nowait(self, channel: str, message: bytes) -> None:
        self._near.publish_nowait(channel, message)
        if not self._is_up:
            self._miss(channel, "not connected")
        elif len(self._waiting) >= WAITING_MAX or self._waiting_bytes + len(message) > WAITING_BYTES_MAX:
            self._miss(channel, "overflow")
        else:
            self._waiting.append((channel, message))
            self._waiting_bytes += len(message)
            self._is_idle.clear()
            self._has_waiting.set()

    def subscribe(self, channel: str, handler: Handler) -> Callable[[], None]:
        """From now on, for what is published here; for the rest once the server knows of it, which the handler is
        told with None: what was published there meanwhile it may have missed."""
        end_near = self._near.subscribe(channel, handler)
        self._change(channel)

        def end() -> None:
            end_near()
            self._change(channel)

        return end

    async def aclose(self) -> None:
        if self._is_up:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._is_idle.wait()
        self._is_ending = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        self._is_up = False
        self.error = "closed"

    async def start(self) -> None:
        """Try to connect, and go on trying. Returns after the first try; `error` says how it went."""
        self._keeper = asyncio.create_task(self._keep(), name=f"{self.kind} bus")
        await self._first_try.wait()

    # --- what a carrier hands over

    def receive(self, channel: str, message: bytes | None) -> None:
        METRICS.bus_received.labels(self.kind).inc()
        if channel == DROPPED_CHANNEL:
            self._near.tell_dropped_nowait()
        elif message is None:
            self._near.tell_dropped_nowait(channel)
        else:
            self._near.publish_nowait(channel, message)

    def lose(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    # --- the carrier

    async def _keep(self) -> None:
        tries = 0
        while not self._is_ending:
            try:
                await self._live_with_a_carrier()
            except CarrierLost as lost:
                self._is_up, self.error = False, str(lost)
                log.warning("bus_carrier_lost", bus=self.kind, reason=str(lost))
            except Exception as failure:
                self._is_up, self.error = False, f"failed: {type(failure).__name__}"
                METRICS.oddities.labels("bus").inc()
                log.exception("bus_failed", bus=self.kind)
            tries = 0 if self._is_fresh else tries + 1
            self._is_fresh = False
            self._drop_waiting()
            self._first_try.set()
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(BACKOFF_MAX_S, BACKOFF_S * 2**tries))

    async def _live_with_a_carrier(self) -> None:
        self._lost = asyncio.get_running_loop().create_future()
        carrier = await within(OPEN_S, self._open_carrier(self), "no connection")
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._come_up(carrier)
            works = (self._send_forever, self._listen_forever, self._check_forever)
            tasks = {asyncio.create_task(work(carrier)) for work in works}
            ends: set[asyncio.Future[Any]] = {self._lost, *tasks}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            self._is_up = False
            for task in tasks:
                if task.done():
                    task.result()
            raise CarrierLost(self._lost.result())
        finally:
            self._is_up = False
            await _end(tasks, carrier)

    async def _come_up(self, carrier: Carrier) -> None:
        """Listen to all there is, prove it, and say that whatever came meanwhile was missed."""
        self._changed.clear()
        channels = [*self._near.channels, DROPPED_CHANNEL]
        await within(OPEN_S, carrier.listen(channels), "no answer to what is listened to")
        self._listened = set(channels)
        await within(self._answer_s, carrier.check(), "no answer")
        self.carriers += 1
        if self.carriers > 1:
            METRICS.bus_reconnects.labels(self.kind).inc()
            log.info("bus_carrier_again", bus=self.kind)
        self._is_fresh, self._is_up, self.error = True, True, None
        if self._missed or self._has_missed_many:
            self._has_waiting.set()
        self._near.tell_dropped_nowait()
        self._first_try.set()

    async def _check_forever(self, carrier: Carrier) -> None:
        while True:
            began = time.perf_counter()
            await within(self._answer_s, carrier.check(), "no answer")
            METRICS.bus_lag.labels(self.kind).set(time.perf_counter() - began)
            await asyncio.sleep(self._check_s)

    # --- listening

    def _change(self, channel: str) -> None:
        if self._is_up or self._keeper is not None:
            self._changed[channel] = None
            self._has_changed.set()

    async def _listen_forever(self, carrier: Carrier) -> None:
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            changed, self._changed = self._changed, {}
            wanted = [c for c in changed if self._near.is_heard(c) and c not in self._listened]
            unwanted = [c for c in changed if not self._near.is_heard(c) and c in self._listened]
            if unwanted:
                await carrier.unlisten(unwanted)
                self._listened.difference_update(unwanted)
            if wanted:
                await carrier.listen(wanted)
                self._listened.update(wanted)
                for channel in wanted:
                    self._near.tell_dropped_nowait(channel)

    # --- sending

    async def _send_forever(self, carrier: Carrier) -> None:
        while True:
            if not (self._waiting or self._missed or self._has_missed_many):
                self._has_waiting.clear()
                self._is_idle.set()
                await self._has_waiting.wait()
            batch, markers = self._take_batch(), self._take_markers()
            self._published.inc(len(batch))
            for channel in await carrier.send([*batch, *markers]):
                self._miss(channel, "refused")

    def _take_batch(self) -> list[tuple[str, bytes]]:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
        self._waiting_bytes -= sum(len(message) for _, message in batch)
        return batch

    def _take_markers(self) -> list[Message]:
        """Those to whom messages were not sent are told so, as soon as there is room."""
        if len(self._waiting) > WAITING_MAX // 2:
            return []
        missed, self._missed = self._missed, {}
        if self._has_missed_many:
            self._has_missed_many = False
            return [(DROPPED_CHANNEL, None)]
        return [(channel, None) for channel in missed]

    def _miss(self, channel: str, why: str) -> None:
        METRICS.bus_dropped.labels(self.kind, why).inc()
        if len(self._missed) < MISSED_MAX:
            self._missed[channel] = None
        elif channel not in self._missed:
            self._has_missed_many = True

    def _drop_waiting(self) -> None:
        for channel, _ in self._waiting:
            self._miss(channel, "carrier lost")
        self._waiting.clear()
        self._waiting_bytes = 0
        self._is_idle.set()


async def within(seconds: float, work: Coroutine[Any, Any, T], what: str) -> T:
    """Wait for it so long, then leave it to end by itself: a library's wait may not hear its cancellation."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(let_go)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if not done:
        raise CarrierLost(f"{what} within {seconds:g} s")
    return task.result()


def let_go(task: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more: its outcome is no news."""
    if not task.cancelled():
        task.exception()


async def _end(tasks: set[asyncio.Task[None]], carrier: Carrier) -> None:
    for task in tasks:
        task.cancel()
        task.add_done_callback(let_go)
    closing = asyncio.ensure_future(carrier.aclose())
    closing.add_done_callback(let_go)
    await asyncio.wait({closing, *tasks}, timeout=CLOSE_S)
