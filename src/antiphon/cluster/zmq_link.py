"""Messages between instances over ZeroMQ: one connection for each pair of instances, authenticated with CURVE.

Of two instances the one with the smaller id connects. Each makes a new key pair at every start; the public key is in
its membership row, and only the keys in these rows are accepted. A connection from an unknown instance triggers a
membership refresh, so that a new instance need not wait for the next regular one.

ZeroMQ's own heartbeats are off: libzmq 4.3.5 aborts the process (`Assertion failed: !_io_error`) at a heartbeat of a
connection that its peer has closed while received messages were waiting, as after a SIGSTOP. The link greets its
peers itself, and TCP finds hosts that are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from antiphon.core.values import Value
from antiphon.errors import Unavailable
from antiphon.observe.metrics import METRICS
from antiphon.ports import InstanceRecord
from antiphon.signal import Signal

DOMAIN = "antiphon-relay"
"""The ZAP domain, in which the keys are checked."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Maximum size of a message in bytes; a peer that sends a larger one is disconnected."""
QUEUED_MAX = 256
"""Maximum number of messages queued for one peer, and received from it. Beyond it a message is refused."""
KEEPALIVE_IDLE_S = 10
"""How long a connection may be idle before TCP probes its peer, in seconds."""
KEEPALIVE_INTERVAL_S = 5
"""Between two probes, in seconds."""
KEEPALIVE_PROBES = 3
"""Number of unanswered probes after which a connection is closed."""
UNACKNOWLEDGED_MS = 15_000
"""How long sent bytes may stay unacknowledged before the connection is closed, in milliseconds."""
RECONNECT_MS = 50
"""Initial delay before a lost connection is opened again, in milliseconds; it doubles up to RECONNECT_MAX_MS."""
RECONNECT_MAX_MS = 1_000
"""Maximum delay before a lost connection is opened again, in milliseconds."""
USER_ID = "User-Id"
"""The property of a received frame that has the public key of its sender."""
HELLO = b""
"""The first message on a connection, and the answer to it."""

log = structlog.get_logger(__name__)

LoadMembers = Callable[[], Awaitable[tuple[Sequence[InstanceRecord], float]]]
"""As `ports.Presence.instances`."""


class LinkTiming(Value):
    """How long the link waits. All in seconds."""

    greeting_s: float = 2.0
    """Between two greetings on a connection, by which both ends know that it works."""
    silent_s: float = 6.0
    """How long a peer may stay silent before it counts as not connected."""
    answer_s: float = 3.0
    """How long the first greeting may stay unanswered before the connection is replaced: ZeroMQ itself does not retry
    after a peer refused the key."""
    refresh_s: float = 0.2
    """Minimum time between two membership refreshes because of unknown keys. A refused peer reconnects."""


