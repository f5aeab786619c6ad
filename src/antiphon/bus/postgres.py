"""Hints over PostgreSQL's LISTEN and NOTIFY, on two connections of its own: one listens, one notifies.

LISTEN uses the channel's own name and NOTIFY sends a JSON text unchanged, so that a foreign peer on the same database
finds both (docs/decisions/0008). A payload that NOTIFY cannot carry is wrapped: `~b:` and base64 for other bytes,
`~r:` and the id of a row in `bus_messages` (stored for STORED_S) for more than PAYLOAD_MAX, `~d:` for dropped
messages. PostgreSQL may deliver equal messages of one channel and transaction once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg

from antiphon.bus.networked import BusConnectionLost, BusTiming, NetworkedBus, Receiver, ignore_outcome
from antiphon.bus.send_queue import Message, QueueLimits
from antiphon.errors import Invalid, Unavailable, reason_of
from antiphon.observe.metrics import METRICS
from antiphon.postgres.address import Address, read_address
from antiphon.postgres.connection import READ_ONLY, CannotConnect, connect
from antiphon.postgres.failures import failure_text
from antiphon.postgres.pooling import NEEDS_DIRECT, shares_sessions
from antiphon.postgres.requirements import check_may_create, check_rights

PAYLOAD_MAX = 7_900
"""Maximum payload of a notification, in bytes; PostgreSQL's own limit is 7,999."""
NAME_MAX = 63
"""Maximum length of a channel's name in PostgreSQL, in bytes."""
LISTEN_BATCH = 500
"""Maximum LISTEN commands in one query."""

STORED_S = 60
"""How long a message remains in `bus_messages`, in seconds."""
FETCH_MAX = 1_000
"""Maximum number of received messages that wait to be read from `bus_messages`. More count as dropped."""

SCHEMA_LOCK = 0x616E7469
"""The advisory lock under which the table is created: `anti`."""

TABLES = ("bus_messages",)
NOTIFY = "SELECT pg_notify(c, p) FROM unnest($1::text[], $2::text[]) AS batch(c, p)"
MAKE_TABLE = """
CREATE UNLOGGED TABLE IF NOT EXISTS bus_messages (
    id uuid PRIMARY KEY, body bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS bus_messages_by_age ON bus_messages (created_at)
"""
STORE = "INSERT INTO bus_messages (id, body) SELECT * FROM unnest($1::uuid[], $2::bytea[])"
FETCH = "SELECT id, body FROM bus_messages WHERE id = ANY($1::uuid[])"
SWEEP = f"DELETE FROM bus_messages WHERE created_at < now() - interval '{STORED_S} seconds'"

T = TypeVar("T")


def name_of(channel: str) -> str:
    """The channel's own name if it is a valid one in PostgreSQL; else `=` and its hash."""
    if 0 < len(channel) <= NAME_MAX and channel.isascii() and channel.isprintable() and channel[0] != "=":
        return channel
    return "=" + hashlib.sha256(channel.encode("utf-8", "surrogatepass")).hexdigest()[: NAME_MAX - 1]


def payload_of(message: bytes, *, is_ascii_only: bool = False) -> str | None:
    """The payload of a notification; None: the message is too long for one."""
    if len(message) <= PAYLOAD_MAX and not message.startswith(b"~") and b"\0" not in message:
        with contextlib.suppress(UnicodeDecodeError):
            return message.decode("ascii" if is_ascii_only else "utf-8")
    text = "~b:" + base64.b64encode(message).decode()
    return text if len(text) <= PAYLOAD_MAX else None


class PostgresBusTiming(BusTiming):
    """The timing of a bus on PostgreSQL. All in seconds."""

    sweep_s: float = 30.0
    """Minimum time between two deletions of old rows in `bus_messages`."""


class PostgresBus(NetworkedBus):
    """Hints over LISTEN and NOTIFY."""


