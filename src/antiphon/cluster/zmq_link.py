"""Messages between instances over ZeroMQ: one connection for each pair of them, CURVE on both ends.

Of two instances the one with the smaller id connects. Each makes a new key pair at every start; the public key is in
its membership row, and only the keys of those rows are accepted. A connection from an unknown instance triggers a
membership refresh, so that a new instance need not wait for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from antiphon.errors import Unavailable
from antiphon.observe.metrics import METRICS
from antiphon.ports import InstanceRecord
from antiphon.signal import Signal

DOMAIN = "antiphon-relay"
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
QUEUED_MAX = 256
"""So many messages wait for one peer; more are not taken, and what they hold is sent later, merged."""
HEARTBEAT_MS = 2_000
LOST_MS = 6_000
RECONNECT_MS = 50
RECONNECT_MAX_MS = 1_000
USER_ID = "User-Id"
HELLO = b""
"""The first word on a connection, and its answer."""
REFRESH_S_MIN = 0.2
"""Minimum time between two membership refreshes because of unknown keys, in seconds. A refused peer reconnects."""
GREET_S = 2.0
"""It is said again so often, for either end to know that the other is there."""
SILENT_S = 6.0
"""Who has not been heard for so long cannot be talked to."""
ANSWER_S = 3.0
"""A connection on which nothing was answered so long is made anew: who was refused once is not tried again by ZeroMQ
itself."""

log = structlog.get_logger(__name__)

LoadMembers = Callable[[], Awaitable[tuple[Sequence[InstanceRecord], float]]]
"""As `ports.Presence.instances`."""


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
    ) -> None:
        """Bind to `host` and `port` (0: any); other instances connect to `advertised`. A connection from an unknown
        instance triggers `load_members`. Raises `Unavailable` where the endpoint cannot be bound."""
        self.received: Signal[str, bytes] = Signal("relay_message_received")
        self._load_members = load_members
        self._instance_id = instance_id
        public, self._secret = zmq.curve_keypair()
        self._public = public
        self.key = public.decode()
        self._records: dict[str, InstanceRecord] = {}
        self._keys: dict[str, str] = {}
        self._context = zmq.asyncio.Context()
        self._outgoing: dict[str, zmq.asyncio.Socket] = {}
        self._unanswered: dict[str, float] = {}
        self._known_since: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}
        self._greeted_at = 0.0
        self._loaded_at = float("-inf")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._authenticator = AsyncioAuthenticator(self._context)
        self._authenticator.configure_curve_callback(DOMAIN, self)
        self._authenticator.start()
        self._router = self._make(zmq.ROUTER)
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

    def _make(self, kind: int) -> zmq.asyncio.Socket:
        socket = self._context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
            (zmq.SNDHWM, QUEUED_MAX),
            (zmq.RCVHWM, QUEUED_MAX),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, LOST_MS),
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
        for instance_id in [known for known in self._outgoing if known not in self._records]:
            self._disconnect(instance_id)
        now = asyncio.get_running_loop().time()
        for instance_id in self._outgoing.keys() - self._unanswered.keys():
            if now - self._heard_at.get(instance_id, 0.0) > SILENT_S:
                self._disconnect(instance_id)  # it may have been refused when it came back
        for instance_id in [known for known, since in self._unanswered.items() if now - since > ANSWER_S]:
            self._disconnect(instance_id)
        for record in self._records.values():
            if record.instance_id > self._instance_id and record.instance_id not in self._outgoing:
                self._connect(record)
        present = [known for known, record in self._records.items() if record.is_present]
        self._known_since = {known: self._known_since.get(known, now) for known in present}
        self._heard_at = {known: at for known, at in self._heard_at.items() if known in self._records}
        for instance_id in self._outgoing:
            if instance_id in self._unanswered or now - self._greeted_at > GREET_S:
                self.send_nowait(instance_id, HELLO)
        if now - self._greeted_at > GREET_S:
            self._greeted_at = now

    @property
    def error(self) -> str | None:
        """Which instances are there and cannot be talked to."""
        since = asyncio.get_running_loop().time() - SILENT_S
        known = [i for i, known_since in self._known_since.items() if known_since < since]
        silent = [i[:8] for i in known if self._heard_at.get(i, 0.0) < since]
        return f"no connection to {', '.join(sorted(silent)[:10])}" if silent else None

    def _connect(self, record: InstanceRecord) -> None:
        socket = self._make(zmq.DEALER)
        try:
            socket.setsockopt(zmq.IDENTITY, self._instance_id.encode())
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self._public)
            socket.setsockopt(zmq.CURVE_SERVERKEY, record.relay_key.encode())
            socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits for a connection that is not there
            socket.connect(record.relay_endpoint)
        except (zmq.ZMQError, ValueError) as error:
            socket.close()
            METRICS.unexpected.labels("relay_connection_failure").inc()
            log.warning("relay_not_connected", instance_id=record.instance_id, error=str(error))
            return
        self._outgoing[record.instance_id] = socket
        self._unanswered[record.instance_id] = asyncio.get_running_loop().time()
        self._tasks[record.instance_id] = asyncio.create_task(self._receive_from(record.instance_id, socket))

    def _disconnect(self, instance_id: str) -> None:
        self._tasks.pop(instance_id).cancel()
        self._unanswered.pop(instance_id, None)
        self._outgoing.pop(instance_id).close()

    async def callback(self, domain: str, key: bytes) -> bool:
        """Whether this key may connect now (pyzmq's name)."""
        text = key.decode("latin-1")
        now = asyncio.get_running_loop().time()
        if text not in self._keys and self._load_members is not None and now - self._loaded_at > REFRESH_S_MIN:
            self._loaded_at = now
            try:
                records, _ = await self._load_members()
                self.update_members([record for record in records if record.instance_id != self._instance_id])
            except Exception as error:
                log.warning("relay_keys_not_read", error=str(error))
        if text not in self._keys:
            METRICS.unexpected.labels("refused_relay_key").inc()
            log.warning("relay_key_refused")
        return text in self._keys

    # --- messages

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        socket = self._outgoing.get(instance_id)
        sent: Any  # a future that is done: nothing is waited for
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
        """Each peer is asked by itself."""

    def quit(self, chat_id: str) -> None:
        """As `join`."""

    async def _receive_routed(self) -> None:
        while True:
            frames: list[Any] = await self._router.recv_multipart(copy=False)
            peer = frames[0].bytes.decode("ascii", "replace")
            record = self._records.get(peer)
            if len(frames) != 2 or record is None or record.relay_key != frames[1].get(USER_ID):
                METRICS.unexpected.labels("malformed_relay_message").inc()
                continue
            message = frames[1].bytes
            self._heard_at[peer] = asyncio.get_running_loop().time()
            if message == HELLO:
                self.send_nowait(peer, HELLO)
            else:
                self.received.emit(peer, message)

    async def _receive_from(self, instance_id: str, socket: zmq.asyncio.Socket) -> None:
        while True:
            message = await socket.recv()
            self._heard_at[instance_id] = asyncio.get_running_loop().time()
            self._unanswered.pop(instance_id, None)
            if message != HELLO:
                self.received.emit(instance_id, message)

    async def aclose(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.wait(self._tasks.values())
        self._authenticator.stop()
        self._context.destroy(linger=0)
