"""The two ZeroMQ sockets of an instance, and nothing else knows ZeroMQ here: XPUB for events, ROUTER for calls.

XPUB is sent to without waiting, in the loop's thread: what a subscriber's queue does not hold is dropped for it (a
follower sees the gap and asks). What comes in on XPUB are subscriptions, which libzmq stores: they are counted, and
past SUBSCRIPTIONS_MAX the socket is closed and bound anew (honest peers subscribe again by themselves).

ROUTER is read without waiting, too, whenever its descriptor signals: `zmq.asyncio` does the same at twice the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import structlog
import zmq

from antiphon.edge.instance.curve import Curve
from antiphon.errors import Unavailable
from antiphon.observe import METRICS

CALL_BYTES_MAX = 9 * 1024 * 1024
SUBSCRIPTION_BYTES_MAX = 4 * 1024
QUEUED_FRAMES_MAX = 20_000
"""So many frames wait for one subscriber, then its newer ones are dropped."""
QUEUED_ANSWERS_MAX = 1_000
SUBSCRIPTIONS_MAX = 50_000
LOOK_S = 0.05
LOOKED_AT_MAX = 5_000
"""How often subscriptions are looked at, and how many at once."""
BIND_TRIES_MAX = 200
LINGER_MS = 1_000
IPC_PATH_MAX = 107
PAIRS_TRIED = 100
OWN_TOPICS = b"antiphon."
NOW, NOW_MORE, READABLE = int(zmq.DONTWAIT), int(zmq.DONTWAIT | zmq.SNDMORE), int(zmq.POLLIN)
"""Plain numbers: pyzmq's enums cost more than what they say."""

log = structlog.get_logger(__name__)


