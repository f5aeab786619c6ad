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
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import structlog

from antiphon.bus.memory import MemoryBus
from antiphon.bus.send_queue import DROPPED_CHANNEL, Message, SendQueue
from antiphon.observe.metrics import METRICS
from antiphon.ports import Handler

CHECK_S = 2.0
ANSWER_S = 2.5
"""A carrier that has not answered for so long is lost: a frozen server is noticed within CHECK_S + ANSWER_S."""

OPEN_S = 5.0
CLOSE_S = 1.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 2.0

STABLE_S = 5.0
"""A carrier that held so long is replaced at once; one that did not, after ever longer pauses."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class BusConnectionLost(Exception):
    """The server cannot be reached, does not answer, or has ended the connection; the text says which."""


class Receiver(Protocol):
    """Where a carrier hands over what comes in."""

    def receive(self, channel: str, message: bytes | None) -> None:
        """A message, or None: some of this channel were dropped on their way."""
        ...

    def lose(self, reason: str) -> None:
        """The carrier has ended by itself. (What fails while it is asked for something raises BusConnectionLost.)"""
        ...


class BusConnection(Protocol):
    """One connection to the server, from its opening until it is lost. Every call may raise BusConnectionLost."""

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


OpenBusConnection = Callable[[Receiver], Coroutine[Any, Any, BusConnection]]


class NetworkedBus:
    """Keeps the promises of `ports.Bus` over connection_count. `start` it; `error` tells why there is no carrier now."""

    def __init__(
        self, kind: str, open_carrier: OpenBusConnection, *, check_s: float = CHECK_S, answer_s: float = ANSWER_S
    ) -> None:
        self.kind = kind
        self.error: str | None = "not connected yet"
        self.connection_count = 0
        self._near = MemoryBus()
        self._outbox = SendQueue(kind)
        self._open_carrier = open_carrier
        self._check_s = check_s
        self._answer_s = answer_s
        self._is_up = False
        self._is_ending = False
        self._first_try = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._changed: dict[str, None] | None = None
        """The channels to be looked at by `_listen_forever`; None: the next carrier listens to all there are."""
        self._has_changed = asyncio.Event()
        self._listened: set[str] = set()
        self._published = METRICS.bus_published.labels(kind)
        self._received = METRICS.bus_received.labels(kind)

    # --- the port

    def has_subscribers(self, channel: str) -> bool:
        """Who listens elsewhere is not known."""
        return True

    def publish_nowait(self, channel: str, message: bytes) -> None:
        self._near.publish_nowait(channel, message)
        if self._is_up:
            self._outbox.put_nowait(channel, message)
        else:
            self._outbox.miss(channel, "not connected")

    def subscribe(self, channel: str, handler: Handler) -> Callable[[], None]:
        """From now on, for what is published here; for the rest once the server knows of it, which the handler is
        told with None: what was published there meanwhile it may have missed."""
        end_near = self._near.subscribe(channel, handler)
        self._change(channel)

        def end() -> None:
            end_near()
            self._change(channel)

        return end

    def is_subscribed(self, channel: str) -> bool:
        return self._is_up and channel in self._listened

    async def aclose(self) -> None:
        if self._is_up:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._outbox.wait_idle()
        self._is_ending = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        self._is_up, self.error = False, "closed"

    async def start(self) -> None:
        """Try to connect, and go on trying. Returns after the first try; `error` says how it went."""
        self._keeper = asyncio.create_task(self._keep(), name=f"{self.kind} bus")
        await self._first_try.wait()

    # --- the carrier

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        tries = 0
        while not self._is_ending:
            began = loop.time()
            try:
                await self._live_with_a_carrier()
            except BusConnectionLost as lost:
                self._is_up, self.error = False, str(lost)
                log.warning("bus_connection_lost", bus=self.kind, reason=str(lost))
            except Exception:
                self._is_up, self.error = False, "it failed unexpectedly; the log has the reason (bus_failed)"
                METRICS.unexpected.labels("bus_failure").inc()
                log.exception("bus_failed", bus=self.kind)
            self._first_try.set()
            tries = 0 if loop.time() - began > OPEN_S + STABLE_S else tries + 1
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(BACKOFF_MAX_S, BACKOFF_S * 2**tries))

    async def _live_with_a_carrier(self) -> None:
        ear = Ear(self._take)
        carrier = await self._open(ear)
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._come_up(carrier)
            works = (self._send_forever, self._listen_forever, self._check_forever)
            tasks = {asyncio.create_task(work(carrier)) for work in works}
            ends: set[asyncio.Future[Any]] = {ear.lost, *tasks}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            raise BusConnectionLost(ear.lost.result())
        finally:
            self._is_up, self._changed = False, None
            ear.is_open = False
            await _end(tasks, carrier)
            self._outbox.lose()

    async def _open(self, ear: Ear) -> BusConnection:
        opening = asyncio.ensure_future(self._open_carrier(ear))
        try:
            return await within(OPEN_S, opening, "no connection")
        except BaseException:
            opening.add_done_callback(_close_unwanted)
            raise

    async def _come_up(self, carrier: BusConnection) -> None:
        """Listen to all there is, prove it, and say that whatever came meanwhile was missed."""
        self._changed = {}
        channels = [*self._near.channels, DROPPED_CHANNEL]
        await within(OPEN_S, carrier.listen(channels), "no answer to what is listened to")
        self._listened = set(channels)
        await within(self._answer_s, carrier.check(), "no answer")
        self.connection_count += 1
        if self.connection_count > 1:
            METRICS.bus_reconnects.labels(self.kind).inc()
            log.info("bus_reconnected", bus=self.kind)
        self._is_up, self.error = True, None
        self._outbox.resume()
        self._near.notify_dropped_nowait()
        self._first_try.set()

    async def _check_forever(self, carrier: BusConnection) -> None:
        while True:
            began = time.perf_counter()
            handed = self._outbox.begin_proof()
            try:
                await within(self._answer_s, carrier.check(), "no answer")
            except BaseException:
                self._outbox.fail_proof(handed)
                raise
            METRICS.bus_lag.labels(self.kind).set(time.perf_counter() - began)
            await asyncio.sleep(self._check_s)

    # --- listening

    def _take(self, channel: str, message: bytes | None) -> None:
        self._received.inc()
        if channel == DROPPED_CHANNEL:
            self._near.notify_dropped_nowait()
        elif message is None:
            self._near.notify_dropped_nowait(channel)
        else:
            self._near.publish_nowait(channel, message)

    def _change(self, channel: str) -> None:
        if self._changed is not None:
            self._changed[channel] = None
            self._has_changed.set()

    async def _listen_forever(self, carrier: BusConnection) -> None:
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            changed, self._changed = self._changed or {}, {}
            wanted = [c for c in changed if self._near.has_subscribers(c) and c not in self._listened]
            unwanted = [c for c in changed if not self._near.has_subscribers(c) and c in self._listened]
            if unwanted:
                await carrier.unlisten(unwanted)
                self._listened.difference_update(unwanted)
            if wanted:
                await carrier.listen(wanted)
                self._listened.update(wanted)
                for channel in wanted:
                    self._near.notify_dropped_nowait(channel)

    # --- sending

    async def _send_forever(self, carrier: BusConnection) -> None:
        while True:
            batch = await self._outbox.take()
            self._published.inc(len(batch))
            for channel in await carrier.send(batch):
                self._outbox.miss(channel, "refused")


class Ear:
    """Where one carrier hands over what comes in, until it is replaced: its last words do not concern the next."""

    def __init__(self, take: Callable[[str, bytes | None], None]) -> None:
        self.is_open = True
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._take = take

    def receive(self, channel: str, message: bytes | None) -> None:
        if self.is_open:
            self._take(channel, message)

    def lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)


async def within(seconds: float, work: Awaitable[T], what: str) -> T:
    """Wait for it so long, then leave it to end by itself: a library's wait may not hear its cancellation."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(let_go)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if not done:
        raise BusConnectionLost(f"{what} within {seconds:g} s")
    return task.result()


def let_go(task: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more: its outcome is no news."""
    if not task.cancelled():
        task.exception()


def _close_unwanted(opening: asyncio.Future[BusConnection]) -> None:
    """It was opened after all, when nobody waited any more."""
    if not opening.cancelled() and opening.exception() is None:
        closing = asyncio.ensure_future(opening.result().aclose())
        closing.add_done_callback(let_go)


async def _end(tasks: set[asyncio.Task[None]], carrier: BusConnection) -> None:
    for task in tasks:
        task.cancel()
        task.add_done_callback(let_go)
    closing = asyncio.ensure_future(carrier.aclose())
    closing.add_done_callback(let_go)
    await asyncio.wait({closing, *tasks}, timeout=CLOSE_S)
