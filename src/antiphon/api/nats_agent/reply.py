"""Where the chunks of one prompt go: the caller's reply subject, at one connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.bus.nats_client import request
from antiphon.bus.networked import BusConnectionLost
from antiphon.wire.nats_agent.errors import ServiceError

SAFE_PREFIX = "_"
"""Inboxes begin with it (`_INBOX.…`; `_R_.…` between accounts). A caller that named another subject could have this
server publish there with its own permissions, to its bus for example."""


def is_safe_reply(subject: str) -> bool:
    """Whether chunks may be published to a subject that a caller named."""
    return subject.startswith(SAFE_PREFIX) and subject.isascii() and not set(subject) & set("*> \t\r\n")


class Reply:
    """Publishes chunks, in order. Every method raises `BusConnectionLost`."""

    def __init__(self, client: Client, subject: str) -> None:
        self.subject = subject
        self.bytes_max: int = client.max_payload
        """Maximum size of a payload, in bytes."""
        self.sent_at = 0.0
        """When the last chunk was published, by the event loop's clock."""
        self._client = client

    async def send(self, payload: bytes) -> None:
        self.sent_at = asyncio.get_running_loop().time()
        await request(self._client, self._client.publish(self.subject, payload))

    async def finish(self, error: ServiceError | None = None) -> None:
        """End the stream: an empty message without headers, after the error if there is one."""
        if error is not None:
            body = error.body if len(error.body) <= self.bytes_max // 2 else b""
            await request(self._client, self._client.publish(self.subject, body, headers=error.headers))
        await self.send(b"")

    @contextlib.asynccontextmanager
    async def open_inbox(self) -> AsyncIterator[Inbox]:
        """A fresh subject for one reply to a question."""
        inbox = Inbox(self._client.new_inbox())
        subscription = await request(
            self._client,
            self._client.subscribe(
                inbox.subject, cb=inbox.receive, pending_msgs_limit=1, pending_bytes_limit=self.bytes_max
            ),
        )
        try:
            yield inbox
        finally:
            with contextlib.suppress(BusConnectionLost):
                await request(self._client, subscription.unsubscribe())


class Inbox:
    """Gets one reply to a question; more are ignored."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._payload: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def receive(self, msg: Msg) -> None:
        if not self._payload.done():
            self._payload.set_result(bytes(msg.data))

    async def next_reply(self, wait_s: float) -> bytes | None:
        """The payload; None if there is none within `wait_s` seconds."""
        await asyncio.wait({self._payload}, timeout=wait_s)
        return self._payload.result() if self._payload.done() else None