class InstanceSockets:
    """Bound when made; `close` delivers what was published. `pub_endpoint` and `rpc_endpoint` are where it is."""

    def __init__(self, pub: str, rpc: str, *, keys_file: Path | None = None) -> None:
        """Raises `Unavailable` where an endpoint cannot be bound. With `keys_file` only who it allows gets in."""
        self._context = zmq.Context()
        self._curve: Curve | None = None
        self._pub: zmq.Socket[bytes] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readable: asyncio.Future[None] | None = None
        self._frames: list[bytes] = []
        try:
            if keys_file is not None:
                self._curve = Curve(self._context, keys_file)
            self._pub = self._bind_pub(pub)
            self._rpc = self._context.socket(zmq.ROUTER)
            self._rpc.setsockopt(zmq.MAXMSGSIZE, CALL_BYTES_MAX)
            self._rpc.setsockopt(zmq.SNDHWM, QUEUED_ANSWERS_MAX)
            self._rpc.setsockopt(zmq.LINGER, LINGER_MS)
            if self._curve is not None:
                self._curve.guard(self._rpc)
            _bind(self._rpc, rpc)
        except BaseException:
            if self._curve is not None:
                self._curve.close()
            self._context.destroy(linger=0)
            raise
        self.pub_endpoint = self._pub.getsockopt_string(zmq.LAST_ENDPOINT)
        self.rpc_endpoint = self._rpc.getsockopt_string(zmq.LAST_ENDPOINT)
        self.subscriptions = 0
        self._own_subscriptions = 0

    @property
    def is_followed(self) -> bool:
        """Whether anybody subscribes to what is ours beside the reference's topics."""
        return self._own_subscriptions > 0

    @property
    def is_heard(self) -> bool:
        """Whether anybody subscribes to anything, as of the last look."""
        return self.subscriptions > 0

    def publish_nowait(self, frame: bytes) -> None:
        """Send to whoever subscribes, together with what else this turn of the loop publishes; nobody does while the
        socket is being bound anew, or after the end."""
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
                self._pub.send(frame, NOW)
            except zmq.Again:
                METRICS.oddities.labels("frame_dropped").inc()

    async def watch_subscriptions(self) -> None:
        """Count who subscribes, until cancelled."""
        while True:
            self._look()
            if self.subscriptions > SUBSCRIPTIONS_MAX:
                await self._bind_anew()
            await asyncio.sleep(LOOK_S)

    def _look(self) -> None:
        for _ in range(LOOKED_AT_MAX):
            try:
                message = self._pub.recv(NOW) if self._pub is not None else b""
            except zmq.Again:
                break
            assert isinstance(message, bytes)
            if message[:1] in (b"\0", b"\1"):
                self._count(message[1:], 1 if message[:1] == b"\1" else -1)
            else:
                METRICS.oddities.labels("subscription_garbage").inc()

    def _count(self, prefix: bytes, change: int) -> None:
        self.subscriptions = max(self.subscriptions + change, 0)
        if prefix.startswith(OWN_TOPICS):
            self._own_subscriptions = max(self._own_subscriptions + change, 0)

    async def _bind_anew(self) -> None:
        """Forget all subscriptions. libzmq gives an address back a moment after its socket was closed."""
        METRICS.oddities.labels("subscriptions_dropped").inc()
        log.warning("subscriptions_dropped", count=self.subscriptions)
        self._close_pub(linger_ms=0)
        self.subscriptions = self._own_subscriptions = 0
        for _ in range(BIND_TRIES_MAX):
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(Unavailable):
                self._pub = self._bind_pub(self.pub_endpoint)
                return
        raise Unavailable(f"{self.pub_endpoint} cannot be bound anew")

    async def receive(self) -> tuple[bytes, bytes]:
        """The next call: who calls, and the message. What is none is counted and passed over."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._rpc.fileno(), self._look_at_calls)
        while True:
            if not self._has_call:
                self._readable = self._loop.create_future()
                await self._readable
            identity, *frames = self._rpc.recv_multipart(NOW)
            if len(frames) == 2 and not frames[0]:
                return identity, frames[1]
            if len(frames) == 1:
                return identity, frames[0]
            METRICS.oddities.labels("call_garbage").inc()

    @property
    def _has_call(self) -> bool:
        return bool(int(self._rpc.getsockopt(zmq.EVENTS)) & READABLE)

    def _look_at_calls(self) -> None:
        """Wake who waits for a call. The descriptor signals a change once, and whatever is done with the socket takes
        the signal. So this is called when it signals (to ask takes it, else the loop would spin while nobody
        receives) and after each answer (which may have taken it)."""
        if self._has_call and self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    async def reply(self, identity: bytes, answer: bytes) -> None:
        """Answer a call; a peer that is gone or reads nothing loses its answer."""
        with contextlib.suppress(zmq.ZMQError):
            self._rpc.send(identity, NOW_MORE)
            self._rpc.send(b"", NOW_MORE)
            self._rpc.send(answer, NOW)
            self._look_at_calls()

    def close(self) -> None:
        """Close both, in the loop's thread; `deliver` then waits for what was published and answered."""
        self._flush()
        self._close_pub(linger_ms=LINGER_MS)
        if self._loop is not None:
            self._loop.remove_reader(self._rpc.fileno())
        self._rpc.close(linger=LINGER_MS)
        if self._curve is not None:
            self._curve.close()

    def deliver(self) -> None:
        """Wait, up to LINGER_MS, until it is delivered. Another thread may: no socket is left to touch."""
        self._context.term()

    def _close_pub(self, *, linger_ms: int) -> None:
        pub, self._pub = self._pub, None
        if pub is not None:
            pub.close(linger=linger_ms)

    def _bind_pub(self, endpoint: str) -> zmq.Socket[bytes]:
        pub = self._context.socket(zmq.XPUB)
        pub.setsockopt(zmq.SNDHWM, QUEUED_FRAMES_MAX)
        pub.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES_MAX)
        pub.setsockopt(zmq.LINGER, LINGER_MS)
        if self._curve is not None:
            self._curve.guard(pub)
        try:
            _bind(pub, endpoint)
        except BaseException:
            pub.close(linger=0)
            raise
        return pub


def _bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise Unavailable(f"{endpoint} cannot be bound ({error.strerror})") from error
    if endpoint.startswith("ipc://"):
        Path(endpoint.removeprefix("ipc://")).chmod(0o600)


def open_ipc_sockets(folder: Path) -> InstanceSockets:
    """Sockets in `folder`, which is made for its owner only."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return InstanceSockets(f"ipc://{folder / 'pub.sock'}", f"ipc://{folder / 'rpc.sock'}")


def fits_ipc(folder: Path) -> bool:
    """Whether a socket in `folder` has a path that is short enough."""
    return len(str(folder / "pub.sock").encode()) <= IPC_PATH_MAX


def open_tcp_sockets(
    pub_port: int, rpc_port: int, *, keys_file: Path | None = None, pairs_tried: int = PAIRS_TRIED
) -> InstanceSockets:
    """Sockets on loopback, at these ports or, where the pair is taken, at the next free one."""
    for pair in range(pairs_tried):
        try:
            first, second = pub_port + 2 * pair, rpc_port + 2 * pair
            return InstanceSockets(f"tcp://127.0.0.1:{first}", f"tcp://127.0.0.1:{second}", keys_file=keys_file)
        except Unavailable as error:
            failure = error
    raise failure
