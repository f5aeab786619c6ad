"""An instance with its ZeroMQ endpoint, a peer that uses only the protocol, and one that breaks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import zmq
import zmq.asyncio

from antiphon.api.zmq.endpoint import ZmqEndpoint, open_zmq_endpoint
from antiphon.api.zmq.limits import SocketLimits
from antiphon.client.zmq import RemoteInstance
from antiphon.client.zmq_watch import SessionWatch
from antiphon.core.view import View
from antiphon.observe.metrics import METRICS
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from support.waiting import DEADLINE_S, wait_until


@asynccontextmanager
async def open_endpoint(
    data: Path,
    *,
    socket_limits: SocketLimits = SocketLimits(),  # noqa: B008 - a value
    **options: Any,
) -> AsyncIterator[tuple[Instance, ZmqEndpoint]]:
    async with (
        open_instance(data=data, drain_s=0, **options) as instance,
        open_zmq_endpoint(instance, instance.asgi, data, limits=socket_limits) as endpoint,
    ):
        yield instance, endpoint


class Peer:
    """DEALER and SUB, as any program has them."""

    def __init__(self, endpoint: ZmqEndpoint, *topics: str) -> None:
        self._context = zmq.asyncio.Context()
        self.rpc = self._context.socket(zmq.DEALER)
        self.rpc.connect(endpoint.rpc_endpoint)
        self.sub = self._context.socket(zmq.SUB)
        for topic in topics or ("",):
            self.sub.setsockopt(zmq.SUBSCRIBE, topic.encode() + (b"\0" if topic else b""))
        self.sub.connect(endpoint.pub_endpoint)
        self.seen: list[dict[str, Any]] = []

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.rpc.close(linger=0)
        self.sub.close(linger=0)
        self._context.term()

    async def send(self, message: Any) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.rpc.send_multipart([b"", data])

    async def answer(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            empty, answer = await self.rpc.recv_multipart()
        assert empty == b""
        return json.loads(answer)

    async def ask(self, method: str, params: Any = None) -> Any:
        """The result of a call; an error is raised as an AssertionError."""
        answer = await self.call(method, params)
        assert "error" not in answer, answer
        return answer["result"]

    async def call(self, method: str, params: Any = None) -> Any:
        request = {"jsonrpc": "2.0", "id": "one", "method": method}
        await self.send(request if params is None else request | {"params": params})
        answer = await self.answer()
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", "one")
        return answer

    async def next_event(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            frame = await self.sub.recv()
        topic, _, envelope = frame.partition(b"\0")
        event: dict[str, Any] = json.loads(envelope)
        assert event["topic"].encode() == topic
        self.seen.append(event)
        return event

    async def until(self, topic: str, **wanted: Any) -> dict[str, Any]:
        """Read events up to one of that topic whose payload has these values."""
        while True:
            event = await self.next_event()
            if event["topic"] == topic and all(event["payload"].get(k) == v for k, v in wanted.items()):
                return event

    async def wait_subscribed(self, endpoint: ZmqEndpoint) -> None:
        """Wait until the instance has a subscriber."""
        await wait_until(lambda: endpoint._sockets.has_subscribers)

    def payloads(self, topic: str) -> list[dict[str, Any]]:
        return [event["payload"] for event in self.seen if event["topic"] == topic]


def unexpected_events(event: str) -> float:
    """How often this event was counted."""
    return float(METRICS.unexpected.labels(event)._value.get())


def resident_bytes(pid: int | str = "self") -> int:
    """The memory a process really has."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("a process has memory")


async def log_of(remote: RemoteInstance, session_id: str) -> View:
    """The fold of everything in the log, from its first fact."""
    view = View()
    async for event in SessionWatch(remote, session_id, after="0").catch_up():
        view.apply(event)
    return view


def shown(view: View) -> dict[str, Any]:
    """All that a viewer sees."""
    return {
        "seq": view.seq,
        "status": view.status,
        "title": view.title,
        "turn_id": view.turn_id,
        "messages": view.messages,
        "queued_messages": view.queued_messages,
        "draft": (view.draft.name, view.draft.position, view.draft.text()),
        "is_deleted": view.is_deleted,
    }


class RawPeer:
    """A connection without libzmq: ZMTP 3.0 by hand, as far as one wants to keep to it."""

    GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL".ljust(23, b"\0") + bytes(32)
    MORE, LONG, COMMAND = 1, 2, 4

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def __aenter__(self) -> Self:
        kind, _, place = self._endpoint.partition("://")
        if kind == "ipc":
            self.reader, self.writer = await asyncio.open_unix_connection(place)
        else:
            host, _, port = place.rpartition(":")
            self.reader, self.writer = await asyncio.open_connection(host, int(port))
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)

    async def shake_hands(self, kind: bytes) -> None:
        """Greet and be ready, as a socket of this kind (DEALER, SUB)."""
        self.writer.write(self.GREETING)
        properties = self._property(b"Socket-Type", kind) + self._property(b"Identity", b"")
        self.writer.write(self.frame(b"\x05READY" + properties, flags=self.COMMAND))
        async with asyncio.timeout(DEADLINE_S):
            greeting = await self.reader.readexactly(64)
            assert greeting[:1] == b"\xff"
            flags, size = await self.reader.readexactly(2)
            assert (await self.reader.readexactly(size)).startswith(b"\x05READY")
            assert flags == self.COMMAND

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError once the other side has hung up."""
        self.writer.write(data)
        await self.writer.drain()

    async def until_hung_up(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass

    @classmethod
    def frame(cls, body: bytes, *, flags: int = 0, size: int | None = None) -> bytes:
        """A frame that says it has `size` bytes (its own size, when not given)."""
        size = len(body) if size is None else size
        if size < 256:
            return bytes([flags, size]) + body
        return bytes([flags | cls.LONG]) + size.to_bytes(8, "big") + body

    @staticmethod
    def _property(name: bytes, value: bytes) -> bytes:
        return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