@contextlib.asynccontextmanager
async def open_postgres_bus(
    url: str,
    *,
    timing: PostgresBusTiming = PostgresBusTiming(),  # noqa: B008 - a value
    limits: QueueLimits = QueueLimits(),  # noqa: B008 - a value
) -> AsyncIterator[PostgresBus]:
    """A bus on a PostgreSQL database, usable at once: while the server cannot be reached it retries, and `error` says
    why.

    Args:
        url: The database; the parameters are those of libpq (sslmode, sslrootcert, …) and `direct`.
        timing: How often the connection is checked, and how long it may take.
        limits: Bounds of the send queue.

    Raises:
        Invalid: The URL is not one of PostgreSQL.
    """
    try:
        address = read_address(url).for_sessions
    except Invalid as error:
        raise Invalid("bus", str(error)) from error

    async def open_connection(receiver: Receiver) -> PostgresBusConnection:
        connection = PostgresBusConnection(receiver, timing=timing)
        await connection.open(address)
        return connection

    bus = PostgresBus("postgres", open_connection, timing=timing, limits=limits)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.aclose()


Notified = Callable[[int, str, str], None]
"""A callback with the sender's process id, the channel's name and the payload."""


class _Listener(asyncpg.Connection):  # type: ignore[misc]
    """Calls one handler for every notification. (asyncpg's own registry subscribes to one channel per round trip.)"""

    on_notified: Notified | None = None

    def _process_notification(self, pid: int, channel: str, payload: str) -> None:
        if self.on_notified is not None:
            self.on_notified(pid, channel, payload)


