"""Other protocols at several replicas: a turn is followed at any of them, and goes on when its holder dies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect

from antiphon.core.view import View
from antiphon.wire.openai.ids import parse_response_id
from antiphon.wire.stream import decode_event
from support.waiting import DEADLINE_S, wait_until

from .fleet import Replica, ReplicaFleet

pytestmark = pytest.mark.anyio

COUNT = 60
WHOLE = "".join(f"w{n} " for n in range(1, COUNT + 1))


def client_of(fleet: ReplicaFleet, member: Replica) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{member.port}/v1", api_key=fleet.token, max_retries=0)


async def follow_by_websocket(fleet: ReplicaFleet, member: Replica, chat_id: str, view: View) -> None:
    """Until the turn has ended."""
    headers = {"Authorization": f"Bearer {fleet.token}"}
    async with connect(f"ws://127.0.0.1:{member.port}/api/v1/ws", additional_headers=headers) as socket:
        await socket.send(json.dumps({"op": "watch", "chat_id": chat_id, "cursor": "0"}))
        async for text in socket:
            message: Any = json.loads(text)
            if message["type"] not in ("watching", "ping"):
                view.apply(decode_event(json.dumps(message).encode(), cursor=message.get("cursor", "")))
            if message["type"] == "turn_ended":
                return


async def test_a_response_is_followed_and_resumed_at_any_replica_when_its_holder_dies(fleet: ReplicaFleet) -> None:
    numbers = [0]
    async with client_of(fleet, fleet.members[0]) as client:
        made = await client.responses.create(input=f"/tokens {COUNT}\n/rate 20", background=True)
    chat_id = parse_response_id(made.id).chat_id
    holder = fleet.member(await wait_until(lambda: holder_of(fleet, chat_id), "a replica has the turn"))
    reader, watcher = fleet.others(holder)
    view = View()
    watching = asyncio.create_task(follow_by_websocket(fleet, watcher, chat_id, view))

    async with client_of(fleet, reader) as client:
        text, is_killed = "", False
        stream = await client.responses.retrieve(made.id, stream=True)
        async with asyncio.timeout(DEADLINE_S):
            async for event in stream:
                numbers.append(event.sequence_number)
                if event.type == "response.output_text.delta":
                    text += event.delta
                    if len(text) > 40 and not is_killed:
                        is_killed = True
                        await holder.kill()
                elif event.type == "response.completed":
                    assert event.response.output_text == WHOLE
        assert numbers == sorted(numbers)
        async with asyncio.timeout(DEADLINE_S):
            await watching
        assert view.messages[-1]["content"][0]["text"] == WHOLE
        middle = numbers[len(numbers) // 2]
    async with client_of(fleet, watcher) as client:
        resumed = await client.responses.retrieve(made.id, stream=True, starting_after=middle)
        rest: list[Any] = [event async for event in resumed]
        assert all(event.sequence_number > middle for event in rest)
        assert rest[-1].response.output_text == WHOLE


async def holder_of(fleet: ReplicaFleet, chat_id: str) -> str:
    """The replica that runs the turn, from the log."""
    stream = await fleet.running[0].open_stream(f"/chats/{chat_id}/stream", cursor="0", token=fleet.token)
    try:
        while (raw := await stream.next()) is not None:
            event = json.loads(raw[2])
            if event["type"] == "attempt_started":
                return str(event["instance_id"])
            if event["type"] == "caught_up":
                return ""
    finally:
        await stream.close()
    return ""
