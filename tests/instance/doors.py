"""An instance with its ZeroMQ door, and a peer that knows nothing but the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from antiphon.app import Instance, open_instance
from antiphon.edge.instance.door import InstanceDoor, open_instance_door

DEADLINE_S = 20.0


@asynccontextmanager
async def open_doors(data: Path, **options: Any) -> AsyncIterator[tuple[Instance, InstanceDoor]]:
    async with (
        open_instance(data=data, drain_s=0, **options) as instance,
        open_instance_door(instance, data) as door,
    ):
        yield instance, door


class Peer:
    """DEALER and SUB, as anybody's program has them."""

    def __init__(self, door: InstanceDoor, *topics: str) -> None:
        self._context = zmq.asyncio.Context()
        self.rpc = self._context.socket(zmq.DEALER)
        self.rpc.connect(door.rpc_endpoint)
        self.sub = self._context.socket(zmq.SUB)
        for topic in topics or ("",):
            self.sub.setsockopt(zmq.SUBSCRIBE, topic.encode() + (b"\0" if topic else b""))
        self.sub.connect(door.pub_endpoint)
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

    async def be_heard(self, door: InstanceDoor) -> None:
        """Until the instance knows that somebody listens."""
        async with asyncio.timeout(DEADLINE_S):
            while not door._sockets.is_heard:
                await asyncio.sleep(0.005)

    def payloads(self, topic: str) -> list[dict[str, Any]]:
        return [event["payload"] for event in self.seen if event["topic"] == topic]
