"""What every bus between processes has in common, whatever server carries its hints.

How it works
------------
- A process's own hints do not depend on the server: `publish_nowait` delivers them in the process at once and queues
  them for the server (`SendQueue`, bounded).
- One task (`_run`) opens a `BusConnection`, subscribes to every channel, and proves by a round trip that messages
  arrive. It checks the connection by another round trip every `check_s` and replaces it when it is lost.
- Wherever messages may have been missed (a new connection, a full queue, a message that is too large) the handlers of
  the channel are called with None. A handler then reads the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import structlog

from antiphon.backoff import Backoff
from antiphon.bus.memory import MemoryBus
from antiphon.bus.send_queue import DROPPED_CHANNEL, Message, QueueLimits, SendQueue
from antiphon.core.values import Value
from antiphon.observe.metrics import METRICS
from antiphon.ports import Handler
from antiphon.tracebacks import traceback_of

log = structlog.get_logger(__name__)

T = TypeVar("T")


class BusTiming(Value):
    """How a networked bus opens, checks and replaces its connection. All in seconds."""

    check_s: float = 2.0
    """Between two checks of the connection."""
    answer_s: float = 2.5
    """How long a check may take. A frozen server is detected within `check_s + answer_s`."""
    open_s: float = 5.0
    """How long opening a connection may take."""
    close_s: float = 1.0
    """How long closing may take: first sending what is queued, then closing the connection."""
    stable_s: float = 5.0
    """A connection that lasted this long is replaced at once, another one after the backoff."""
    backoff: Backoff = Backoff(first_s=0.1, max_s=2.0, jitter=0.5)
    """Between two tries to connect."""


class BusConnectionLost(Exception):
    """The server cannot be reached, does not answer, or has closed the connection; the text gives the reason."""


class Receiver(Protocol):
    """What a connection delivers to."""

    def receive(self, channel: str, message: bytes | None) -> None:
        """A message arrived. None: messages of this channel were dropped on their way."""
        ...

    def lose(self, reason: str) -> None:
        """The server closed the connection. (A failed call raises BusConnectionLost instead.)"""
        ...


class BusConnection(Protocol):
    """One connection to the server, from its opening until it is lost. Every call may raise BusConnectionLost."""

    async def listen(self, channels: Sequence[str]) -> None: ...

    async def unlisten(self, channels: Sequence[str]) -> None: ...

    async def send(self, messages: Sequence[Message]) -> Sequence[str]:
        """Send messages to the server, in order.

        Returns:
            The channels of those messages that the server refuses.
        """
        ...

    async def check(self) -> None:
        """Make one round trip on the path of the messages."""
        ...

    async def aclose(self) -> None:
        """Release the connection, whatever its state."""
        ...


OpenBusConnection = Callable[[Receiver], Coroutine[Any, Any, BusConnection]]


class NetworkedBus:
    """Keeps the promises of `ports.Bus` over a server. `error` says why there is no connection now."""

    def __init__(
        self,
        kind: str,
        open_connection: OpenBusConnection,
        *,
        timing: BusTiming = BusTiming(),  # noqa: B008 - a value
        limits: QueueLimits = QueueLimits(),  # noqa: B008 - a value
    ) -> None:
        self.kind = kind
        self.error: str | None = "not connected yet"
        self.connection_count = 0
        """How many connections it has had."""
        self._local = MemoryBus()
        self._queue = SendQueue(kind, limits)
        self._open_connection = open_connection
        self._timing = timing
        self._random = random.Random()
        self._is_up = False
        self._is_closing = False
        self._has_tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._changed: dict[str, None] | None = None
        """Channels whose subscription may have changed. None: the next connection subscribes to all of them."""
        self._has_changed = asyncio.Event()
        self._listened: set[str] = set()
        self._published = METRICS.bus_published.labels(kind)
        self._received = METRICS.bus_received.labels(kind)

    # --- the port

    def has_subscribers(self, channel: str, *, of_own_appends: bool = False) -> bool:
        """True: the subscribers of other processes are not known here."""
        return True

    def publish_nowait(self, channel: str, message: bytes) -> None:
        self._local.publish_nowait(channel, message)
        if self._is_up:
            self._queue.put_nowait(channel, message)
        else:
            self._queue.drop(channel, "not connected")

    def subscribe(self, channel: str, handler: Handler, *, sees_own_appends: bool = False) -> Callable[[], None]:
        """Messages of this process are delivered from now on, those of others once the server has the subscription.
        The handler is then called with None: it may have missed messages of others until then."""
        unsubscribe_local = self._local.subscribe(channel, handler, sees_own_appends=sees_own_appends)
        self._note_change(channel)

        def unsubscribe() -> None:
            unsubscribe_local()
            self._note_change(channel)

        return unsubscribe

    def is_subscribed(self, channel: str) -> bool:
        return self._is_up and channel in self._listened

    async def aclose(self) -> None:
        if self._is_up:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.close_s):
                    await self._queue.wait_idle()
        self._is_closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._is_up, self.error = False, "closed"

    async def start(self) -> None:
        """Connect, with retries in the background. Returns after the first try; `error` says how it ended."""
        self._task = asyncio.create_task(self._run(), name=f"{self.kind} bus")
        await self._has_tried.wait()

    # --- the connection

    async def _run(self) -> None:
        loop, timing = asyncio.get_running_loop(), self._timing
        tries = 0
        while not self._is_closing:
            started_at = loop.time()
            try:
                await self._run_connection()
            except BusConnectionLost as lost:
                self._is_up, self.error = False, str(lost)
                log.warning("bus_connection_lost", bus=self.kind, reason=str(lost))
            except Exception:
                self._is_up, self.error = False, "it failed unexpectedly; the log has the reason (bus_failed)"
                METRICS.unexpected.labels("bus_failure").inc()
                log.error("bus_failed", bus=self.kind, exception=traceback_of())
            self._has_tried.set()
            was_stable = loop.time() - started_at > timing.open_s + timing.stable_s
            tries = 1 if was_stable else tries + 1
            await asyncio.sleep(timing.backoff.delay_s(tries, self._random))

    async def _run_connection(self) -> None:
        """Open a connection and use it until it is lost. Raises BusConnectionLost."""
        inbound = Inbound(self._deliver)
        connection = await self._open(inbound)
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._set_up(connection)
            loops = (self._send_forever, self._listen_forever, self._check_forever)
            tasks = {asyncio.create_task(loop(connection)) for loop in loops}
            ends: set[asyncio.Future[Any]] = {inbound.lost, *tasks}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            raise BusConnectionLost(inbound.lost.result())
        finally:
            self._is_up, self._changed = False, None
            inbound.is_open = False
            await _close(tasks, connection, timeout_s=self._timing.close_s)
            self._queue.fail()

    async def _open(self, inbound: Inbound) -> BusConnection:
        opening = asyncio.ensure_future(self._open_connection(inbound))
        try:
            return await within(self._timing.open_s, opening, "no connection")
        except BaseException:
            opening.add_done_callback(_close_late)
            raise

    async def _set_up(self, connection: BusConnection) -> None:
        """Subscribe to every channel, check that messages arrive, and report that earlier ones were missed."""
        self._changed = {}
        channels = [*self._local.channels, DROPPED_CHANNEL]
        await within(self._timing.open_s, connection.listen(channels), "no answer to the subscriptions")
        self._listened = set(channels)
        await within(self._timing.answer_s, connection.check(), "no answer")
        self.connection_count += 1
        if self.connection_count > 1:
            METRICS.bus_reconnects.labels(self.kind).inc()
            log.info("bus_reconnected", bus=self.kind)
        self._is_up, self.error = True, None
        self._queue.resume()
        self._local.notify_dropped_nowait()
        self._has_tried.set()

    async def _check_forever(self, connection: BusConnection) -> None:
        while True:
            started_at = time.perf_counter()
            unconfirmed = self._queue.begin_check()
            try:
                await within(self._timing.answer_s, connection.check(), "no answer")
            except BaseException:
                self._queue.fail_check(unconfirmed)
                raise
            METRICS.bus_lag.labels(self.kind).set(time.perf_counter() - started_at)
            await asyncio.sleep(self._timing.check_s)

    # --- receiving

    def _deliver(self, channel: str, message: bytes | None) -> None:
        self._received.inc()
        if channel == DROPPED_CHANNEL:
            self._local.notify_dropped_nowait()
        elif message is None:
            self._local.notify_dropped_nowait(channel)
        else:
            self._local.publish_nowait(channel, message)

    def _note_change(self, channel: str) -> None:
        if self._changed is not None:
            self._changed[channel] = None
            self._has_changed.set()

    async def _listen_forever(self, connection: BusConnection) -> None:
        """Keep the server's subscriptions equal to those of this process."""
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            changed, self._changed = self._changed or {}, {}
            wanted = [c for c in changed if self._local.has_subscribers(c) and c not in self._listened]
            unwanted = [c for c in changed if not self._local.has_subscribers(c) and c in self._listened]
            if unwanted:
                await connection.unlisten(unwanted)
                self._listened.difference_update(unwanted)
            if wanted:
                await connection.listen(wanted)
                self._listened.update(wanted)
                for channel in wanted:
                    self._local.notify_dropped_nowait(channel)

    # --- sending

    async def _send_forever(self, connection: BusConnection) -> None:
        while True:
            batch = await self._queue.next_batch()
            self._published.inc(len(batch))
            for channel in await connection.send(batch):
                self._queue.drop(channel, "refused")


