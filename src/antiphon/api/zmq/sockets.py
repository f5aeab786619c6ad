"""The two ZeroMQ sockets of an instance, and nothing else knows ZeroMQ here: XPUB for events, ROUTER for calls.

XPUB is sent to without waiting, in the loop's thread: what a subscriber's queue does not hold is dropped for it (a
follower sees the gap and asks). What comes in on XPUB are subscriptions: past their bounds the socket is closed and
rebound (honest peers subscribe again by themselves). libzmq drops peers whose handshake fails; they are counted.

ROUTER is read without waiting, too, whenever its descriptor signals: `zmq.asyncio` does the same at twice the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from pathlib import Path

import structlog
import zmq

from antiphon.api.zmq.curve import Curve
from antiphon.api.zmq.large_messages import LARGE_BYTES, LargeMessages
from antiphon.api.zmq.limits import SocketLimits
from antiphon.api.zmq.subscriptions import Subscriptions
from antiphon.errors import Unavailable
from antiphon.observe.metrics import METRICS
from antiphon.signal import Signal
from antiphon.wire import jsonrpc
from antiphon.wire.instance import CALL_BYTES_MAX

SUBSCRIPTION_BYTES_MAX = 4 * 1024
QUEUED_FRAME_BYTES_MAX = 256 * 1024 * 1024
"""Maximum size of all queued large frames, in bytes; newer ones are dropped for every subscriber."""
QUEUED_ANSWERS_MAX = 1_000
QUEUED_LARGE_BYTES_MAX = 64 * 1024 * 1024
QUEUED_ANSWER_BYTES_MAX = 512 * 1024 * 1024
"""Maximum size of the queued large responses for one peer, and for all, in bytes; newer ones are dropped."""
QUEUED_CALLS_MAX = 64
"""Maximum number of calls queued for one peer; the rest stays in its own queue."""
QUEUED_SUBSCRIPTIONS_MAX = 50
"""Maximum number of subscriptions read from one peer in a row, in the loop's thread."""
POLL_S = 0.5
"""How often failed handshakes are counted, and subscriptions are polled whatever the descriptor has signalled, in
seconds."""
REBIND_S = 0.05
"""Pause between two tries to bind the socket of events again, in seconds."""
POLLED_MAX = 5_000
"""Maximum number of subscriptions that are read at once."""
BIND_TRIES_MAX = 200
LINGER_MS = 1_000
IPC_PATH_MAX = 107
PAIRS_TRIED = 100
NOW, NOW_MORE, READABLE = int(zmq.DONTWAIT), int(zmq.DONTWAIT | zmq.SNDMORE), int(zmq.POLLIN)
"""Plain numbers: pyzmq's enums cost more than what they say."""

FAILED_HANDSHAKES = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)

log = structlog.get_logger(__name__)


