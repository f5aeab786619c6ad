"""Hints over NATS: core publish and subscribe, at most once.

`bus/networked.py` replaces a connection that is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.bus.nats_client import close_client, connect_client, connect_options, request, sentence_of
from antiphon.bus.networked import BusTiming, NetworkedBus, Receiver
from antiphon.bus.send_queue import Message, QueueLimits
from antiphon.observe.metrics import METRICS

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

log = structlog.get_logger(__name__)


def subject_of(channel: str) -> str:
    """The channel's own name if it is a valid subject, so that a foreign peer finds it; else an escaped one.
    Different channels have different subjects."""
    if len(channel) <= SUBJECT_MAX and _VALID_SUBJECT.fullmatch(channel) and channel[0] not in "$_":
        return channel
    raw = channel.encode("utf-8", "surrogatepass")
    escaped = "=" + _PLAIN.sub(lambda match: b"=%02X" % match[0][0], raw).decode()
    return escaped if len(escaped) <= SUBJECT_MAX else "=sha256=" + hashlib.sha256(raw).hexdigest()


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
        options = options | {"no_echo": True}  # messages of this process are delivered without the server
        await connect_client(
            self._client, options, on_error=self._on_error, on_closed=self._on_closed, close_s=self._close_s
        )

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
        await close_client(self._client, close_s=self._close_s)

    async def _request(self, call: Any) -> Any:
        return await request(self._client, call)

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
            log.warning("bus_permission_refused", error=sentence_of(error))
        else:
            log.debug("nats_error", error=sentence_of(error))

    async def _on_closed(self) -> None:
        error = self._client.last_error or ConnectionError("the server closed the connection")
        self._receiver.lose(sentence_of(error))


async def _yield_to_loop(count: int) -> None:
    """Let other tasks run now and then: the client's calls seldom wait, so a long series would block the loop."""
    if count % CALLS_PER_TURN_OF_THE_LOOP == 0:
        await asyncio.sleep(0)