class Inbound:
    """The receiver of one connection. Once that is replaced, its late messages and its loss are ignored."""

    def __init__(self, deliver: Callable[[str, bytes | None], None]) -> None:
        self.is_open = True
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._deliver = deliver

    def receive(self, channel: str, message: bytes | None) -> None:
        if self.is_open:
            self._deliver(channel, message)

    def lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)


async def within(timeout_s: float, work: Awaitable[T], what: str) -> T:
    """The result of `work`. Raises BusConnectionLost with `what` after `timeout_s` seconds; `work` is then cancelled
    and not awaited, because a client library may ignore a cancellation."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(ignore_outcome)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
    finally:
        task.cancel()
    if not done:
        raise BusConnectionLost(f"{what} within {timeout_s:g} s")
    return task.result()


def ignore_outcome(task: asyncio.Future[Any]) -> None:
    """A done callback of a task that no caller awaits: asyncio does not report its exception."""
    if not task.cancelled():
        task.exception()


def _close_late(opening: asyncio.Future[BusConnection]) -> None:
    """A done callback: close a connection that was opened after its timeout."""
    if not opening.cancelled() and opening.exception() is None:
        closing = asyncio.ensure_future(opening.result().aclose())
        closing.add_done_callback(ignore_outcome)


async def _close(tasks: set[asyncio.Task[None]], connection: BusConnection, *, timeout_s: float) -> None:
    for task in tasks:
        task.cancel()
        task.add_done_callback(ignore_outcome)
    closing = asyncio.ensure_future(connection.aclose())
    closing.add_done_callback(ignore_outcome)
    await asyncio.wait({closing, *tasks}, timeout=timeout_s)
