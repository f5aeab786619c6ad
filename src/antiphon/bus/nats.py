"""Hints over NATS: core publish and subscribe, at most once.

The client library does not reconnect by itself here: it stops for good after some errors of the server, waits forever
for a frozen server, and does not report missed messages. `bus/networked.py` opens a new connection instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.bus.networked import BusConnectionLost, BusTiming, NetworkedBus, Receiver, ignore_outcome
from antiphon.bus.send_queue import Message, QueueLimits
from antiphon.errors import Invalid
from antiphon.observe.metrics import METRICS

CONNECT_S = 2
"""How long the library may take to connect, in seconds."""
SUBJECT_MAX = 1_000
"""Maximum length of a subject, in characters; a longer one is hashed (a server accepts lines of 4,096 bytes)."""

PENDING_MESSAGES_MAX = 4_096
PENDING_BYTES_MAX = 4 * 1024 * 1024
"""Maximum number and size (in bytes) of the messages of one channel that wait for their handlers. More are dropped,
and the handlers are called with None."""

CALLS_PER_TURN_OF_THE_LOOP = 50
"""Calls of the library between two yields to the event loop."""

DROPPED_HEADER = "Antiphon-Dropped"
"""Header of an empty message that is sent in place of dropped ones."""

_VALID_SUBJECT = re.compile(r"[!-)+\-/-<?-~]+(\.[!-)+\-/-<?-~]+)*")
"""Visible ASCII without `*` and `>`, in tokens between single dots; `=` is reserved for escaped names."""
_PLAIN = re.compile(rb"[^A-Za-z0-9:_-]")

SCHEMES = ("nats", "tls", "ws", "wss")
OPTIONS = ("creds", "nkey", "tls_ca", "tls_cert", "tls_key", "tls_hostname", "tls_first")

log = structlog.get_logger(__name__)


def subject_of(channel: str) -> str:
    """The channel's own name if it is a valid subject, so that a foreign peer finds it; else an escaped one.
    Different channels have different subjects."""
    if len(channel) <= SUBJECT_MAX and _VALID_SUBJECT.fullmatch(channel) and channel[0] not in "$_":
        return channel
    raw = channel.encode("utf-8", "surrogatepass")
    escaped = "=" + _PLAIN.sub(lambda match: b"=%02X" % match[0][0], raw).decode()
    return escaped if len(escaped) <= SUBJECT_MAX else "=sha256=" + hashlib.sha256(raw).hexdigest()


def connect_options(url: str) -> dict[str, Any]:
    """The client's options, from `nats://[user:password@|token@]host[:port][,host…][?option=…]`.

    Options: `creds` (a credentials file), `nkey` (a seed file), `tls_ca`, `tls_cert`, `tls_key` (PEM files),
    `tls_hostname`, `tls_first=1`. Raises `Invalid`.
    """
    parts = urlsplit(url)
    login, _, host_list = parts.netloc.rpartition("@")
    hosts = [host for host in host_list.split(",") if host]
    is_whole = bool(hosts) and parts.path in ("", "/")  # the slash of an unescaped password would begin a path
    if parts.scheme not in SCHEMES or not is_whole or not all(map(_is_host, hosts)):
        raise Invalid("bus", "a NATS server is nats://host:port or tls://host:port")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given:
        if name not in OPTIONS:
            raise Invalid("bus", f"there is no option {name!r}; there are {', '.join(OPTIONS)}")
    options: dict[str, Any] = {"servers": [f"{parts.scheme}://{host}" for host in hosts]}
    user, has_password, password = login.partition(":")
    if has_password:
        options |= {"user": unquote(user), "password": unquote(password)}
    elif user:
        options["token"] = unquote(user)
    if given.get("creds"):
        options["user_credentials"] = _file(given["creds"])
    if given.get("nkey"):
        options["nkeys_seed"] = _file(given["nkey"])
    if parts.scheme in ("tls", "wss") or any(name.startswith("tls_") for name in given):
        options["tls"] = _tls_context(given)
        options["tls_handshake_first"] = given.get("tls_first", "") in ("1", "true")
        if given.get("tls_hostname"):
            options["tls_hostname"] = given["tls_hostname"]
    return options


def _is_host(host: str) -> bool:
    """Whether it is HOST or HOST:PORT. The client would retry an invalid one forever."""
    try:
        parts = urlsplit(f"//{host}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _tls_context(given: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_file(given["tls_ca"]) if given.get("tls_ca") else None)
        if given.get("tls_cert"):
            key = _file(given["tls_key"]) if given.get("tls_key") else None
            context.load_cert_chain(_file(given["tls_cert"]), key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid("bus", f"its TLS files cannot be used: {error}") from error
    return context


def _file(path: str) -> str:
    if not Path(path).is_file():
        raise Invalid("bus", f"there is no file {path}")
    return path


class NatsBus(NetworkedBus):
    """Hints over NATS."""


@contextlib.asynccontextmanager
async def open_nats_bus(
    url: str,
    *,
    name: str = "antiphon",
    timing: BusTiming = BusTiming(),  # noqa: B008 - a value
    limits: QueueLimits = QueueLimits(),  # noqa: B008 - a value
) -> AsyncIterator[NatsBus]:
    """A bus on a NATS server, usable at once: while no server can be reached it retries, and `error` says why.

    Args:
        url: The servers and how to log in, see `connect_options`.
        name: The connection's name in the server's monitoring.
        timing: How often the connection is checked, and how long it may take.
        limits: Bounds of the send queue.

    Raises:
        Invalid: The URL is not one of NATS, or a file in it does not exist.
    """
    options = connect_options(url) | {"name": name}

    async def open_connection(receiver: Receiver) -> NatsConnection:
        connection = NatsConnection(receiver, close_s=timing.close_s / 2)
        await connection.open(options)
        return connection

    bus = NatsBus("nats", open_connection, timing=timing, limits=limits)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.aclose()


class NatsConnection:
    """Keeps the promises of `networked.BusConnection`. `close_s` limits the library's own closing, in seconds."""

    def __init__(self, receiver: Receiver, *, close_s: float) -> None:
        self._receiver = receiver
        self._close_s = close_s
        self._client = Client()
        self._subscriptions: dict[str, Subscription] = {}
        self._channels: dict[str, str] = {}
        """Channels by their subject."""

    async def open(self, options: dict[str, Any]) -> None:
        try:
            await self._client.connect(
                **options,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_S,
                no_echo=True,  # messages of this process are delivered without the server
                error_cb=self._on_error,
                closed_cb=self._on_closed,
            )
        except asyncio.CancelledError:
            await self.aclose()
            raise
        except Exception as error:
            await self.aclose()
            raise BusConnectionLost(_sentence(self._client.last_error or error)) from error

    async def listen(self, channels: Sequence[str]) -> None:
        for count, channel in enumerate(channels, 1):
            await _yield_to_loop(count)
            subject = subject_of(channel)
            self._channels[subject] = channel
            self._subscriptions[channel] = await self._request(
                self._client.subscribe(
                    subject,
                    cb=self._on_message,
                    pending_msgs_limit=PENDING_MESSAGES_MAX,
                    pending_bytes_limit=PENDING_BYTES_MAX,
                )
            )

    async def unlisten(self, channels: Sequence[str]) -> None:
        for count, channel in enumerate(channels, 1):
            await _yield_to_loop(count)
            self._channels.pop(subject_of(channel), None)
            await self._request(self._subscriptions.pop(channel).unsubscribe())

    async def send(self, messages: Sequence[Message]) -> Sequence[str]:
        refused = []
        for count, (channel, message) in enumerate(messages, 1):
            await _yield_to_loop(count)
            subject = subject_of(channel)
            if message is None:
                await self._request(self._client.publish(subject, b"", headers={DROPPED_HEADER: "1"}))
            elif len(message) > self._client.max_payload:
                refused.append(channel)
            else:
                await self._request(self._client.publish(subject, message))
        return refused

    async def check(self) -> None:
        await self._request(self._client.flush(timeout=3600))  # the caller has its own timeout

    async def aclose(self) -> None:
        """Close, and abort the socket after `close_s`: the library waits forever for a frozen server."""
        closing = asyncio.ensure_future(self._client.close())
        closing.add_done_callback(ignore_outcome)
        await asyncio.wait({closing}, timeout=self._close_s)
        writer = getattr(self._client._transport, "_bare_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        closing.cancel()

    async def _request(self, call: Any) -> Any:
        try:
            return await call
        except (nats.errors.Error, OSError, AssertionError) as error:
            raise BusConnectionLost(_sentence(self._client.last_error or error)) from error

    async def _on_message(self, msg: Msg) -> None:
        channel = self._channels.get(msg.subject)
        if channel is not None:
            is_marker = bool(msg.headers and DROPPED_HEADER in msg.headers)
            self._receiver.receive(channel, None if is_marker else bytes(msg.data))

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            channel = self._channels.get(error.subject)
            if channel is not None:
                self._receiver.receive(channel, None)
        elif "permissions violation" in str(error).lower():
            METRICS.unexpected.labels("bus_permission").inc()
            log.warning("bus_permission_refused", error=_sentence(error))
        else:
            log.debug("nats_error", error=_sentence(error))

    async def _on_closed(self) -> None:
        self._receiver.lose(_sentence(self._client.last_error or ConnectionError("the server closed the connection")))


async def _yield_to_loop(count: int) -> None:
    """Let other tasks run now and then: the client's calls seldom wait, so a long series would block the loop."""
    if count % CALLS_PER_TURN_OF_THE_LOOP == 0:
        await asyncio.sleep(0)


def _sentence(error: BaseException) -> str:
    """Without the URL, which may hold a password."""
    return f"NATS: {str(error).removeprefix('nats: ') or 'the connection failed without a reason'}"[:200]