class InstanceSockets:
    """Bound when made; `close` delivers what was published. `pub_endpoint` and `rpc_endpoint` are where it is."""

    def __init__(
        self,
        pub: str,
        rpc: str,
        *,
        keys_file: Path | None = None,
        limits: SocketLimits = SocketLimits(),  # noqa: B008 - a value
    ) -> None:
        """Raises `Unavailable` where an endpoint cannot be bound. With `keys_file` only who it allows gets in."""
        self._limits = limits
        self._context = zmq.Context()
        self._curve: Curve | None = None
        self._pub: zmq.Socket[bytes] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readable: asyncio.Future[None] | None = None
        self._subscription: asyncio.Future[None] | None = None
        self._frames: list[bytes] = []
        self.subscriptions = Subscriptions(limits)
        self.subscribed: Signal[bool] = Signal("subscribed")
        """Emitted with True when the first peer subscribes, with False when the last one is gone."""
        self._had_subscribers = False
        self._large_frames = LargeMessages(peer_bytes_max=QUEUED_FRAME_BYTES_MAX, bytes_max=QUEUED_FRAME_BYTES_MAX)
        self._large_answers = LargeMessages(peer_bytes_max=QUEUED_LARGE_BYTES_MAX, bytes_max=QUEUED_ANSWER_BYTES_MAX)
        try:
            if keys_file is not None:
                self._curve = Curve(self._context, keys_file)
            self._pub = self._bind_pub(pub)
            self._rpc = self._context.socket(zmq.ROUTER)
            self._rpc.setsockopt(zmq.MAXMSGSIZE, CALL_BYTES_MAX)
            self._rpc.setsockopt(zmq.SNDHWM, QUEUED_ANSWERS_MAX)
            self._rpc.setsockopt(zmq.RCVHWM, QUEUED_CALLS_MAX)
            self._rpc.setsockopt(zmq.LINGER, LINGER_MS)
            if self._curve is not None:
                self._curve.guard(self._rpc)
            _bind(self._rpc, rpc)
            self._rpc_ear = self._listen(self._rpc)
        except BaseException as error:
            self._close_pub(linger_ms=0)
            if self._curve is not None:
                self._curve.close()
            self._context.destroy(linger=0)
            if isinstance(error, zmq.ZMQError):
                raise Unavailable(f"the sockets cannot be made ({error.strerror})") from error
            raise
        self.pub_endpoint = self._pub.getsockopt_string(zmq.LAST_ENDPOINT)
        self.rpc_endpoint = self._rpc.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def has_subscribers(self) -> bool:
        """Whether any peer subscribes to any topic, as of the last poll."""
        return len(self.subscriptions) > 0

    def publish_nowait(self, frame: bytes) -> None:
        """Send to all subscribers, together with the other frames of this iteration of the loop. Dropped while the
        socket is being rebound, and after `close`."""
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._flush)
        self._frames.append(frame)

    def _flush(self) -> None:
        """One after another, else ZeroMQ's thread falls asleep in between, and waking it is most of what a frame
        costs."""
        frames, self._frames = self._frames, []
        if self._pub is None:
            return
        METRICS.frames.inc(len(frames))
        for frame in frames:
            try:
                if len(frame) < LARGE_BYTES:
                    self._pub.send(frame, NOW)
                else:
                    self._publish_large(self._pub, frame)
            except zmq.Again:
                METRICS.unexpected.labels("dropped_frame").inc()
        self._check_subscriptions()

    def _publish_large(self, pub: zmq.Socket[bytes], frame: bytes) -> None:
        if not self._large_frames.has_room("all", len(frame)):
            METRICS.unexpected.labels("dropped_frame").inc()
            return
        tracker = pub.send(frame, NOW, copy=False, track=True)
        self._large_frames.add("all", len(frame), tracker)

    async def watch_subscriptions(self) -> None:
        """Count who subscribes, until cancelled."""
        while True:
            has_seen_some = self._poll_subscriptions()
            self._emit_subscribed()
            self._count_failed(self._pub_ear)
            self._count_failed(self._rpc_ear)
            if self.subscriptions.is_flooded:
                await self._rebind()
            await (asyncio.sleep(0) if has_seen_some else self._wait_subscription())

    async def _wait_subscription(self) -> None:
        """Until a subscription may have come, or POLL_S has passed. The descriptor signals once for all that came,
        and sending takes the signal, so `_flush` checks for subscriptions as well."""
        if self._pub is None:
            await asyncio.sleep(REBIND_S)
            return
        loop, descriptor = asyncio.get_running_loop(), self._pub.fileno()
        self._subscription = loop.create_future()
        loop.add_reader(descriptor, self._check_subscriptions)
        try:
            self._check_subscriptions()
            async with asyncio.timeout(POLL_S):
                await self._subscription
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(descriptor)
            self._subscription = None

    def _check_subscriptions(self) -> None:
        waiter = self._subscription
        if waiter is None or waiter.done() or self._pub is None:
            return
        if int(self._pub.getsockopt(zmq.EVENTS)) & READABLE:
            waiter.set_result(None)

    def _poll_subscriptions(self) -> bool:
        """Apply the pending subscriptions; whether there were any."""
        for count in range(POLLED_MAX):
            if self._pub is None or self.subscriptions.is_flooded:
                break
            try:
                message = self._pub.recv(NOW)
            except zmq.Again:
                return count > 0
            assert isinstance(message, bytes)
            self.subscriptions.apply(message)
        return True

    def _emit_subscribed(self) -> None:
        if self.has_subscribers is not self._had_subscribers:
            self._had_subscribers = self.has_subscribers
            self.subscribed.emit(self._had_subscribers)

    async def _rebind(self) -> None:
        """Forget all subscriptions. libzmq gives an address back a moment after its socket was closed."""
        METRICS.unexpected.labels("dropped_subscriptions").inc()
        log.warning("subscriptions_dropped", count=len(self.subscriptions), bytes=self.subscriptions.bytes)
        self._close_pub(linger_ms=0)
        self.subscriptions.clear()
        for _ in range(BIND_TRIES_MAX):
            await asyncio.sleep(REBIND_S)
            with contextlib.suppress(Unavailable):
                self._pub = self._bind_pub(self.pub_endpoint)
                return
        raise Unavailable(f"{self.pub_endpoint} cannot be rebound")

    async def receive(self) -> tuple[bytes, bytes]:
        """The next call and its sender; malformed messages are rejected."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._rpc.fileno(), self._check_calls)
        while True:
            if not self._has_call:
                self._readable = self._loop.create_future()
                await self._readable
            identity, *frames = self._rpc.recv_multipart(NOW)
            if len(frames) == 2 and not frames[0]:
                return identity, frames[1]
            if len(frames) == 1:
                return identity, frames[0]
            METRICS.unexpected.labels("malformed_call").inc()
            await self.reply(identity, jsonrpc.refuse_frames(frames))

    @property
    def _has_call(self) -> bool:
        return bool(int(self._rpc.getsockopt(zmq.EVENTS)) & READABLE)

    def _check_calls(self) -> None:
        """Wake who waits for a call. The descriptor signals a change once, and whatever is done with the socket takes
        the signal. So this is called when it signals (asking clears it, else the loop would spin while no task
        receives) and after each answer (which may have taken it)."""
        if self._has_call and self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    async def reply(self, identity: bytes, answer: bytes) -> None:
        """Answer a call; a peer that is gone or reads nothing loses its answer."""
        if len(answer) >= LARGE_BYTES and not self._large_answers.has_room(identity, len(answer)):
            METRICS.unexpected.labels("dropped_answer").inc()
            return
        with contextlib.suppress(zmq.ZMQError):
            self._rpc.send(identity, NOW_MORE)
            self._rpc.send(b"", NOW_MORE)
            if len(answer) < LARGE_BYTES:
                self._rpc.send(answer, NOW)
            else:
                tracker = self._rpc.send(answer, NOW, copy=False, track=True)
                self._large_answers.add(identity, len(answer), tracker)
            self._check_calls()

    def close(self) -> None:
        """Close both, in the loop's thread; `deliver` then waits for what was published and answered."""
        self._flush()
        self._close_pub(linger_ms=LINGER_MS)
        if self._loop is not None:
            self._loop.remove_reader(self._rpc.fileno())
        self._rpc.disable_monitor()
        self._rpc_ear.close(linger=0)
        self._rpc.close(linger=LINGER_MS)
        if self._curve is not None:
            self._curve.close()

    def deliver(self) -> None:
        """Wait, up to LINGER_MS, until it is delivered. Another thread may: no socket is left to touch."""
        self._context.term()

    def _close_pub(self, *, linger_ms: int) -> None:
        pub, self._pub = self._pub, None
        if pub is not None:
            pub.disable_monitor()
            self._pub_ear.close(linger=0)
            pub.close(linger=linger_ms)

    def _bind_pub(self, endpoint: str) -> zmq.Socket[bytes]:
        pub = self._context.socket(zmq.XPUB)
        pub.setsockopt(zmq.SNDHWM, self._limits.queued_frames_max)
        pub.setsockopt(zmq.RCVHWM, QUEUED_SUBSCRIPTIONS_MAX)
        pub.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES_MAX)
        pub.setsockopt(zmq.LINGER, LINGER_MS)
        if self._curve is not None:
            self._curve.guard(pub)
        try:
            _bind(pub, endpoint)
        except BaseException:
            pub.close(linger=0)
            raise
        self._pub_ear = self._listen(pub)
        return pub

    def _listen(self, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        """An ear for the handshakes that fail. It is never full, else libzmq's own thread would wait for it; so it is
        closed after `disable_monitor`, never before."""
        address = f"inproc://failed-handshakes-{uuid.uuid4()}"
        socket.monitor(address, FAILED_HANDSHAKES)
        ear = self._context.socket(zmq.PAIR)
        ear.setsockopt(zmq.RCVHWM, 0)
        ear.connect(address)
        return ear

    @staticmethod
    def _count_failed(ear: zmq.Socket[bytes]) -> None:
        for _ in range(POLLED_MAX):
            try:
                ear.recv_multipart(NOW)
            except zmq.Again:
                return
            METRICS.unexpected.labels("failed_handshake").inc()


def _bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise Unavailable(f"{endpoint} cannot be bound ({error.strerror})") from error
    if endpoint.startswith("ipc://"):
        Path(endpoint.removeprefix("ipc://")).chmod(0o600)


def open_ipc_sockets(folder: Path, limits: SocketLimits = SocketLimits()) -> InstanceSockets:  # noqa: B008
    """Sockets in `folder`, which is made for its owner only."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise Unavailable(f"{folder} cannot be used ({error.strerror})") from error
    return InstanceSockets(f"ipc://{folder / 'pub.sock'}", f"ipc://{folder / 'rpc.sock'}", limits=limits)


def fits_ipc(folder: Path) -> bool:
    """Whether a socket in `folder` has a path that is short enough."""
    return len(str(folder / "pub.sock").encode()) <= IPC_PATH_MAX


def open_tcp_sockets(
    pub_port: int,
    rpc_port: int,
    *,
    keys_file: Path | None = None,
    pairs_tried: int = PAIRS_TRIED,
    limits: SocketLimits = SocketLimits(),  # noqa: B008 - a value
) -> InstanceSockets:
    """Sockets on loopback, at these ports or, where the pair is taken, at the next free one."""
    for pair in range(pairs_tried):
        try:
            first, second = pub_port + 2 * pair, rpc_port + 2 * pair
            return InstanceSockets(
                f"tcp://127.0.0.1:{first}", f"tcp://127.0.0.1:{second}", keys_file=keys_file, limits=limits
            )
        except Unavailable as error:
            failure = error
    raise failure