class ZmqLink:
    """Implements `ports.Link`."""

    is_broadcast = False

    def __init__(
        self,
        instance_id: str,
        *,
        load_members: LoadMembers | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        advertised: str = "",
        timing: LinkTiming = LinkTiming(),  # noqa: B008 - a value
    ) -> None:
        """
        Args:
            instance_id: This instance.
            load_members: Reads the membership rows; called when an unknown instance connects.
            host: The address to bind to.
            port: The port to bind to; 0 for any.
            advertised: The host to which other instances connect; empty: `host`.
            timing: How long the link waits.

        Raises:
            Unavailable: The endpoint cannot be bound.
        """
        self.received: Signal[str, bytes] = Signal("relay_message_received")
        self._load_members = load_members
        self._timing = timing
        self._instance_id = instance_id
        public, self._secret = zmq.curve_keypair()
        self._public = public
        self.key = public.decode()
        self._records: dict[str, InstanceRecord] = {}
        self._keys: dict[str, str] = {}
        self._context = zmq.asyncio.Context()
        self._outgoing: dict[str, zmq.asyncio.Socket] = {}
        self._connecting_since: dict[str, float] = {}
        """When each outgoing connection was opened that has not answered yet."""
        self._present_since: dict[str, float] = {}
        self._received_at: dict[str, float] = {}
        self._greeted_at = 0.0
        self._refreshed_at = float("-inf")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._authenticator = AsyncioAuthenticator(self._context)
        self._authenticator.configure_curve_callback(DOMAIN, self)
        self._authenticator.start()
        self._router = self._make_socket(zmq.ROUTER)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._router.setsockopt(zmq.CURVE_SERVER, 1)
        self._router.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)
        self._router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        try:
            self._router.bind(f"tcp://{host}:{port or '*'}")
        except zmq.ZMQError as error:
            self._authenticator.stop()
            self._context.destroy(linger=0)
            raise Unavailable(f"tcp://{host}:{port} cannot be bound for the relay ({error.strerror})") from error
        bound = int(self._router.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self.endpoint = f"tcp://{advertised or host}:{bound}"
        self._tasks[""] = asyncio.create_task(self._receive_routed())

    def _make_socket(self, kind: int) -> zmq.asyncio.Socket:
        socket = self._context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
            (zmq.SNDHWM, QUEUED_MAX),
            (zmq.RCVHWM, QUEUED_MAX),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S),
            (zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL_S),
            (zmq.TCP_KEEPALIVE_CNT, KEEPALIVE_PROBES),
            (zmq.TCP_MAXRT, UNACKNOWLEDGED_MS),
            (zmq.RECONNECT_IVL, RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS),
        ):
            socket.setsockopt(option, value)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        return socket

    # --- membership

    def update_members(self, records: Sequence[InstanceRecord]) -> None:
        self._records = {record.instance_id: record for record in records if record.relay_endpoint}
        self._keys = {record.relay_key: record.instance_id for record in self._records.values()}
        for instance_id in [peer for peer in self._outgoing if peer not in self._records]:
            self._disconnect(instance_id)
        now = asyncio.get_running_loop().time()
        for instance_id in self._silent(now):
            self._disconnect(instance_id)
        for record in self._records.values():
            if record.instance_id > self._instance_id and record.instance_id not in self._outgoing:
                self._connect(record)
        present = [peer for peer, record in self._records.items() if record.is_present]
        self._present_since = {peer: self._present_since.get(peer, now) for peer in present}
        self._received_at = {peer: at for peer, at in self._received_at.items() if peer in self._records}
        self._greet(now)

    def _silent(self, now: float) -> list[str]:
        """The peers whose connection must be replaced: they may have refused it, or a reconnection."""
        silent = [
            peer
            for peer in self._outgoing.keys() - self._connecting_since.keys()
            if now - self._received_at.get(peer, 0.0) > self._timing.silent_s
        ]
        return silent + [p for p, since in self._connecting_since.items() if now - since > self._timing.answer_s]

    def _greet(self, now: float) -> None:
        """Greet the new connections, and all of them once in `greeting_s`."""
        is_due = now - self._greeted_at > self._timing.greeting_s
        for instance_id in self._outgoing:
            if is_due or instance_id in self._connecting_since:
                self.send_nowait(instance_id, HELLO)
        if is_due:
            self._greeted_at = now

    @property
    def error(self) -> str | None:
        """Which present instances do not answer; None if all do."""
        silent_since = asyncio.get_running_loop().time() - self._timing.silent_s
        peers = [peer for peer, since in self._present_since.items() if since < silent_since]
        silent = [peer[:8] for peer in peers if self._received_at.get(peer, 0.0) < silent_since]
        return f"no connection to {', '.join(sorted(silent)[:10])}" if silent else None

    def _connect(self, record: InstanceRecord) -> None:
        socket = self._make_socket(zmq.DEALER)
        try:
            socket.setsockopt(zmq.IDENTITY, self._instance_id.encode())
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self._public)
            socket.setsockopt(zmq.CURVE_SERVERKEY, record.relay_key.encode())
            socket.setsockopt(zmq.IMMEDIATE, 1)  # do not queue messages while it is not connected
            socket.connect(record.relay_endpoint)
        except (zmq.ZMQError, ValueError) as error:
            socket.close()
            METRICS.unexpected.labels("relay_connection_failure").inc()
            log.warning("relay_connection_failed", instance_id=record.instance_id, error=str(error))
            return
        self._outgoing[record.instance_id] = socket
        self._connecting_since[record.instance_id] = asyncio.get_running_loop().time()
        self._tasks[record.instance_id] = asyncio.create_task(self._receive_from(record.instance_id, socket))

    def _disconnect(self, instance_id: str) -> None:
        self._tasks.pop(instance_id).cancel()
        self._connecting_since.pop(instance_id, None)
        self._outgoing.pop(instance_id).close()

    async def callback(self, domain: str, key: bytes) -> bool:
        """Whether a key may connect. pyzmq prescribes the name of this method."""
        text = key.decode("latin-1")
        if text not in self._keys:
            await self._refresh_members()
        if text not in self._keys:
            METRICS.unexpected.labels("refused_relay_key").inc()
            log.warning("relay_key_refused")
        return text in self._keys

    async def _refresh_members(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._load_members is None or now - self._refreshed_at <= self._timing.refresh_s:
            return
        self._refreshed_at = now
        try:
            records, _ = await self._load_members()
            self.update_members([record for record in records if record.instance_id != self._instance_id])
        except Exception as error:
            log.warning("membership_refresh_failed", error=str(error))

    # --- messages

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        socket = self._outgoing.get(instance_id)
        sent: Any  # a future that is done, since DONTWAIT does not wait
        if socket is not None:
            sent = socket.send(message, flags=zmq.DONTWAIT, copy=True)
        elif instance_id in self._records:
            sent = self._router.send_multipart([instance_id.encode(), message], flags=zmq.DONTWAIT)
        else:
            return False
        return bool(sent.done() and sent.exception() is None)

    def send_of_chat_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        return self.send_nowait(instance_id, message)

    def join(self, chat_id: str) -> None:
        """Does nothing: each peer is sent its own messages."""

    def quit(self, chat_id: str) -> None:
        """Does nothing, as `join`."""

    async def _receive_routed(self) -> None:
        while True:
            frames: list[Any] = await self._router.recv_multipart(copy=False)
            peer = frames[0].bytes.decode("ascii", "replace")
            record = self._records.get(peer)
            if len(frames) != 2 or record is None or record.relay_key != frames[1].get(USER_ID):
                METRICS.unexpected.labels("malformed_relay_message").inc()
                continue
            message = frames[1].bytes
            self._received_at[peer] = asyncio.get_running_loop().time()
            if message == HELLO:
                self.send_nowait(peer, HELLO)
            else:
                self.received.emit(peer, message)

    async def _receive_from(self, instance_id: str, socket: zmq.asyncio.Socket) -> None:
        while True:
            message = await socket.recv()
            self._received_at[instance_id] = asyncio.get_running_loop().time()
            self._connecting_since.pop(instance_id, None)
            if message != HELLO:
                self.received.emit(instance_id, message)

    async def aclose(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.wait(self._tasks.values())
        self._authenticator.stop()
        self._context.destroy(linger=0)
