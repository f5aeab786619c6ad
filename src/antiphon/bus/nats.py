"""Hints over NATS: core publish and subscribe, at most once.

The client library's own reconnecting is off: it ends for good on some of the server's errors, waits without end on a
frozen one, and does not say what was missed. `bus/networked.py` opens a new connection in its place.
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

from antiphon.bus.networked import ANSWER_S, CHECK_S, CLOSE_S, BusConnectionLost, NetworkedBus, Receiver, let_go
from antiphon.bus.send_queue import Message
from antiphon.errors import Invalid
from antiphon.observe.metrics import METRICS

CONNECT_S = 2
SUBJECT_MAX = 1_000
"""Longer ones are hashed (a server takes lines of 4,096 bytes)."""

PENDING_MESSAGES_MAX = 4_096
PENDING_BYTES_MAX = 4 * 1024 * 1024
"""So much of one channel may wait for its handlers; what is more is dropped, and they are told."""

CALLS_PER_TURN_OF_THE_LOOP = 50

DROPPED_HEADER = "Antiphon-Dropped"
"""Marks an empty message in place of some that were dropped."""

_VALID_SUBJECT = re.compile(r"[!-)+\-/-<?-~]+(\.[!-)+\-/-<?-~]+)*")
"""Visible ASCII without `*` and `>`, in tokens between single dots; `=` is left to names that are escaped."""
_PLAIN = re.compile(rb"[^A-Za-z0-9:_-]")

SCHEMES = ("nats", "tls", "ws", "wss")
OPTIONS = ("creds", "nkey", "tls_ca", "tls_cert", "tls_key", "tls_hostname", "tls_first")

log = structlog.get_logger(__name__)


def subject_of(channel: str) -> str:
    """The channel's own name where NATS can carry it, so that a foreign peer finds it; else an escaped one. Different
    channels have different subjects."""
    if len(channel) <= SUBJECT_MAX and _VALID_SUBJECT.fullmatch(channel) and channel[0] not in "$_":
        return channel
    raw = channel.encode("utf-8", "surrogatepass")
    escaped = "=" + _PLAIN.sub(lambda match: b"=%02X" % match[0][0], raw).decode()
    return escaped if len(escaped) <= SUBJECT_MAX else "=sha256=" + hashlib.sha256(raw).hexdigest()


def connect_options(url: str) -> dict[str, Any]:
    """What the client is connected with, from `nats://[user:password@|token@]host[:port][,host…][?option=…]`.

    Options: `creds` (a credentials file), `nkey` (a seed file), `tls_ca`, `tls_cert`, `tls_key` (PEM files),
    `tls_hostname`, `tls_first=1`. Raises `Invalid`.
    """
    parts = urlsplit(url)
    login, _, places = parts.netloc.rpartition("@")
    hosts = [host for host in places.split(",") if host]
    is_whole = bool(hosts) and parts.path in ("", "/")  # a password with a slash would be taken for a path
    if parts.scheme not in SCHEMES or not is_whole or not all(map(_is_place, hosts)):
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


def _is_place(host: str) -> bool:
    """Whether the client can make something of it; it would try one that cannot be reached for ever."""
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
    url: str, *, name: str = "antiphon", check_s: float = CHECK_S, answer_s: float = ANSWER_S
) -> AsyncIterator[NatsBus]:
    """The bus on the server (or one of the servers) of `url` (see `connect_options`; raises `Invalid`). It is there
    at once: as long as no server can be reached, `error` says why, and it goes on trying."""
    options = connect_options(url) | {"name": name}

    async def open_carrier(receiver: Receiver) -> NatsConnection:
        carrier = NatsConnection(receiver)
        await carrier.open(options)
        return carrier

    bus = NatsBus("nats", open_carrier, check_s=check_s, answer_s=answer_s)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.aclose()


class NatsConnection:
    """One connection. Keeps the promises of `far.BusConnection`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._client = Client()
        self._subscriptions: dict[str, Subscription] = {}
        self._channels: dict[str, str] = {}
        """By subject: the channel it stands for."""

    async def open(self, options: dict[str, Any]) -> None:
        try:
            await self._client.connect(
                **options,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_S,
                no_echo=True,  # what is published here is delivered here without the server
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
            await _let_others_run(count)
            subject = subject_of(channel)
            self._channels[subject] = channel
            self._subscriptions[channel] = await self._ask(
                self._client.subscribe(
                    subject,
                    cb=self._on_message,
                    pending_msgs_limit=PENDING_MESSAGES_MAX,
                    pending_bytes_limit=PENDING_BYTES_MAX,
                )
            )

    async def unlisten(self, channels: Sequence[str]) -> None:
        for count, channel in enumerate(channels, 1):
            await _let_others_run(count)
            self._channels.pop(subject_of(channel), None)
            await self._ask(self._subscriptions.pop(channel).unsubscribe())

    async def send(self, messages: Sequence[Message]) -> Sequence[str]:
        refused = []
        for count, (channel, message) in enumerate(messages, 1):
            await _let_others_run(count)
            subject = subject_of(channel)
            if message is None:
                await self._ask(self._client.publish(subject, b"", headers={DROPPED_HEADER: "1"}))
            elif len(message) > self._client.max_payload:
                refused.append(channel)
            else:
                await self._ask(self._client.publish(subject, message))
        return refused

    async def check(self) -> None:
        await self._ask(self._client.flush(timeout=3600))  # who asks for it waits as long as they like

    async def aclose(self) -> None:
        """A frozen server takes nothing more, so the library's farewell may wait for ever: then without."""
        closing = asyncio.ensure_future(self._client.close())
        closing.add_done_callback(let_go)
        await asyncio.wait({closing}, timeout=CLOSE_S / 2)
        writer = getattr(self._client._transport, "_bare_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        closing.cancel()

    async def _ask(self, call: Any) -> Any:
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
            log.warning("bus_not_permitted", error=_sentence(error))
        else:
            log.debug("nats_error", error=_sentence(error))

    async def _on_closed(self) -> None:
        self._receiver.lose(_sentence(self._client.last_error or ConnectionError("the server ended the connection")))


async def _let_others_run(count: int) -> None:
    """The client's calls seldom wait, so that many of them would keep the loop."""
    if count % CALLS_PER_TURN_OF_THE_LOOP == 0:
        await asyncio.sleep(0)


def _sentence(error: BaseException) -> str:
    """Without the URL, which may hold a password."""
    return f"NATS: {str(error).removeprefix('nats: ') or 'the connection failed without a reason'}"[:200]
