"""Hints over PostgreSQL's LISTEN and NOTIFY, on two connections of its own: one listens, one notifies.

A channel is listened to under its own name and a JSON text is sent as it is, so that a foreign peer on the same
database finds both (docs/decisions/0008). What NOTIFY cannot carry is wrapped: other bytes as `~b:` and base64, more
than PAYLOAD_MAX as `~r:` and the id of a row that is kept for KEPT_S, and `~d:` says that messages were dropped.
PostgreSQL may send one of equal messages that go to one channel together.
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

from antiphon.bus.networked import ANSWER_S, CHECK_S, CLOSE_S, BusConnectionLost, NetworkedBus, Receiver, let_go
from antiphon.bus.send_queue import Message
from antiphon.errors import Invalid, Unavailable, reason_of
from antiphon.observe.metrics import METRICS
from antiphon.postgres.address import Address, read_address
from antiphon.postgres.connection import READ_ONLY, NotNow, connect
from antiphon.postgres.failures import words_of
from antiphon.postgres.pooling import NEEDS_DIRECT, shares_sessions
from antiphon.postgres.requirements import check_may_create, check_rights

PAYLOAD_MAX = 7_900
"""PostgreSQL takes less than 8,000 bytes."""
NAME_MAX = 63
LISTEN_BATCH = 500

KEPT_S = 60
SWEEP_S = 30.0
FETCH_MAX = 1_000
"""So many messages that lie in the table may wait to be read; for more, their handlers look."""

SCHEMA_LOCK = 0x616E7469  # "anti"

TABLES = ("bus_messages",)
NOTIFY = "SELECT pg_notify(c, p) FROM unnest($1::text[], $2::text[]) AS batch(c, p)"
MAKE_TABLE = """
CREATE UNLOGGED TABLE IF NOT EXISTS bus_messages (
    id uuid PRIMARY KEY, body bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS bus_messages_by_age ON bus_messages (created_at)
"""
KEEP = "INSERT INTO bus_messages (id, body) SELECT * FROM unnest($1::uuid[], $2::bytea[])"
FETCH = "SELECT id, body FROM bus_messages WHERE id = ANY($1::uuid[])"
SWEEP = f"DELETE FROM bus_messages WHERE created_at < now() - interval '{KEPT_S} seconds'"

T = TypeVar("T")


def name_of(channel: str) -> str:
    """The channel's own name where PostgreSQL can carry it; else, after a `=`, its hash."""
    if 0 < len(channel) <= NAME_MAX and channel.isascii() and channel.isprintable() and channel[0] != "=":
        return channel
    return "=" + hashlib.sha256(channel.encode("utf-8", "surrogatepass")).hexdigest()[: NAME_MAX - 1]


def payload_of(message: bytes, *, is_ascii_only: bool = False) -> str | None:
    """The text that NOTIFY carries; None: it is too long for that."""
    if len(message) <= PAYLOAD_MAX and not message.startswith(b"~") and b"\0" not in message:
        with contextlib.suppress(UnicodeDecodeError):
            return message.decode("ascii" if is_ascii_only else "utf-8")
    text = "~b:" + base64.b64encode(message).decode()
    return text if len(text) <= PAYLOAD_MAX else None


class PostgresBus(NetworkedBus):
    """Hints over LISTEN and NOTIFY."""


@contextlib.asynccontextmanager
async def open_postgres_bus(
    url: str, *, check_s: float = CHECK_S, answer_s: float = ANSWER_S
) -> AsyncIterator[PostgresBus]:
    """The bus on that database; the URL's parameters are libpq's (sslmode, sslrootcert, …). Raises `Invalid`. It is
    there at once: as long as the server cannot be reached, `error` says why, and it goes on trying."""
    try:
        address = read_address(url).for_sessions
    except Invalid as error:
        raise Invalid("bus", str(error)) from error

    async def open_carrier(receiver: Receiver) -> PostgresBusConnection:
        carrier = PostgresBusConnection(receiver)
        await carrier.open(address)
        return carrier

    bus = PostgresBus("postgres", open_carrier, check_s=check_s, answer_s=answer_s)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.aclose()


Notified = Callable[[int, str, str], None]
"""Is called with the sender's process id, the channel's name and the payload."""


class _Listener(asyncpg.Connection):  # type: ignore[misc]
    """Hands every notification to one place. (asyncpg's own registry asks the server for one channel at a time.)"""

    on_notified: Notified | None = None

    def _process_notification(self, pid: int, channel: str, payload: str) -> None:
        if self.on_notified is not None:
            self.on_notified(pid, channel, payload)


class PostgresBusConnection:
    """The two connections. Keeps the promises of `far.BusConnection`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._connections: list[Any] = []
        self._channels: dict[str, str] = {}
        """By name: the channel it stands for."""
        self._notifying = asyncio.Lock()
        self._beat = f"antiphon:beat:{uuid.uuid4()}"
        self._beats = 0
        self._beat_came: asyncio.Future[None] | None = None
        self._swept_at = time.monotonic()
        self._claims: list[tuple[str, uuid.UUID]] = []
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
            self._own_pid = await self._notifier.fetchval("SELECT pg_backend_pid()")  # a pooler has pids of its own
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
        await self._listen("LISTEN", [*map(name_of, channels), self._beat])

    async def unlisten(self, channels: Sequence[str]) -> None:
        names = [name_of(channel) for channel in channels]
        for name in names:
            self._channels.pop(name, None)
        await self._listen("UNLISTEN", names)

    async def _listen(self, verb: str, names: Sequence[str]) -> None:
        for start in range(0, len(names), LISTEN_BATCH):
            quoted = (name.replace('"', '""') for name in names[start : start + LISTEN_BATCH])
            await self._ask(self._listener.execute(";".join(f'{verb} "{name}"' for name in quoted)))

    def _on_notified(self, pid: int, name: str, payload: str) -> None:
        if name == self._beat:
            if self._beat_came is not None and not self._beat_came.done() and payload == str(self._beats):
                self._beat_came.set_result(None)
            return
        channel = self._channels.get(name)
        if channel is None or pid == self._own_pid:
            return  # what is published here is delivered here without the server
        if not payload.startswith("~"):
            self._receiver.receive(channel, payload.encode())
        elif payload.startswith("~r:") and len(self._claims) < FETCH_MAX:
            self._claim(channel, payload[3:])
        else:
            self._receiver.receive(channel, _unwrapped(payload))

    # --- sending

    async def send(self, messages: Sequence[Message]) -> Sequence[str]:
        names, payloads, kept = [], [], {}
        for channel, message in messages:
            payload = "~d:" if message is None else payload_of(message, is_ascii_only=self._is_ascii_only)
            if payload is None:
                claim = uuid.uuid4()
                kept[claim] = message
                payload = f"~r:{claim}"
            names.append(name_of(channel))
            payloads.append(payload)
        async with self._notifying:
            if kept:
                await self._ask(self._notifier.execute(KEEP, list(kept), list(kept.values())))
            await self._ask(self._notifier.execute(NOTIFY, names, payloads))
        return ()

    async def check(self) -> None:
        """A heartbeat goes out by one connection and comes back by the other."""
        self._beats += 1
        self._beat_came = asyncio.get_running_loop().create_future()
        async with self._notifying:
            await self._ask(self._notifier.execute(NOTIFY, [self._beat], [str(self._beats)]))
            if await self._ask(self._notifier.fetchval(READ_ONLY)):
                raise BusConnectionLost("PostgreSQL: the writable server is another one now")
        await self._beat_came
        if time.monotonic() - self._swept_at > SWEEP_S:
            self._swept_at = time.monotonic()
            async with self._notifying:
                await self._ask(self._notifier.execute(SWEEP))

    # --- what lies in the table

    def _claim(self, channel: str, claim: str) -> None:
        try:
            self._claims.append((channel, uuid.UUID(claim)))
        except ValueError:
            self._receiver.receive(channel, None)
            return
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        while self._claims:
            claims, self._claims = self._claims, []
            try:
                async with self._notifying:
                    rows = await self._ask(self._notifier.fetch(FETCH, [claim for _, claim in claims]))
            except BusConnectionLost as lost:
                self._receiver.lose(str(lost))
                return
            bodies = {row["id"]: row["body"] for row in rows}
            for channel, claim in claims:
                self._receiver.receive(channel, bodies.get(claim))

    # --- the connections

    async def _ask(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            raise BusConnectionLost(_sentence(error)) from error

    def _on_terminated(self, _: object) -> None:
        self._receiver.lose("PostgreSQL: the server ended the connection")

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        closing = {asyncio.ensure_future(each.close(timeout=CLOSE_S / 2)) for each in self._connections}
        for close in closing:
            close.add_done_callback(let_go)
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_S / 2)
        for each in self._connections:
            each.terminate()


def _unwrapped(payload: str) -> bytes | None:
    """The message in a payload that is no text, None if it says or is nothing."""
    try:
        return base64.b64decode(payload[3:], validate=True) if payload.startswith("~b:") else None
    except (binascii.Error, ValueError):
        METRICS.unexpected.labels("malformed_notification").inc()
        return None


def _sentence(error: BaseException) -> str:
    words = reason_of(error) if isinstance(error, NotNow | Unavailable) else words_of(error)
    return f"PostgreSQL: {words}"