class PostgresBusConnection:
    """The two connections as one. Keeps the promises of `networked.BusConnection`."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        timing: PostgresBusTiming = PostgresBusTiming(),  # noqa: B008 - a value
    ) -> None:
        self._receiver = receiver
        self._timing = timing
        self._connections: list[Any] = []
        self._channels: dict[str, str] = {}
        """Channels by their name in PostgreSQL."""
        self._notifying = asyncio.Lock()
        self._heartbeat = f"antiphon:beat:{uuid.uuid4()}"
        self._heartbeats = 0
        self._heartbeat_received: asyncio.Future[None] | None = None
        self._swept_at = time.monotonic()
        self._stored: list[tuple[str, uuid.UUID]] = []
        """Received messages that are still to be read from the table: channel and row id."""
        self._fetching: asyncio.Task[None] | None = None
        self._is_ascii_only = False

    async def open(self, address: Address) -> None:
        try:
            self._listener = await self._connect(address, _Listener)
            self._notifier = await self._connect(address, asyncpg.Connection)
            if await shares_sessions(self._listener, self._notifier):
                raise BusConnectionLost(f"PostgreSQL: {NEEDS_DIRECT}")
            encoding = await self._notifier.fetchval("SHOW server_encoding")
            self._is_ascii_only = encoding != "UTF8"
            if await self._notifier.fetchval("SELECT to_regclass('bus_messages')") is None:
                await check_may_create(self._notifier, TABLES)
                async with self._notifier.transaction():
                    await self._notifier.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
                    await self._notifier.execute(MAKE_TABLE)
            await check_rights(self._notifier, TABLES, ())
            self._own_pid = await self._notifier.fetchval("SELECT pg_backend_pid()")  # a pooler has other pids
        except (asyncio.CancelledError, BusConnectionLost):
            await self.aclose()
            raise
        except Exception as error:
            await self.aclose()
            raise BusConnectionLost(_sentence(error)) from error
        self._listener.on_notified = self._on_notified
        for connection in self._connections:
            connection.add_termination_listener(self._on_terminated)

    async def _connect(self, address: Address, kind: type[Any]) -> Any:
        connection = await connect(address, kind=kind, application_name="antiphon bus")
        self._connections.append(connection)
        return connection

    # --- listening

    async def listen(self, channels: Sequence[str]) -> None:
        self._channels |= {name_of(channel): channel for channel in channels}
        await self._listen("LISTEN", [*map(name_of, channels), self._heartbeat])

    async def unlisten(self, channels: Sequence[str]) -> None:
        names = [name_of(channel) for channel in channels]
        for name in names:
            self._channels.pop(name, None)
        await self._listen("UNLISTEN", names)

    async def _listen(self, verb: str, names: Sequence[str]) -> None:
        for start in range(0, len(names), LISTEN_BATCH):
            quoted = (name.replace('"', '""') for name in names[start : start + LISTEN_BATCH])
            await self._request(self._listener.execute(";".join(f'{verb} "{name}"' for name in quoted)))

    def _on_notified(self, pid: int, name: str, payload: str) -> None:
        if name == self._heartbeat:
            received = self._heartbeat_received
            if received is not None and not received.done() and payload == str(self._heartbeats):
                received.set_result(None)
            return
        channel = self._channels.get(name)
        if channel is None or pid == self._own_pid:
            return  # messages of this process are delivered without the server
        if not payload.startswith("~"):
            self._receiver.receive(channel, payload.encode())
        elif payload.startswith("~r:") and len(self._stored) < FETCH_MAX:
            self._fetch_soon(channel, payload[3:])
        else:
            self._receiver.receive(channel, _unwrapped(payload))

    # --- sending

    async def send(self, messages: Sequence[Message]) -> Sequence[str]:
        names, payloads, stored = [], [], {}
        for channel, message in messages:
            payload = "~d:" if message is None else payload_of(message, is_ascii_only=self._is_ascii_only)
            if payload is None:
                row_id = uuid.uuid4()
                stored[row_id] = message
                payload = f"~r:{row_id}"
            names.append(name_of(channel))
            payloads.append(payload)
        async with self._notifying:
            if stored:
                await self._request(self._notifier.execute(STORE, list(stored), list(stored.values())))
            await self._request(self._notifier.execute(NOTIFY, names, payloads))
        return ()

    async def check(self) -> None:
        """Send a heartbeat by one connection and receive it by the other. Deletes old rows now and then."""
        self._heartbeats += 1
        self._heartbeat_received = received = asyncio.get_running_loop().create_future()
        async with self._notifying:
            await self._request(self._notifier.execute(NOTIFY, [self._heartbeat], [str(self._heartbeats)]))
            if await self._request(self._notifier.fetchval(READ_ONLY)):
                raise BusConnectionLost("PostgreSQL: another server is the writable one now")
        await received
        if time.monotonic() - self._swept_at > self._timing.sweep_s:
            self._swept_at = time.monotonic()
            async with self._notifying:
                await self._request(self._notifier.execute(SWEEP))

    # --- messages in the table

    def _fetch_soon(self, channel: str, row_id: str) -> None:
        try:
            self._stored.append((channel, uuid.UUID(row_id)))
        except ValueError:
            self._receiver.receive(channel, None)
            return
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        while self._stored:
            stored, self._stored = self._stored, []
            try:
                async with self._notifying:
                    rows = await self._request(self._notifier.fetch(FETCH, [row_id for _, row_id in stored]))
            except BusConnectionLost as lost:
                self._receiver.lose(str(lost))
                return
            bodies = {row["id"]: row["body"] for row in rows}
            for channel, row_id in stored:
                self._receiver.receive(channel, bodies.get(row_id))

    # --- the connections

    async def _request(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            raise BusConnectionLost(_sentence(error)) from error

    def _on_terminated(self, _: object) -> None:
        self._receiver.lose("PostgreSQL: the server closed the connection")

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        close_s = self._timing.close_s / 2
        closing = {asyncio.ensure_future(each.close(timeout=close_s)) for each in self._connections}
        for close in closing:
            close.add_done_callback(ignore_outcome)
        if closing:
            await asyncio.wait(closing, timeout=close_s)
        for each in self._connections:
            each.terminate()


def _unwrapped(payload: str) -> bytes | None:
    """The message in a wrapped payload; None: messages were dropped, or the payload is invalid."""
    try:
        return base64.b64decode(payload[3:], validate=True) if payload.startswith("~b:") else None
    except (binascii.Error, ValueError):
        METRICS.unexpected.labels("malformed_notification").inc()
        return None


def _sentence(error: BaseException) -> str:
    words = reason_of(error) if isinstance(error, CannotConnect | Unavailable) else failure_text(error)
    return f"PostgreSQL: {words}"
